"""Finds promtool and Alertmanager for the tests of alerts, else installs the system's packages."""

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
ALERTMANAGER = SystemPackage(
    name="Alertmanager",
    apt_script=stopped_apt_script("prometheus-alertmanager"),
    brew=("alertmanager",),
    by_hand="install it, for example with `sudo apt-get install prometheus-alertmanager`, or name one in "
    "NOUBA_LOCAL_ALERTMANAGER_BIN",
)


def find_promtool() -> Path:
    """promtool, which tests rules. Installs it if missing; raises NotInstalledError where that is not possible."""
    return _find_or_install(PACKAGE, "NOUBA_LOCAL_PROMTOOL_BIN", "promtool")


def find_alertmanager() -> Path:
    """Alertmanager, which tests send alerts to; as `find_promtool`. Debian's program has a name of its own."""
    return _find_or_install(ALERTMANAGER, "NOUBA_LOCAL_ALERTMANAGER_BIN", "prometheus-alertmanager", "alertmanager")


def _find_or_install(package: SystemPackage, setting: str, *programs: str) -> Path:
    found = _find(setting, *programs)
    if found is None:
        package.install()
        found = _find(setting, *programs)
    if found is None:
        raise NotInstalledError(f"{package.name} was installed, but is not on PATH; name it in {setting}.")
    return found


def _find(setting: str, *programs: str) -> Path | None:
    if named := os.environ.get(setting):
        if not Path(named).exists():
            raise NotInstalledError(f"{setting} names {named}, which does not exist.")
        return Path(named)
    on_path = next(filter(None, map(shutil.which, programs)), None)
    return Path(on_path) if on_path else None
