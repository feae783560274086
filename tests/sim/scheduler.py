"""Runs threads one at a time: at each point where one stops, the seed says who goes on, and who dies there.

A point is a statement to PostgreSQL, a commit, a failpoint of the code, or a step of the simulated broker. PostgreSQL
is real, so a thread can wait for a lock that another one holds: it stands aside until PostgreSQL lets it go on. The
same seed makes the same choices, so that an interleaving that went wrong can be run again.
"""

import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, event

from shared.runtime import failpoints
from shared.runtime.failpoints import FailpointError

#: How long a thread that has not come to its next point may run before PostgreSQL is asked whether it waits.
PATIENCE_SECONDS = 0.004
#: A thread that neither comes to a point nor waits in PostgreSQL has a fault of its own.
MAX_SECONDS = 20.0
_BLOCKED = "SELECT cardinality(pg_blocking_pids(%s)) > 0"


class KilledError(BaseException):
    """The process ends here, as by `kill -9`: nothing that it would have done comes to pass."""


class StuckError(Exception):
    """No process can go on, or one of them does not stop."""


@dataclass(eq=False, slots=True)
class Process:
    """A thread that stands for a process: `run` is what it does, `when_killed` what others do when it died."""

    name: str
    run: Callable[[], None]
    when_killed: Callable[[], None] | None
    scheduler: "Scheduler"
    point: str = "start"
    #: It goes on no earlier than this is true.
    until: Callable[[], bool] | None = None
    has_begun: bool = False
    has_ended: bool = False
    is_dying: bool = False
    #: What it raised, beside its death.
    error: BaseException | None = None
    backend: int = 0
    fault: type[BaseException] | None = None
    #: It stands at its point, or has ended, and another process may have its turn.
    arrived: threading.Event = field(default_factory=threading.Event)
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def take_fault(self) -> None:
        """Raise what is to happen to it at its point."""
        fault, self.fault = self.fault, None
        if fault is KilledError:
            self.is_dying = True
        if fault:
            raise fault(self.point)


_here = threading.local()


def pause(point: str, until: Callable[[], bool] | None = None) -> None:
    """Stop here until the scheduler lets this process go on; nothing happens in a thread that is none of its."""
    process: Process | None = getattr(_here, "process", None)
    if process is None or process.is_dying:
        return
    process.point, process.until = point, until
    if not process.scheduler.pass_turn(process):
        process.go.acquire()
    process.take_fault()


