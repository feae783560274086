"""Counts the messages of a worker that does nothing else, and writes down how many a second there were."""

import os
import threading
import time
from pathlib import Path


class Count:
    """Counts every message. BENCH_COUNT is how many will come, BENCH_RESULT the file for the rate."""

    def __init__(self) -> None:
        self._last = int(os.environ["BENCH_COUNT"])
        # until then the threads may still be starting
        self._first = self._last // 10
        self._lock = threading.Lock()
        self._seen = 0
        self._began = 0.0

    def add(self) -> None:
        """One more."""
        with self._lock:
            self._seen += 1
            if self._seen == self._first:
                self._began = time.perf_counter()
            elif self._seen == self._last:
                rate = (self._last - self._first) / (time.perf_counter() - self._began)
                Path(os.environ["BENCH_RESULT"]).write_text(str(rate))
