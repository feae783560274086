"""Scratch space of a worker: each upload downloaded once, and removed even after a kill."""

import contextlib
import errno
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from services.transcoder.errors import OutOfSpaceError, Reason, RejectedInputError
from shared.runtime.process_tempdir import ProcessTempDir

#: Free space that encoding one chunk needs besides the upload.
RESERVE_BYTES = 1 << 30
#: Uploads kept at once: a worker that gets chunks of several lessons in turn need not fetch them each time.
KEPT_UPLOADS = 3
_PREFIX = "nouba-worker-"


class ScratchSpace:
    """One folder of one process; those of dead workers are swept away."""

    def __init__(self, parent: Path | None = None, reserve_bytes: int = RESERVE_BYTES) -> None:
        self._reserve_bytes = reserve_bytes
        self._own = ProcessTempDir(_PREFIX, parent)
        self.folder = self._own.path
        self._uploads: dict[int, float] = {}
        self._in_use: Counter[int] = Counter()
        self._fetching: dict[int, threading.Lock] = {}
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def work(self) -> Iterator[Path]:
        """An empty folder for one task, removed in every case."""
        folder = Path(tempfile.mkdtemp(prefix="part-", dir=self.folder))
        try:
            with _disk():
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def upload(self, job_id: int, size_bytes: int, fetch: Callable[[Path], None]) -> Iterator[Path]:
        """The folder with a job's upload, filled by `fetch` unless it is there. Raises OutOfSpaceError beforehand."""
        with self._guard:
            self._in_use[job_id] += 1
            fetching = self._fetching.setdefault(job_id, threading.Lock())
        try:
            # of the tasks of one lesson that begin at once, one fetches it
            with fetching:
                folder = self._fetched(job_id, size_bytes, fetch)
            yield folder
        finally:
            with self._guard:
                self._in_use[job_id] -= 1

    def kept(self) -> list[int]:
        """The jobs whose uploads are here."""
        with self._guard:
            return list(self._uploads)

    def forget(self, job_id: int) -> None:
        """Remove a job's upload, unless it is in use just now."""
        with self._guard:
            if self._in_use[job_id] or self._uploads.pop(job_id, None) is None:
                return
            del self._fetching[job_id]
            shutil.rmtree(self.folder / f"job-{job_id}", ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        self._own.remove()

    def _fetched(self, job_id: int, size_bytes: int, fetch: Callable[[Path], None]) -> Path:
        folder = self.folder / f"job-{job_id}"
        if job_id not in self._uploads:
            shutil.rmtree(folder, ignore_errors=True)
            self._make_room(size_bytes, KEPT_UPLOADS - 1)
            folder.mkdir()
            try:
                with _disk():
                    fetch(folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        with self._guard:
            self._uploads[job_id] = time.monotonic()
        return folder

    def _make_room(self, size_bytes: int, keep: int) -> None:
        # an upload without an index is put into another container: twice its size
        needed = 2 * size_bytes + self._reserve_bytes
        total, _, free = shutil.disk_usage(self.folder)
        if self._reserve_bytes < total < needed:
            raise _too_large(size_bytes, (total - self._reserve_bytes) // 2)
        with self._guard:
            oldest = sorted(self._uploads, key=self._uploads.__getitem__)
            idle = [job_id for job_id in oldest if not self._in_use[job_id]]
        if free + sum(self._size_of(job_id) for job_id in idle) < needed:
            # other lessons would fetch their uploads again, and this one would not fit all the same
            raise OutOfSpaceError
        for job_id in oldest:
            if len(self._uploads) > keep or shutil.disk_usage(self.folder).free < needed:
                self.forget(job_id)
        if shutil.disk_usage(self.folder).free < needed:
            raise OutOfSpaceError

    def _size_of(self, job_id: int) -> int:
        return sum(file.stat().st_size for file in (self.folder / f"job-{job_id}").glob("*") if file.is_file())


def _too_large(size_bytes: int, largest_bytes: int) -> RejectedInputError:
    return RejectedInputError(
        Reason.TOO_LARGE,
        f"The file has {size_bytes / 1e9:.1f} GB, and at most {largest_bytes / 1e9:.1f} GB fit on the transcoder's"
        " disk: export it with a lower bit rate, or cut it in two.",
    )


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpaceError from error
        raise
