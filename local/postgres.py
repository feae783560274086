"""A private PostgreSQL server in a folder: on 127.0.0.1 alone, with a password of its own."""

import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg2

from local.daemon import DaemonProcess
from local.errors import CannotStartError
from local.free_port import HOST
from local.installers.postgres import find_program
from local.saved_settings import SavedSettings
from local.unprivileged_user import unprivileged_account

_READY_SECONDS = 60
_STOP_SECONDS = 20
_MEMORY_LINE = 6


class Postgres:
    """PostgreSQL with all it keeps in `folder`. The same folder gives the same server again, from any command."""

    name = "PostgreSQL"

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        max_connections: int = 200,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """`durable=False` may lose the last commits when the server is killed: for tests that do not kill it.

        `settings` are further ones of the server.
        """
        #: Where all of it is.
        self.folder = folder.absolute()
        self._durable = durable
        self._max_connections = max_connections
        self._settings = settings or {}
        self._remembered = SavedSettings(self.folder / "server.json")
        self._process = DaemonProcess(self.folder)

    @property
    def url(self) -> str:
        """The address of the database `nouba`, with the password in it."""
        return self.url_of("nouba")

    def url_of(self, database: str) -> str:
        """The address of one database of this server."""
        return f"postgresql://nouba:{self._remembered['password']}@{HOST}:{self._remembered['port']}/{database}"

    @property
    def running(self) -> bool:
        """Whether the server is there."""
        return self._process.running

    @property
    def pid(self) -> int | None:
        """The id of the server's first process while it runs."""
        return self._process.pid

    def start(self) -> None:
        """Start the server, and make the database `nouba` the first time. Returns when it answers."""
        if self.running:
            return
        self._process.kill()
        account = unprivileged_account()
        place = account.make_folder(self.folder / "files")
        data = place / "data"
        program = account.make_reachable(find_program(data), place)
        password = self._remembered.text("password", lambda: secrets.token_hex(16))
        if not data.exists():
            self._initialise(program, place, password)
        port = self._remembered.port("port")
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            self._process.start(
                [program / "bin" / "postgres", "-D", data, *self._options(port)],
                {"LC_ALL": "C", "TZ": "UTC"},
                user=account.user,
                group=account.group,
            )
            try:
                self._process.wait_until(self._answers, _READY_SECONDS)
            except CannotStartError as error:
                # a process of a server that was killed holds its memory while it ends
                if "pre-existing shared memory block" not in str(error) or time.monotonic() > deadline:
                    raise
                self._process.kill()
                time.sleep(0.2)
            else:
                return

    def stop(self) -> None:
        """Stop the server in good order; nothing of it remains."""
        # SIGINT is PostgreSQL's "fast": SIGTERM would wait until the last client has gone
        self._process.stop(signal.SIGINT, _STOP_SECONDS)

    def kill(self) -> None:
        """End the server as a crash would; what was committed is there again after `start`."""
        self._process.kill()

    def destroy(self) -> None:
        """End the server and remove all it keeps, memory too."""
        # SIGQUIT is PostgreSQL's "immediate": nothing is written, and its shared memory is given back
        self._process.stop(signal.SIGQUIT, _STOP_SECONDS)
        self._free_memory()
        for folder in (unprivileged_account().make_folder(self.folder / "files"), self.folder):
            shutil.rmtree(folder, ignore_errors=True)

    def _free_memory(self) -> None:
        """Free the memory of a server that was killed and not started again: the machine has room for some thousand."""
        lines = self._postmaster_file.read_text().splitlines() if self._postmaster_file.exists() else []
        # the seventh line has the key and the id of its System V segment
        if len(lines) > _MEMORY_LINE and (ids := lines[_MEMORY_LINE].split()):
            subprocess.run(["ipcrm", "-m", ids[-1]], check=False, capture_output=True)

    @property
    def _postmaster_file(self) -> Path:
        return unprivileged_account().make_folder(self.folder / "files") / "data" / "postmaster.pid"

    def _options(self, port: int) -> list[str]:
        settings: dict[str, object] = {
            "port": port,
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_connections": self._max_connections,
        }
        if not self._durable:
            # to compile a query takes longer than to read the few rows of a test
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "jit": "off"}
        settings |= self._settings
        return [f"--{name}={value}" for name, value in settings.items()]

    def _initialise(self, program: Path, place: Path, password: str) -> None:
        account = unprivileged_account()
        password_file = place / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        account.own(password_file)
        # made under another name and renamed last: an interrupted first start leaves nothing that seems finished
        draft = place / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        options = ["--username=nouba", "--auth=scram-sha-256", f"--pwfile={password_file}", "--no-sync"]
        options += ["--encoding=UTF8", "--locale=C"]
        result = subprocess.run(
            [program / "bin" / "initdb", "-D", draft, *options],
            cwd="/",
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            user=account.user,
            group=account.group,
            extra_groups=None if account.user is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        password_file.unlink()
        if result.returncode != 0:
            raise CannotStartError(f"PostgreSQL could not make its data folder {draft}: {result.stderr.strip()}")
        draft.rename(place / "data")

    def _answers(self) -> bool:
        try:
            connection = psycopg2.connect(self.url_of("postgres"), connect_timeout=2)
        except psycopg2.OperationalError:
            return False
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = 'nouba'")
                if cursor.fetchone() is None:
                    cursor.execute("CREATE DATABASE nouba")
        finally:
            connection.close()
        return True
