"""`nouba ARGUMENTS` with a background thread that a file breaks: `python -m ... CONTROL ARGUMENTS`.

The file CONTROL has one line, `KIND THREAD`, or nothing. `fails` raises an exception in each round, `ends` raises
SystemExit, which would end a thread, and `hangs` stops at the round's first statement, with its connection in hand, or
at the round's end where it asks the database nothing. The file CONTROL.met has the line as soon as it took effect.
"""

import sys
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from shared.cli import main
from shared.runtime.periodic_thread import PeriodicThread

CONTROL = Path(sys.argv[1])
_threads: list[PeriodicThread] = []
_start = PeriodicThread.start


class FaultError(Exception):
    """What the file asked for."""


def fault_of(thread: str) -> str:
    """What is to happen to it now; empty for nothing."""
    kind, _, name = CONTROL.read_text().strip().partition(" ")
    if name != thread:
        return ""
    CONTROL.with_suffix(".met").write_text(f"{kind} {name}")
    return kind


def hang(thread: str) -> None:
    while fault_of(thread) == "hangs":
        time.sleep(0.05)


def start(self: PeriodicThread) -> None:
    """Break its rounds, and have it work all the time: most periods are longer than a test."""
    duty, name = self._duty, self.name

    def work() -> bool | None:
        kind = fault_of(name)
        if kind == "fails":
            raise FaultError(f"{name} fails")
        if kind == "ends":
            raise SystemExit(f"{name} ends")
        again = duty()
        hang(name)
        return again

    self._duty = work
    if not _threads:
        threading.Thread(target=wake_all, daemon=True).start()
    _threads.append(self)
    _start(self)


def wake_all() -> None:
    while True:
        time.sleep(0.2)
        for thread in list(_threads):
            thread.wake()


def stop_there(*_: Any) -> None:
    hang(threading.current_thread().name)


if __name__ == "__main__":
    PeriodicThread.start = start  # type: ignore[method-assign]
    event.listen(Engine, "before_cursor_execute", stop_there)
    sys.argv = ["nouba", *sys.argv[2:]]
    main()
