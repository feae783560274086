"""The folder that all processes of one test run share: one process owns it, the others are its guests."""

import fcntl
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import pytest

from local.postgres import Postgres
from local.rabbitmq import RabbitMq
from local.s3 import S3

#: Names the folder to a pytest that a test starts, and that uses the servers of that test's run. One at a time.
ENVIRONMENT: Final = "NOUBA_LOCAL_TEST_RUN"
_SERVERS: Final[dict[str, type[Postgres] | type[RabbitMq] | type[S3]]] = {
    "postgres": Postgres,
    "rabbitmq": RabbitMq,
    "s3": S3,
}
#: Linux's file system in memory, by default half of it; containers have less, and forbid to execute.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108
_PREFIX: Final = "nouba-tests-"
#: What the servers of a run may write, with room to spare.
_MEMORY_BYTES: Final = 8 * 2**30
_OWNER_LOCK: Final = "owner.lock"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One test run, seen from one of its processes.

    The owner is the process that the user started. It outlives the xdist workers, so it needs no reference count:
    it destroys every server when pytest ends, whichever process started it and however that process ended.
    """

    #: What all processes share.
    shared: Path
    #: What only this process uses.
    own: Path
    owner: bool

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Exclude the other processes of the run; a killed process releases its locks."""
        with (self.shared / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def once(self, name: str, make: Callable[[Path], T]) -> T:
        """The result of `make(folder)`, which the first process that asks for `name` calls for all of them."""
        folder = self.shared / "made" / name
        result = folder.with_name(f"{name}.pickle")
        folder.mkdir(parents=True, exist_ok=True)
        with self.lock(f"made/{name}"):
            if not result.exists():
                draft = result.with_suffix(".draft")
                draft.write_bytes(pickle.dumps(make(folder)))
                draft.rename(result)
        made: T = pickle.loads(result.read_bytes())  # noqa: S301 - this run wrote it
        return made

    def destroy(self) -> None:
        """End every server of the run, also those of killed processes, and remove what they kept."""
        for state in [*self.shared.glob("*/server.json"), *self.shared.glob("*/*/server.json")]:
            kind = state.parent.name.partition("-")[0]
            if kind in _SERVERS:
                _SERVERS[kind](state.parent).destroy()
        shutil.rmtree(self.shared, ignore_errors=True)


def run_folder(config: pytest.Config) -> RunFolder:
    """The folder of this run."""
    return config.stash[_KEY]


_KEY = pytest.StashKey[RunFolder]()
#: The open file whose lock says that the owner lives.
_OWNED = pytest.StashKey[IO[str]]()


def pytest_configure(config: pytest.Config) -> None:
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    given = worker["run_folder"] if worker else os.environ.get(ENVIRONMENT)
    # a short path: the names of sockets in it have to stay below a hundred bytes
    shared = Path(given or tempfile.mkdtemp(prefix=_PREFIX, dir=_fast_folder()))
    if not given:
        # PostgreSQL runs as another account, which has to pass through; it cannot list what is here
        shared.chmod(0o711)
        config.stash[_OWNED] = _own(shared)
    own = shared / (worker["workerid"] if worker else "guest" if given else "owner")
    own.mkdir(mode=0o711, exist_ok=True)
    config.stash[_KEY] = RunFolder(shared, own, owner=not given)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["run_folder"] = str(run_folder(node.config).shared)


def _own(shared: Path) -> IO[str]:
    lock = (shared / _OWNER_LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _fast_folder(memory: Path = _MEMORY, meminfo: Path = Path("/proc/meminfo")) -> Path | None:
    """A file system in memory, where a database is copied in a third of the time; None is the default, as TMPDIR is."""
    if "TMPDIR" in os.environ or not memory.is_dir() or not meminfo.exists():
        return None
    _destroy_orphans(memory)
    state = os.statvfs(memory)
    # the programs of a server may be copied to where another account reaches them
    is_executable = not state.f_flag & os.ST_NOEXEC
    # its own limit says nothing of what the machine has left
    available = int(meminfo.read_text().partition("MemAvailable:")[2].split()[0]) * 1024
    free = min(available, state.f_bavail * state.f_frsize)
    return memory if is_executable and free >= _MEMORY_BYTES else None


def _destroy_orphans(memory: Path) -> None:
    """End the servers of runs whose owner was killed: what they keep is memory."""
    for lock in memory.glob(f"{_PREFIX}*/{_OWNER_LOCK}"):
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            RunFolder(lock.parent, lock.parent, owner=True).destroy()


def pytest_unconfigure(config: pytest.Config) -> None:
    if (folder := config.stash.get(_KEY, None)) and folder.owner:
        folder.destroy()
