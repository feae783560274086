"""Films for tests, made once and kept between runs until their recipe or ffmpeg changes."""

import functools
import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).parents[2] / ".nouba" / "test-films"


def folder_for(recipe: bytes) -> Path:
    """The folder of the films that `recipe` and this ffmpeg make."""
    folder = CACHE / hashlib.sha256(_ffmpeg_version() + recipe).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def make(arguments: Sequence[str], path: Path) -> Path:
    """Run ffmpeg with `arguments`, unless another process or an earlier run has made `path`."""
    if not path.exists():
        # several processes may make it at the same time: each has its own draft, and the last one stays
        draft = path.with_name(f"new_{os.getpid()}_{path.name}")
        call = ["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments, str(draft)]
        subprocess.run(call, check=True, capture_output=True, timeout=120)
        draft.rename(path)
    return path


@functools.cache
def _ffmpeg_version() -> bytes:
    return subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True).stdout
