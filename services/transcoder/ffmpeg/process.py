"""Runs one ffmpeg or ffprobe on an untrusted file: confined, limited, supervised."""

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import IO

from services.transcoder.errors import EnvironmentNotReadyError, JobCancelledError, StalledError
from services.transcoder.ffmpeg import sandbox
from services.transcoder.ffmpeg.diagnosis import diagnose
from services.transcoder.ffmpeg.progress import Meter, Progress
from services.transcoder.ffmpeg.sandbox import Confinement

#: How often cancellation, deadline and stall are checked.
TICK_SECONDS = 0.2
#: How often the end of a process is searched for that has closed its streams; it comes within a millisecond.
END_SECONDS = 0.005
#: ffmpeg may complain about every packet; the first words name the cause.
KEPT_ERROR_BYTES = 16_384
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one process may use."""

    memory_bytes: int = 1_200_000_000
    file_bytes: int = 4 << 30
    cpu_seconds: int = 7200
    deadline_seconds: float = 3600.0
    #: The longest time without progress; the slowest film needs seconds for its first frame.
    stall_seconds: float = 60.0
    open_files: int = 256
    #: How far it stands back for other processes.
    nice: int = 10


def never() -> bool:
    """The work is not to be cancelled."""
    return False


def ignore(_: Progress) -> None:
    """Nobody watches the progress."""


class Ffmpeg:
    """The two programs, as the settings name them. Safe to share between threads."""

    def __init__(
        self,
        ffmpeg: str = "ffmpeg",
        ffprobe: str = "ffprobe",
        *,
        confinement: Confinement = Confinement.REQUIRED,
        limits: Limits | None = None,
    ) -> None:
        self._ffmpeg = _found(ffmpeg, "NOUBA_FFMPEG")
        self._ffprobe = _found(ffprobe, "NOUBA_FFPROBE")
        self._confinement = confinement
        self.limits = limits or Limits()

    def encode(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        reads: Sequence[Path] = (),
        on_progress: Callable[[Progress], None] = ignore,
        cancelled: Callable[[], bool] = never,
        file_bytes: int | None = None,
        on_message: Callable[[str], None] | None = None,
    ) -> None:
        """Run ffmpeg in `folder`, the only place where it may write; `reads` are the only other files it sees.

        Each line of standard error goes to `on_message`. Raises RejectedInputError if the file is at fault,
        TransientError if a retry may help, JobCancelledError if the job is cancelled.
        An end without an error proves nothing: the caller measures what was written.
        """
        meter = Meter(on_progress)
        limits = self.limits if file_bytes is None else replace(self.limits, file_bytes=file_bytes)
        call = [self._ffmpeg, "-progress", "pipe:1", "-stats_period", "0.5", *arguments]
        self._run(call, folder, reads, limits, meter.line, cancelled, on_message)

    def probe(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        reads: Sequence[Path] = (),
        on_line: Callable[[str], bool],
        cancelled: Callable[[], bool] = never,
    ) -> None:
        """Run ffprobe and hand each line it prints to `on_line`, which says whether the line is progress."""
        self._run([self._ffprobe, *arguments], folder, reads, self.limits, on_line, cancelled)

    @cached_property
    def build(self) -> str:
        """A short name of this build: bytes of two builds are never mixed in one lesson."""
        answer = subprocess.run([self._ffmpeg, "-version"], capture_output=True, text=True, check=True, timeout=30)
        return sha256(answer.stdout.encode()).hexdigest()[:12]

    def _run(
        self,
        call: list[str],
        folder: Path,
        reads: Sequence[Path],
        limits: Limits,
        on_line: Callable[[str], bool],
        cancelled: Callable[[], bool],
        on_message: Callable[[str], None] | None = None,
    ) -> None:
        errors, status = run_confined(
            call,
            folder,
            [Path(call[0]).resolve().parent, *reads],
            limits,
            self._confinement,
            on_line=on_line,
            cancelled=cancelled,
            on_message=on_message,
        )
        if status != 0:
            raise diagnose(status, errors)


def run_confined(
    call: list[str],
    folder: Path,
    reads: Sequence[Path],
    limits: Limits,
    confinement: Confinement,
    *,
    on_line: Callable[[str], bool],
    cancelled: Callable[[], bool],
    on_message: Callable[[str], None] | None = None,
) -> tuple[str, int]:
    """Run a program that sees `reads` and the system's libraries, and writes to `folder` alone.

    Returns what it wrote to standard error at first, and its exit status.
    """
    name = Path(call[0]).name
    with _child(_launch(call, folder, reads, limits, confinement), folder) as child:
        errors, status = _watch(child, name, limits, on_line, cancelled, on_message)
    if status == sandbox.NOT_STARTED and "sandbox:" in errors:
        raise EnvironmentNotReadyError(
            f"{name} was not started, because it cannot be confined here ({errors.strip()[-200:]}). Use a kernel"
            " with Landlock, or set NOUBA_SANDBOX=available where the machine reads trusted files alone."
        )
    return errors, status


def _launch(
    call: list[str], folder: Path, reads: Sequence[Path], limits: Limits, confinement: Confinement
) -> list[str]:
    spec = {
        "parent": os.getpid(),
        "confinement": confinement,
        "read": [str(path.resolve()) for path in reads],
        "write": [str(folder.resolve())],
        "memory_bytes": limits.memory_bytes,
        "file_bytes": limits.file_bytes,
        "cpu_seconds": limits.cpu_seconds,
        "open_files": limits.open_files,
        "nice": limits.nice,
    }
    return [sys.executable, "-I", "-S", sandbox.__file__, json.dumps(spec), *call]


def _found(program: str, setting: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise EnvironmentNotReadyError(
            f"{program} is not installed: install ffmpeg 5.1 or later, or name it with {setting}."
        )
    return str(Path(path).absolute())


@contextlib.contextmanager
def _child(argv: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process in a group of its own, which is empty when the block is left, however it is left."""
    # a small environment: nothing of ours (secrets, proxies) is ffmpeg's business
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "MALLOC_ARENA_MAX": "2"}
    child = subprocess.Popen(
        argv,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        # its output is scratch, so there is nothing to end politely. Not reaped yet, the group's number is its own,
        # and the sandbox lets no process leave the group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for stream in (child.stdout, child.stderr):
            if stream:
                stream.close()


def _watch(
    child: subprocess.Popen[bytes],
    name: str,
    limits: Limits,
    on_line: Callable[[str], bool],
    cancelled: Callable[[], bool],
    on_message: Callable[[str], None] | None = None,
) -> tuple[str, int]:
    """Read both streams to the process's end; give up on cancellation, deadline or stall.

    Returns what stderr began with, and the exit status. The process stays a zombie until its group is killed.
    """
    assert child.stdout is not None
    assert child.stderr is not None
    errors, rest, message = bytearray(), b"", b""
    started = advanced = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        selector.register(child.stderr, selectors.EVENT_READ)
        while (ended := _ended(child)) is None or selector.get_map():
            # a process that has ended can leave children which hold the streams open: read what is there, and stop
            ready = selector.select(0 if ended is not None else TICK_SECONDS if selector.get_map() else END_SECONDS)
            if ended is not None and not ready:
                break
            if cancelled():
                raise JobCancelledError("The work was cancelled.")
            for key, _ in ready:
                data = _read(key.fileobj)  # type: ignore[arg-type]
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is child.stderr:
                    errors += data[: max(0, KEPT_ERROR_BYTES - len(errors))]
                    if on_message:
                        *messages, message = (message + data).split(b"\n")
                        for one in messages:
                            on_message(_text(one))
                else:
                    *lines, rest = (rest + data).split(b"\n")
                    # every line is read; `any` would stop at the first that advances
                    if sum([on_line(line.decode("utf-8", "replace")) for line in lines]):
                        advanced = time.monotonic()
            now = time.monotonic()
            if now - started > limits.deadline_seconds:
                raise StalledError(f"{name} was stopped after {limits.deadline_seconds:.0f} s, its time limit.")
            if now - advanced > limits.stall_seconds:
                raise StalledError(f"{name} was stopped after {limits.stall_seconds:.0f} s without progress.")
    return _text(errors), ended


def _text(data: bytes | bytearray) -> str:
    """What a confined process wrote, without control characters: PostgreSQL takes no NUL, and a terminal obeys ESC."""
    return _CONTROL.sub("", data.decode("utf-8", "replace"))


def _ended(child: subprocess.Popen[bytes]) -> int | None:
    """The exit status, negative for a signal, of a child that is not reaped; None while it runs."""
    found = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _read(stream: IO[bytes]) -> bytes:
    return os.read(stream.fileno(), 65_536)
