"""Everything Nouba on this machine: the servers, the processes of the Procfile, and the settings that join them."""

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from local.daemon import DaemonProcess
from local.environment import health_addresses, metrics_addresses, own_environments, shared_environment, wishes_of
from local.errors import CannotStartError, LocalError, NotRunningError
from local.installers import ffmpeg
from local.make_bucket import Bucket
from local.postgres import Postgres
from local.process_runner import read_procfile, run_processes
from local.rabbitmq import RabbitMq
from local.s3 import BUCKET, S3
from local.saved_settings import SavedSettings, read_private, write_private
from shared.runtime import health

PROJECT = Path(__file__).parent.parent

_READY_SECONDS = 60
#: How often ports are chosen where other programs take them.
_ATTEMPTS = 3
# the processes have a little less before they are killed one by one
_STOP_SECONDS = 30

Say = Callable[[str], None]


class Server(Protocol):
    """What the three servers have in common."""

    name: str
    folder: Path

    @property
    def running(self) -> bool: ...
    @property
    def pid(self) -> int | None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


class Stack:
    """One running Nouba with all its state in a folder, so that any later command finds it again."""

    def __init__(self, given: Mapping[str, str]) -> None:
        """`given` is the caller's environment: what it names is used, and not started."""
        self._given = given
        self.home = Path(given.get("NOUBA_HOME") or PROJECT / ".nouba").absolute()
        self.procfile = Path(given.get("NOUBA_LOCAL_PROCFILE") or PROJECT / "Procfile").absolute()
        self.postgres = Postgres(self.home / "postgres")
        self.rabbitmq = RabbitMq(self.home / "rabbitmq")
        self.s3 = S3(self.home / "s3")
        self.processes = DaemonProcess(self.home / "processes", log=self.home / "logs" / "processes.log")
        self._file = self.home / "stack.json"
        self._chosen = SavedSettings(self.home / "chosen.json")

    @property
    def servers(self) -> list[Server]:
        """The servers that are ours to start and stop."""
        ours: dict[str, Server] = {
            "NOUBA_DATABASE_URL": self.postgres,
            "NOUBA_RABBITMQ_URL": self.rabbitmq,
            "NOUBA_S3_ENDPOINT_URL": self.s3,
        }
        return [server for setting, server in ours.items() if not self._given.get(setting)]

    def up(self, say: Say) -> bool:
        """Start what does not run yet, in the background. False if all of it ran already."""
        with self._alone(), self._all_or_nothing():
            # the transcoder needs it; the servers install what they need themselves
            ffmpeg.require_programs()
            self._print_given_settings(say)
            ran = self.processes.running and all(server.running for server in self.servers)
            self._start_servers(say)
            if not self.processes.running:
                with_free_ports(lambda: self._start_processes(say), self._chosen, say)
            return not ran

    def run(self, say: Say) -> int:
        """Start everything in the foreground; Ctrl-C, or the end of one process, stops all. Returns the exit status."""
        with self._alone():
            if self.processes.running:
                raise LocalError("It runs already, in the background: `make down` first.")
            try:
                self._print_given_settings(say)
                self._start_servers(say)
                self._settle(say)
                return self.run_processes(keep=False)
            finally:
                self._stop_all()

    def run_processes(self, *, keep: bool) -> int:
        """Run the processes with the settings that were kept, until asked to stop. `keep` brings fallen ones back."""
        kept = read_private(self._file)
        return run_processes(read_procfile(self.procfile), kept["shared"], kept["own"], PROJECT, keep=keep)

    def down(self) -> None:
        """Stop all that runs; nothing of it remains but the data."""
        with self._alone():
            self._stop_all()

    def environment(self) -> dict[str, str]:
        """The settings and addresses of the running stack. Raises NotRunningError where none runs."""
        kept = read_private(self._file)
        if not kept:
            raise NotRunningError("Nothing runs here: start it with `make up`.")
        return {**kept["shared"], **metrics_addresses(kept["own"])}

    def _start_servers(self, say: Say) -> None:
        def start(server: Server) -> None:
            if not server.running:
                began = time.monotonic()
                with_free_ports(server.start, SavedSettings(server.folder / "server.json"), say)
                say(f"{server.name} is up ({time.monotonic() - began:.1f} s)")

        with ThreadPoolExecutor() as pool:
            list(pool.map(start, self.servers))

    def _print_given_settings(self, say: Say) -> None:
        """Say which settings of the caller's environment win: those of another stack may be forgotten there."""
        named = {"NOUBA_DATABASE_URL": "PostgreSQL", "NOUBA_RABBITMQ_URL": "RabbitMQ", "NOUBA_S3_ENDPOINT_URL": "S3"}
        wishes = {name: value for name, value in wishes_of(self._given).items() if value and "_LOCAL_" not in name}
        if "NOUBA_INSTANCE" in self._given and wishes:
            say("This environment holds the settings of a running stack (`make env`): use a new shell for another one.")
        for name, server in named.items():
            if address := wishes.pop(name, None):
                place = urlsplit(address).netloc.rpartition("@")[2]
                say(f"{name} is set: {server} at {place} is used, and none is started here. `unset {name}` changes it.")
        if wishes:
            say(f"These settings of the environment are used: {', '.join(sorted(wishes))}")

    def _start_processes(self, say: Say) -> None:
        self._settle(say)
        self.processes.start([sys.executable, "-m", "local", "processes"], {**os.environ, **self._given})
        try:
            self._await_processes(say)
        except CannotStartError:
            # nothing of ours may hold a port that we then call taken
            self.processes.stop(grace_seconds=_STOP_SECONDS)
            raise

    def _settle(self, say: Say) -> None:
        """Choose the settings, keep them, and bring the database to the newest schema."""
        remembered = self._chosen
        commands = read_procfile(self.procfile)
        shared = shared_environment(self._given, self._server_settings(), commands, remembered)
        write_private(self._file, {"shared": shared, "own": own_environments(self._given, commands, remembered)})
        _make_bucket(shared)
        nouba = Path(sys.executable).parent / "nouba"
        migration = subprocess.run(
            [nouba, "migrate"], env={**os.environ, **shared}, cwd=PROJECT, capture_output=True, text=True, check=False
        )
        if migration.returncode != 0:
            raise CannotStartError(f"`nouba migrate` failed: {migration.stderr.strip() or migration.stdout.strip()}")
        say("The database has the newest schema")

    def _server_settings(self) -> dict[str, str]:
        settings = {
            "NOUBA_S3_BUCKET": self._given.get("NOUBA_S3_BUCKET", BUCKET),
            "NOUBA_GATEWAY_SPOOL_DIR": str(self.home / "spool"),
        }
        ours = self.servers
        if self.postgres in ours:
            settings["NOUBA_DATABASE_URL"] = self.postgres.url
        if self.rabbitmq in ours:
            settings["NOUBA_RABBITMQ_URL"] = self.rabbitmq.url
            settings["NOUBA_RABBITMQ_MANAGEMENT_URL"] = self.rabbitmq.management_address
            settings["RABBITMQ_MANAGEMENT_URL"] = self.rabbitmq.management_url
            settings["RABBITMQ_METRICS_URL"] = self.rabbitmq.metrics_url
        if self.s3 in ours:
            settings["NOUBA_S3_ENDPOINT_URL"] = self.s3.url
            settings["AWS_ACCESS_KEY_ID"] = self.s3.access_key_id
            settings["AWS_SECRET_ACCESS_KEY"] = self.s3.secret_access_key
        else:
            keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
            settings |= {key: self._given[key] for key in keys if key in self._given}
        return settings

    def _await_processes(self, say: Say) -> None:
        shared = self.environment()
        waiting = health_addresses(shared)

        def ready() -> bool:
            for process, address in list(waiting.items()):
                if _is_healthy(address, shared[health.SETTING]):
                    del waiting[process]
            return not waiting

        began = time.monotonic()
        self.processes.wait_until(ready, _READY_SECONDS)
        say(f"The processes are up ({time.monotonic() - began:.1f} s)")

    def _stop_all(self) -> None:
        # the processes first: they have work to finish, which needs the servers
        self.processes.stop(grace_seconds=_STOP_SECONDS)
        self._file.unlink(missing_ok=True)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.stop(), (self.postgres, self.rabbitmq, self.s3)))

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        try:
            yield
        except BaseException:  # Ctrl-C too
            self._stop_all()
            raise

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two commands at once would start everything twice; the second waits."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(
                    "Waiting for another command that is at work here; is `make run` open somewhere?", file=sys.stderr
                )
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def with_free_ports(start: Callable[[], None], chosen: SavedSettings, say: Say) -> None:
    """Run `start`, and again where another program took one of its ports in between: it chooses others then."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return start()
        except CannotStartError:
            taken = chosen.taken_ports()
            if not taken:
                raise
            say(f"Another program has taken port {', '.join(map(str, taken))}: choosing again")
    return start()


def _is_healthy(address: str, instance: str) -> bool:
    """Whether the process of this start answers there, and not one of another stack."""
    try:
        answer = httpx.get(address, timeout=5)
    except httpx.TransportError:
        return False
    return answer.status_code == httpx.codes.OK and answer.headers.get(health.HEADER) == instance


def _make_bucket(settings: Mapping[str, str]) -> None:
    address, name = settings["NOUBA_S3_ENDPOINT_URL"], settings["NOUBA_S3_BUCKET"]
    try:
        Bucket(address, name, settings["AWS_ACCESS_KEY_ID"], settings["AWS_SECRET_ACCESS_KEY"]).make()
    except KeyError as error:
        raise CannotStartError(f"NOUBA_S3_ENDPOINT_URL is set, so {error.args[0]} must be set too.") from None
    except (BotoCoreError, ClientError) as error:
        raise CannotStartError(f"The bucket {name} cannot be made at {address}: {error}") from error
