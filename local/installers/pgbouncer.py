"""Finds or installs PgBouncer for the tests; the local stack runs none."""

import os
import shutil
from pathlib import Path

from local.errors import NotInstalledError
from local.installers.system_package import SystemPackage, stopped_apt_script

PACKAGE = SystemPackage(
    name="PgBouncer",
    # the package would start a pooler on the standard port at once
    apt_script=stopped_apt_script("pgbouncer"),
    brew=("pgbouncer",),
    by_hand="install it, for example with `sudo apt-get install pgbouncer`, or name one in NOUBA_LOCAL_PGBOUNCER_BIN",
)
#: Debian's is not on the PATH of every account.
_USUAL_PLACES = ("/usr/sbin/pgbouncer",)


def find_pgbouncer() -> Path:
    """PgBouncer, for tests. Installs it if it is missing; raises NotInstalledError where that is not possible."""
    found = _find()
    if found is None:
        PACKAGE.install()
        found = _find()
    if found is None:
        raise NotInstalledError("PgBouncer was installed, but is not on PATH; name it in NOUBA_LOCAL_PGBOUNCER_BIN.")
    return found


def _find() -> Path | None:
    if named := os.environ.get("NOUBA_LOCAL_PGBOUNCER_BIN"):
        if not Path(named).exists():
            raise NotInstalledError(f"NOUBA_LOCAL_PGBOUNCER_BIN names {named}, which does not exist.")
        return Path(named)
    places = (shutil.which("pgbouncer"), *_USUAL_PLACES)
    return next((Path(place) for place in places if place and Path(place).exists()), None)
