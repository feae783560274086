"""Which promtool to run: one that a setting names, else the machine's, which is installed where that is possible."""

import os
import shutil
from pathlib import Path

from local.errors import NotInstalledError
from local.installers.system_package import SystemPackage, stopped_apt_script

PACKAGE = SystemPackage(
    name="Prometheus",
    # the package would start a server on the standard port at once
    apt_script=stopped_apt_script("prometheus"),
    brew=("prometheus",),
    by_hand="install it, for example with `sudo apt-get install prometheus`, or name one in NOUBA_LOCAL_PROMTOOL_BIN",
)


def find_promtool() -> Path:
    """promtool, which tests rules. Installs it if missing; raises NotInstalledError where that is not possible."""
    found = _find()
    if found is None:
        PACKAGE.install()
        found = _find()
    if found is None:
        raise NotInstalledError("promtool was installed, but is not on PATH; name it in NOUBA_LOCAL_PROMTOOL_BIN.")
    return found


def _find() -> Path | None:
    if named := os.environ.get("NOUBA_LOCAL_PROMTOOL_BIN"):
        if not Path(named).exists():
            raise NotInstalledError(f"NOUBA_LOCAL_PROMTOOL_BIN names {named}, which does not exist.")
        return Path(named)
    on_path = shutil.which("promtool")
    return Path(on_path) if on_path else None
