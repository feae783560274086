"""A process that outlives the command that started it, and that nothing of outlives `stop`."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from local.errors import CannotStartError, CannotStopError

#: Every process we start carries its folder under this name in its environment, and so do all its descendants.
MARK = "NOUBA_STARTED_IN"
#: The time of a process's birth is reckoned from the machine's clock, which may be set right meanwhile.
SAME_BIRTH_SECONDS = 5.0


class DaemonProcess:
    """One process and its descendants, found again by any later command through `folder`."""

    def __init__(self, folder: Path, log: Path | None = None) -> None:
        self.folder = folder.absolute()
        self.log = log or self.folder / "output.log"
        self._pid_file = self.folder / "pid"

    def start(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        user: int | None = None,
        group: int | None = None,
    ) -> None:
        """Start `command` in a session of its own, so that neither Ctrl-C nor a closed terminal reaches it."""
        for folder in (self.folder, self.log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if self.log.exists():  # why the last run ended may be worth reading
            self.log.replace(f"{self.log}.1")
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                command,
                env={**environment, MARK: str(self.folder)},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
        self._pid_file.write_text(f"{process.pid} {psutil.Process(process.pid).create_time()}")
        # the process is found through its folder from now on, and is meant to run when this object is gone
        process.returncode = 0

    def wait_until(self, ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Return once `ready()`. Raises CannotStartError at once if the process ends, or after `timeout_seconds`."""
        began = checked = time.monotonic()
        while not ready():
            if not self.running:
                raise CannotStartError(f"It ended instead of getting ready. {self.last_lines()}")
            now = time.monotonic()
            if now - began > timeout_seconds:
                raise CannotStartError(f"It was not ready within {timeout_seconds:.0f} s. {self.last_lines()}")
            # what starts needs the processor more than the check does
            time.sleep(min(0.25, max(0.05, 9 * (now - checked))))
            checked = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether the process itself is there."""
        return self._find() is not None

    @property
    def pid(self) -> int | None:
        """The id of the process while it runs."""
        process = self._find()
        return process.pid if process else None

    def stop(self, ask: signal.Signals = signal.SIGTERM, grace_seconds: float = 20) -> None:
        """Ask the process to end; whatever of it is there after `grace_seconds` is killed. Nothing remains."""
        family = self._family()
        if process := self._find():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(ask)
            _wait_until_gone([process], grace_seconds)
        self._kill(family)

    def kill(self) -> None:
        """End the process and all its descendants at once, as a crash would (SIGKILL)."""
        self._kill(self._family())

    def last_lines(self, count: int = 12) -> str:
        """Where the output is and how it ends, for an error message."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"Its output is in {self.log} and ends with:", *lines[-count:]])

    def _kill(self, family: Iterable[psutil.Process]) -> None:
        remaining = set(family)
        for _ in range(3):  # children that are forked during one pass are found by the next
            for process in remaining:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            _wait_until_gone(remaining, 10)
            remaining = {process for process in {*remaining, *self._marked()} if _alive(process)}
            if not remaining:
                self._pid_file.unlink(missing_ok=True)
                return
        raise CannotStopError(f"Still there after SIGKILL: processes {sorted(process.pid for process in remaining)}.")

    def _find(self) -> psutil.Process | None:
        try:
            pid, born_at = self._pid_file.read_text().split()
            process = psutil.Process(int(pid))
            # a number that the system has given to somebody else since is of a younger process; the mark would say
            # so too, but root in a container may not read the environment of another account's process
            is_ours = abs(process.create_time() - float(born_at)) < SAME_BIRTH_SECONDS
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None
        return process if is_ours and _alive(process) else None

    def _family(self) -> set[psutil.Process]:
        family = self._marked()
        if process := self._find():
            with contextlib.suppress(psutil.NoSuchProcess):
                # servers that show a title in `ps`, such as PostgreSQL, overwrite the environment that is marked
                family |= {process, *process.children(recursive=True)}
        return family

    def _marked(self) -> set[psutil.Process]:
        return {process for process in psutil.process_iter() if process.pid != os.getpid() and self._is_marked(process)}

    def _is_marked(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == str(self.folder)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False


def _alive(process: psutil.Process) -> bool:
    try:
        if not process.is_running():
            return False
        # a zombie with other threads still holds its ports and files
        return bool(process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1)
    except psutil.NoSuchProcess:
        return False


def _wait_until_gone(processes: Iterable[psutil.Process], timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    for process in processes:
        while _alive(process) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not _alive(process):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)  # our own child: do not leave a zombie
