"""Installs a package with apt or Homebrew where no password is asked for; else the error says what to do."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from local.errors import NotInstalledError


@dataclass(frozen=True, slots=True)
class SystemPackage:
    """What Python's packages cannot bring. `by_hand` is what a person does where we may not."""

    name: str
    apt_script: str
    brew: tuple[str, ...]
    by_hand: str

    def install_command(self, which: Callable[[str], str | None], user_id: int) -> list[str] | None:
        """The command that installs it for a user with this id and these tools; None where there is no way."""
        if which("apt-get") and user_id == 0:
            return ["sh", "-c", self.apt_script]
        if which("apt-get") and which("sudo"):
            return ["sudo", "-n", "sh", "-c", self.apt_script]
        if which("brew") and user_id != 0:
            return ["brew", "install", "--quiet", *self.brew]
        return None

    def install(self) -> None:
        """Install it now. Raises NotInstalledError."""
        command = self.install_command(shutil.which, os.geteuid())
        if command is None:
            raise NotInstalledError(f"{self.name} is missing and cannot be installed from here: {self.by_hand}.")
        print(f"{self.name} is missing: installing the system's package, which takes a minute or two", file=sys.stderr)
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            last_line = (result.stderr or result.stdout).strip().splitlines()[-1:]
            raise NotInstalledError(f"{self.name} could not be installed ({' '.join(last_line)}): {self.by_hand}.")


def apt_script(*packages: str) -> str:
    """Installs Debian's `packages` and nothing that they merely recommend."""
    return f"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --no-install-recommends {" ".join(packages)}
"""


def stopped_apt_script(package: str, *others: str) -> str:
    """Installs Debian's `package` with `others`, and lets no server of it start, neither now nor at a boot.

    Nobody asked for that one, so Debian's own switch (policy-rc.d) says no during the installation, unless the machine
    has one already.
    """
    return f"""
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\\nexit 101\\n' > "$policy"
    chmod 755 "$policy"
fi
{apt_script(package, *others)}
if command -v systemctl >/dev/null; then
    systemctl disable {package} >/dev/null 2>&1 || true
fi
"""
