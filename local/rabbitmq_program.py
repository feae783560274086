"""Which RabbitMQ to run: one that a setting names, else the machine's, which is installed where that is possible."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from local.errors import NotInstalled

# Not Debian's /usr/sbin/rabbitmq-server: that wrapper is for the system's own node and changes the user.
_USUAL_PLACES = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
)

# The package starts a node on the standard port as soon as it is there, and again at every boot. Nobody asked for
# that one, so Debian's own switch (policy-rc.d) says no during the installation, unless the machine has one already.
_APT_SCRIPT = """
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\\nexit 101\\n' > "$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --no-install-recommends rabbitmq-server
if command -v systemctl >/dev/null; then
    systemctl disable rabbitmq-server >/dev/null 2>&1 || true
fi
"""


def find_program() -> Path:
    """The start script of RabbitMQ. Installs it if it is missing; raises NotInstalled where that is not possible."""
    found = _find()
    if found is None:
        _install()
        found = _find()
    if found is None:
        raise NotInstalled("RabbitMQ was installed, but not where it is expected; name it in NOUBA_LOCAL_RABBITMQ_BIN.")
    return found


def install_command(which: Callable[[str], str | None], user_id: int) -> list[str] | None:
    """The command that installs RabbitMQ for a user with this id and these tools; None where there is no way.

    It never asks for a password.
    """
    if which("apt-get") and user_id == 0:
        return ["sh", "-c", _APT_SCRIPT]
    if which("apt-get") and which("sudo"):
        return ["sudo", "-n", "sh", "-c", _APT_SCRIPT]
    if which("brew") and user_id != 0:
        return ["brew", "install", "--quiet", "rabbitmq"]
    return None


def _find() -> Path | None:
    if named := os.environ.get("NOUBA_LOCAL_RABBITMQ_BIN"):
        if not Path(named).exists():
            raise NotInstalled(f"NOUBA_LOCAL_RABBITMQ_BIN names {named}, which does not exist.")
        return Path(named)
    on_path = shutil.which("rabbitmq-server")
    return next((Path(place) for place in (*_USUAL_PLACES, on_path) if place and Path(place).exists()), None)


def _install() -> None:
    by_hand = "install it, for example with `sudo apt-get install rabbitmq-server`, or name one in NOUBA_RABBITMQ_URL"
    command = install_command(shutil.which, os.geteuid())
    if command is None:
        raise NotInstalled(f"RabbitMQ is missing and cannot be installed from here: {by_hand}.")
    print("RabbitMQ is missing: installing the system's package, which takes a minute or two", file=sys.stderr)
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        last_line = (result.stderr or result.stdout).strip().splitlines()[-1:]
        raise NotInstalled(f"RabbitMQ could not be installed ({' '.join(last_line)}): {by_hand}.")
