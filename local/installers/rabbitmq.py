"""Finds RabbitMQ by setting or on this machine, else installs the system's package."""

import os
import shutil
from pathlib import Path

from local.errors import NotInstalledError
from local.installers.system_package import SystemPackage, stopped_apt_script

# Not Debian's /usr/sbin/rabbitmq-server: that wrapper is for the system's own node and changes the user.
_USUAL_PLACES = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
)

PACKAGE = SystemPackage(
    name="RabbitMQ",
    # the package would start a node on the standard port at once
    apt_script=stopped_apt_script("rabbitmq-server"),
    brew=("rabbitmq",),
    by_hand="install it, for example with `sudo apt-get install rabbitmq-server`, or name one in NOUBA_RABBITMQ_URL",
)


def find_program() -> Path:
    """The start script of RabbitMQ. Installs it if missing; raises NotInstalledError where that is not possible."""
    found = _find()
    if found is None:
        PACKAGE.install()
        found = _find()
    if found is None:
        raise NotInstalledError(
            "RabbitMQ was installed, but not where it is expected; name it in NOUBA_LOCAL_RABBITMQ_BIN."
        )
    return found


def _find() -> Path | None:
    if named := os.environ.get("NOUBA_LOCAL_RABBITMQ_BIN"):
        if not Path(named).exists():
            raise NotInstalledError(f"NOUBA_LOCAL_RABBITMQ_BIN names {named}, which does not exist.")
        return Path(named)
    on_path = shutil.which("rabbitmq-server")
    return next((Path(place) for place in (*_USUAL_PLACES, on_path) if place and Path(place).exists()), None)
