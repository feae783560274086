"""A Python whose module `faster_whisper` does what a test says, in place of a model."""

import subprocess
import sys
from pathlib import Path

from services.transcoder.speech.whisper import MODEL_FILES

MODULE = """
import json, os, socket, sys
from pathlib import Path
from types import SimpleNamespace

class WhisperModel:
    def __init__(self, folder, **options):
        assert options["local_files_only"]
        self.model = SimpleNamespace(is_multilingual=True)
    def detect_language(self, samples, **options):
        return "de", 0.9, [("de", 0.9), ("fr", 0.06), ("ar", 0.04)]
    def transcribe(self, samples, language, **options):
        {body}
        words = [SimpleNamespace(start=1.0, end=1.5, word=" " + said)]
        return [SimpleNamespace(words=words)], None
"""
NUMPY = """
class Samples(bytes):
    def astype(self, kind):
        return self
    def __truediv__(self, other):
        return self
def fromfile(path, dtype):
    return Samples(open(path, "rb").read())
"""


def install_stub(folder: Path, body: str) -> tuple[Path, Path]:
    """The Python, and the folder of its model; `body` hears `samples` in `language` and sets `said`."""
    model, python = folder / "model", folder / "python"
    model.mkdir()
    for name in MODEL_FILES:
        (model / name).write_text("{}")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", python], check=True)
    (packages,) = (python / "lib").glob("python*/site-packages")
    (packages / "numpy.py").write_text(NUMPY)
    (packages / "faster_whisper.py").write_text(MODULE.replace("{body}", body))
    return python / "bin/python", model
