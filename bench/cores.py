"""Pins servers and what is started meanwhile to a few cores, so that there are as many cores as workers."""

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import psutil


def are_there(count: int) -> bool:
    """Whether this process may use so many cores, and the system can pin processes to them: Linux alone can."""
    return hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) >= count


@contextlib.contextmanager
def pinned(count: int, pids: Collection[int]) -> Iterator[None]:
    """Pin this process, the others and all that they started to the first `count` cores; what starts inherits it."""
    before = os.sched_getaffinity(0)
    _pin(pids, sorted(before)[:count])
    try:
        yield
    finally:
        _pin(pids, before)


def _pin(pids: Collection[int], cores: Collection[int]) -> None:
    processes = [os.getpid()]
    for pid in pids:
        first = psutil.Process(pid)
        processes += [one.pid for one in (first, *first.children(recursive=True))]
    for process in processes:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            # each thread has cores of its own
            for thread in Path(f"/proc/{process}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread.name), cores)
