"""What can be killed, frozen and started again: a command in a process group of its own, or a server."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil

from local.postgres import Postgres
from local.rabbitmq import RabbitMq
from local.s3 import S3

_STOP_SECONDS = 30


class Target(Protocol):
    """Something that can be killed, frozen and started again."""

    name: str

    @property
    def alive(self) -> bool: ...
    def start(self) -> None: ...
    def kill(self) -> None: ...
    def stop(self) -> None: ...
    def family(self) -> list[psutil.Process]: ...


class Command:
    """One `nouba` process, or a gateway with its children, in a process group of its own."""

    def __init__(self, name: str, arguments: Sequence[str], settings: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._arguments = arguments
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("NOUBA_", "AWS_"))}
        self._environment = {**inherited, **settings, "NOUBA_PROCESS": name}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """How it ended."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name("nouba"), *self._arguments],
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL to all of its group at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, as a deploy does; what is not gone in time is killed."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
            self.kill()

    def family(self) -> list[psutil.Process]:
        return _family(self._process.pid if self._process else None)


class ServerTarget:
    """PostgreSQL, RabbitMQ or S3."""

    def __init__(self, name: str, server: Postgres | RabbitMq | S3) -> None:
        self.name = name
        self._server = server

    @property
    def alive(self) -> bool:
        return self._server.running

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        self._server.kill()

    def stop(self) -> None:
        self._server.stop()

    def family(self) -> list[psutil.Process]:
        return _family(self._server.pid)


def freeze(target: Target, seconds: float, stopping: threading.Event) -> None:
    """SIGSTOP to all of it, and SIGCONT after a while: it was there all the time, and yet was not."""
    frozen = target.family()
    try:
        for process in frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        stopping.wait(seconds)
    finally:
        for process in frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def _family(pid: int | None) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid) if pid is not None else None
        return [first, *first.children(recursive=True)] if first else []
    except psutil.NoSuchProcess:
        return []
