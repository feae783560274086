"""Starts the real servers and commands for a benchmark, and ends them with it."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click
import psutil

from local.postgres import Postgres
from local.rabbitmq import RabbitMq
from local.s3 import S3
from shared.runtime.migrations import migrate

NOUBA = Path(sys.executable).with_name("nouba")
_STOP_SECONDS = 30

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took: `cpu_seconds` of it and of all it started."""

    wall_seconds: float
    cpu_seconds: float


@contextlib.contextmanager
def postgres(folder: Path, settings: Mapping[str, object] | None = None) -> Iterator[Postgres]:
    """A PostgreSQL as safe as in production, with the newest schema in its database `nouba`."""
    server = Postgres(folder / "postgres", settings=settings)
    try:
        server.start()
        migrate(server.url)
        yield server
    finally:
        server.destroy()


@contextlib.contextmanager
def rabbitmq(folder: Path) -> Iterator[RabbitMq]:
    """A RabbitMQ of its own."""
    server = RabbitMq(folder / "rabbitmq")
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[S3]:
    """An S3 server of its own."""
    server = S3(folder / "s3")
    try:
        server.start()
        yield server
    finally:
        server.destroy()


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment with these settings of Nouba, and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("NOUBA_", "AWS_"))}
    return {**inherited, **settings}


def run(command: Sequence[str | Path], settings: Mapping[str, str], *, folder: Path | None = None) -> Cost:
    """Run a command to its end. Raises ClickException with how its output ends where it fails."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    result = subprocess.run(
        command, env=environment(settings), cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    wall_seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode != 0:
        raise click.ClickException(f"`{_shown(command)}` failed: {(result.stderr or result.stdout)[-2000:].strip()}")
    return Cost(wall_seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], settings: Mapping[str, str], log: Path, *, folder: Path | None = None
) -> Iterator["Process"]:
    """Have a command run meanwhile; SIGTERM to its first process ends it, SIGKILL what is left of its group."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment(settings), cwd=folder, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield Process(process, log, _shown(command))
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Process:
    """A command that runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, shown: str) -> None:
        self._process, self._log, self._shown = process, log, shown

    @property
    def log(self) -> str:
        """All that it has written."""
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Its first process."""
        return self._process.pid

    @property
    def largest_mb(self) -> float:
        """Memory (resident set) of the largest of its processes."""
        return max(one.memory_info().rss for one in self.family) / 2**20

    @property
    def family(self) -> list[psutil.Process]:
        """Its first process, and all that it has started and that still run."""
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def most_mb_until(self, condition: Callable[[], object], what: str, timeout_seconds: float = 60) -> float:
        """The most memory (resident set) of its first process, without what that has started, seen while waiting."""
        first, seen = psutil.Process(self._process.pid), [0]

        def weigh() -> object:
            seen.append(first.memory_info().rss)
            return condition()

        self.wait(weigh, what, timeout_seconds)
        return max(seen) / 2**20

    def wait(self, condition: Callable[[], T], what: str, timeout_seconds: float = 60) -> T:
        """The first true answer of `condition`. Raises ClickException if the process ends, or the time is over."""
        deadline = time.monotonic() + timeout_seconds
        while not (answer := condition()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise click.ClickException(f"`{self._shown}`: {what}. Its output ends with: {self.log[-2000:].strip()}")
            time.sleep(0.02)
        return answer


def cpu_seconds(*pids: int) -> float:
    """Seconds of CPU that these processes and all that they started have taken up to now, of the ended ones as well."""
    total = 0.0
    for pid in pids:
        first = psutil.Process(pid)
        for one in [first, *first.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def _shown(command: Sequence[str | Path]) -> str:
    return " ".join(str(word) for word in command)[:200]