class Scheduler:
    """The processes of one interleaving. `monitor` is a connection that asks PostgreSQL who waits.

    One process at a time has the turn. At its next point it chooses whose turn comes: often its own again, and no other
    thread has to wake up. The thread that called `run` chooses where a process died, raised or waits for a lock.
    """

    def __init__(self, chance: random.Random, monitor: Connection) -> None:
        self._chance = chance
        self._monitor = monitor
        self._running: list[Process] = []
        self._waiting: list[Process] = []
        #: How likely the one that ran goes on: some interleavings change hands often, others seldom.
        self._steadiness = chance.choice((0.0, 0.5, 0.8, 0.95))
        self._last: Process | None = None
        #: How likely a process dies at a point, and how many may.
        self.death_rate = chance.choice((0.0, 0.01, 0.03, 0.1))
        self.deaths_left = chance.randrange(4)
        #: How likely a failpoint raises, as a fault of our own would.
        self.error_rate = chance.choice((0.0, 0.0, 0.02))
        #: (process, point, what happened to it there)
        self.trace: list[tuple[str, str, str]] = []
        #: Whose turn it is; None is the thread that called `run`.
        self._turn: Process | None = None
        self._turn_lock = threading.Lock()
        self._came_back = threading.Event()

    def add(self, name: str, run: Callable[[], None], when_killed: Callable[[], None] | None = None) -> None:
        """A process that has not begun; without `when_killed` it never dies."""
        self._running.append(Process(name, run, when_killed, self))

    def run(self) -> None:
        """Go on until nobody can. Raises StuckError, and what a process raised."""
        while True:
            self._admit()
            if process := self._choose():
                self._let_go(process)
                self._wait_for_turn()
            elif self._waiting:
                # two that wait for each other: PostgreSQL ends one of them
                self._wait_for_any()
            else:
                return

    def end(self) -> None:
        """Kill those that are left."""
        begun = [process for process in [*self._running, *self._waiting] if process.has_begun]
        for process in begun:
            process.when_killed = None
            process.fault = KilledError
            process.arrived.clear()
            process.go.release()
        for process in begun:
            self._wait(process)
        self._running.clear()
        self._waiting.clear()

    def pass_turn(self, process: Process) -> bool:
        """`process` came to a point or to its end: choose whose turn comes, and return whether it is its own again."""
        with self._turn_lock:
            if self._turn is not process or self._waiting or process.error or process.is_dying:
                process.arrived.set()
                if self._turn is process:
                    self._came_back.set()
                return False
            if not process.has_ended:
                self._running.append(process)
            chosen = self._choose()
            if chosen is None:
                self._turn = None
                self._came_back.set()
            elif chosen is process:
                return True
            else:
                self._let_go(chosen)
            return False

    def _choose(self) -> Process | None:
        """The next process, with what happens to it; it no longer stands among the others."""
        ready = [one for one in self._running if one.until is None or one.until()]
        if not ready:
            return None
        process = self._next(ready)
        self._last = process
        process.fault = self._fault(process)
        what = {KilledError: "dies", FailpointError: "raises"}.get(process.fault, "") if process.fault else ""
        self.trace.append((process.name, process.point, what))
        self._running.remove(process)
        return process

    def _next(self, ready: list[Process]) -> Process:
        if self._last in ready and self._chance.random() < self._steadiness:
            assert self._last
            return self._last
        return self._chance.choice(ready)

    def _fault(self, process: Process) -> type[BaseException] | None:
        if process.when_killed and self.deaths_left and self._chance.random() < self.death_rate:
            self.deaths_left -= 1
            return KilledError
        if process.point.startswith("failpoint ") and self._chance.random() < self.error_rate:
            return FailpointError
        return None

    def _let_go(self, process: Process) -> None:
        self._turn = process
        process.arrived.clear()
        if process.has_begun:
            process.go.release()
        else:
            process.has_begun = True
            threading.Thread(target=self._body, args=[process], name=process.name, daemon=True).start()

    def _go_on_or_end(self, process: Process) -> None:
        if not process.has_ended:
            self._running.append(process)
        elif process.error:
            raise process.error
        elif process.is_dying and process.when_killed:
            process.when_killed()

    def _wait_for_turn(self) -> None:
        """Wait until a process gives the turn back; take it from one that waits for a lock."""
        patience_seconds, steps, latest = PATIENCE_SECONDS, 0, 0.0
        while not self._came_back.wait(patience_seconds):
            process = self._turn
            if steps != len(self.trace):
                patience_seconds, steps, latest = PATIENCE_SECONDS, len(self.trace), time.monotonic() + MAX_SECONDS
                continue
            patience_seconds = min(0.1, patience_seconds * 2)
            if process and process.backend and self._is_blocked(process) and self._take_turn_of(process, steps):
                return
            if time.monotonic() > latest:
                raise StuckError(f"{process and process.name} did not come back from {process and process.point}")
        self._came_back.clear()
        process, self._turn = self._turn, None
        if process:
            self._go_on_or_end(process)

    def _take_turn_of(self, process: Process, steps: int) -> bool:
        with self._turn_lock:
            if self._turn is not process or len(self.trace) != steps or self._came_back.is_set():
                return False
            self._turn = None
            self._waiting.append(process)
            return True

    def _wait(self, process: Process) -> bool:
        """Whether it came to a point or to its end; else it waits for a lock."""
        latest = time.monotonic() + MAX_SECONDS
        patience_seconds = PATIENCE_SECONDS
        while not process.arrived.wait(patience_seconds):
            patience_seconds = min(0.1, patience_seconds * 2)
            if process.backend and self._is_blocked(process):
                return False
            if time.monotonic() > latest:
                raise StuckError(f"{process.name} did not come back from {process.point}")
        return True

    def _admit(self) -> None:
        """Take back those that wait no longer."""
        for process in list(self._waiting):
            if (process.arrived.is_set() or not self._is_blocked(process)) and self._wait(process):
                self._waiting.remove(process)
                self._go_on_or_end(process)

    def _wait_for_any(self) -> None:
        latest = time.monotonic() + MAX_SECONDS
        while not any(process.arrived.wait(PATIENCE_SECONDS) for process in self._waiting):
            if time.monotonic() > latest:
                raise StuckError(f"all wait: {[(one.name, one.point) for one in self._waiting]}")

    def _is_blocked(self, process: Process) -> bool:
        return bool(self._monitor.exec_driver_sql(_BLOCKED, (process.backend,)).scalar_one())

    def _body(self, process: Process) -> None:
        _here.process = process
        try:
            process.take_fault()
            process.run()
        except KilledError:
            process.is_dying = True
        except BaseException as error:  # noqa: BLE001 - the scheduler raises it
            process.error = error
        process.has_ended = True
        self.pass_turn(process)


def watch_statements(engine: Engine) -> None:
    """Make a point of each statement and each end of a transaction of `engine`."""

    @event.listens_for(engine, "before_cursor_execute")
    def before_statement(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if process := getattr(_here, "process", None):
            process.backend = connection.connection.dbapi_connection.get_backend_pid()  # type: ignore[union-attr]
            pause(f"sql {' '.join(statement.split())[:60]}")

    @event.listens_for(engine, "commit")
    def before_commit(connection: Connection) -> None:
        try:
            pause("commit")
        except KilledError:
            # SQLAlchemy takes a transaction whose commit raised for ended, and would pool the connection as it is
            connection.invalidate()
            raise


def watched_failpoints() -> AbstractContextManager[None]:
    """Every failpoint is a point of the scheduler while this is entered."""
    return failpoints.call_at_every_failpoint(lambda name: pause(f"failpoint {name}"))
