"""A temporary folder of one process, removed by the next one if the process was killed."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


class ProcessTempDir:
    """A new folder in `parent`, the system's temporary directory unless given.

    A process that holds the lock on the folder is alive; a forked child holds it, too. A new process removes all other
    folders of the same prefix, because after SIGKILL or a power cut no process is left to do it.
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        self.path, self._lock = _make(prefix, parent)
        _sweep(prefix, parent)

    def remove(self) -> None:
        """Remove it, with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _make(prefix: str, parent: Path) -> tuple[Path, int]:
    """A new folder with its lock. Another process's sweep may take it in the moment before it is locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            lock = _locked(folder)
        except (BlockingIOError, FileNotFoundError):
            continue
        if folder.exists():
            return folder, lock
        os.close(lock)


def _sweep(prefix: str, parent: Path) -> None:
    for folder in parent.glob(f"{prefix}*"):
        try:
            lock = _locked(folder)
        except OSError:  # its process lives, or another sweep was faster, or it is somebody else's
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        log.debug("removed what a killed process left behind", folder=folder.name)


def _locked(folder: Path) -> int:
    # a link that a stranger has put there leads to what is not ours to remove
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
