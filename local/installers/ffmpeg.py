"""Finds ffmpeg and ffprobe by setting or on PATH, else installs the system's package; no version is pinned."""

import os
import shutil

from local.errors import NotInstalledError
from local.installers.system_package import SystemPackage, apt_script

PACKAGE = SystemPackage(
    name="ffmpeg",
    apt_script=apt_script("ffmpeg"),
    brew=("ffmpeg",),
    by_hand="install it, for example with `sudo apt-get install ffmpeg`, or name one in NOUBA_FFMPEG and NOUBA_FFPROBE",
)


def require_programs() -> None:
    """See that ffmpeg and ffprobe are there. Installs missing ones; raises NotInstalledError if it cannot."""
    if not _are_there():
        PACKAGE.install()
    if not _are_there():
        raise NotInstalledError("ffmpeg was installed, but is not on PATH; name it in NOUBA_FFMPEG and NOUBA_FFPROBE.")


def _are_there() -> bool:
    names = (os.environ.get("NOUBA_FFMPEG", "ffmpeg"), os.environ.get("NOUBA_FFPROBE", "ffprobe"))
    return all(shutil.which(name) for name in names)
