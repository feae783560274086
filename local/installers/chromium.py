"""Finds Chromium and its driver on this machine, else installs the system's package; no version is pinned."""

import os
import shutil
from pathlib import Path

from local.errors import NotInstalledError
from local.installers.system_package import SystemPackage, apt_script

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_APPLICATION = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")

PACKAGE = SystemPackage(
    name="Chromium",
    # The fonts have Arabic, which the page of the statistics is in too; with the driver tests steer the browser.
    apt_script=apt_script("chromium", "chromium-driver", "fonts-noto-core"),
    brew=("--cask", "google-chrome", "chromedriver"),
    by_hand="install it, for example with `sudo apt-get install chromium chromium-driver`",
)

#: What every run of it here has in common: no window, no first-run questions, no call home.
FLAGS = (
    "--headless=new",
    # it cannot make a sandbox of its own as root or within a container; it only ever sees our own pages
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--lang=en",
)


def find_program() -> Path:
    """Chromium. Installs it if it is missing; raises NotInstalledError where that is not possible."""
    found = _find()
    if found is None:
        PACKAGE.install()
        found = _find()
    if found is None:
        raise NotInstalledError("Chromium was installed, but is not on PATH; name it in NOUBA_LOCAL_CHROMIUM_BIN.")
    return found


def find_driver() -> Path:
    """chromedriver, which steers Chromium; installed with it. Raises NotInstalledError where that is not possible."""
    find_program()
    if _find_driver() is None:
        PACKAGE.install()
    found = _find_driver()
    if found is None:
        raise NotInstalledError("There is no chromedriver on PATH; name one in NOUBA_LOCAL_CHROMEDRIVER_BIN.")
    return Path(found)


def _find_driver() -> str | None:
    return os.environ.get("NOUBA_LOCAL_CHROMEDRIVER_BIN") or shutil.which("chromedriver")


def _find() -> Path | None:
    if named := os.environ.get("NOUBA_LOCAL_CHROMIUM_BIN"):
        if not Path(named).exists():
            raise NotInstalledError(f"NOUBA_LOCAL_CHROMIUM_BIN names {named}, which does not exist.")
        return Path(named)
    on_path = next(filter(None, map(shutil.which, _NAMES)), None)
    return Path(on_path) if on_path else (_APPLICATION if _APPLICATION.exists() else None)
