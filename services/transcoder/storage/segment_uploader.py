"""Uploads finished segments while ffmpeg encodes the next ones."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from services.transcoder.errors import JobCancelledError
from services.transcoder.ffmpeg.untrusted_outputs import read_regular
from services.transcoder.storage.object_store import ObjectStore

_SENDERS = 4


class SegmentUploader:
    """Files below `folder` become objects below `prefix`; each file is gone from the disk once S3 has it."""

    def __init__(self, objects: ObjectStore, folder: Path, prefix: str, cancelled: Callable[[], bool]) -> None:
        self._objects, self._folder, self._prefix, self._cancelled = objects, folder, prefix, cancelled
        self._pool = ThreadPoolExecutor(_SENDERS, thread_name_prefix="upload")
        self._sent: dict[str, Future[int]] = {}
        self._guard = threading.Lock()

    def send(self, path: Path) -> None:
        """Begin to send a finished file; a second call for the same file is nothing."""
        name = path.relative_to(self._folder).as_posix()
        with self._guard:
            if name not in self._sent:
                self._sent[name] = self._pool.submit(self._put, name, path)

    def send_all(self) -> None:
        """Send what is in the folder and was not sent; hidden folders are work in progress."""
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(self._folder).parts):
                self.send(path)

    def arrived(self) -> dict[str, int]:
        """The size of each file by name, once S3 has all of them. Raises what any of them met."""
        return {name: future.result() for name, future in self._sent.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _put(self, name: str, path: Path) -> int:
        if self._cancelled():
            raise JobCancelledError("The work was cancelled.")
        size = self._objects.put(self._prefix + name, read_regular(path))
        path.unlink()
        return size
