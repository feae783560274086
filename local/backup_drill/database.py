"""Base backup, WAL archive and point-in-time restore of a PostgreSQL of ours, with PostgreSQL's own tools."""

import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg2

from local.errors import CannotStartError
from local.installers.postgres import find_program
from local.postgres import Postgres
from local.unprivileged_user import unprivileged_account

_WAIT_SECONDS = 60


class BackedUpPostgres:
    """A server, the archive of its WAL and one base backup, all in its folder."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._account = unprivileged_account()
        self._place = self._account.make_folder(server.folder / "files")
        self._archive = self._account.make_folder(self._place / "archive")
        self._base = self._place / "base"

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of `query`; a statement is committed."""
        with closing(psycopg2.connect(self._server.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query, values or None)
                return cursor.fetchall() if cursor.description else []

    def archive_wal(self) -> None:
        """Switch archiving on; every finished segment is copied once, and one is finished every few seconds."""
        kept = f"{self._archive}/%f"
        # a segment that is there is whole: it is copied under another name and renamed
        command = f"test ! -f {kept} && cp %p {kept}.part && mv {kept}.part {kept}"
        for setting, value in (("archive_mode", "on"), ("archive_command", command), ("archive_timeout", "5s")):
            # a utility statement takes no parameters; nothing here is a stranger's
            self.rows(f"ALTER SYSTEM SET {setting} = '{value}'")
        self._server.stop()
        self._server.start()

    def back_up(self) -> None:
        """Take the base backup while the server works."""
        program = self._account.make_reachable(find_program(self._place / "data"), self._place)
        options = ["--checkpoint=fast", "--wal-method=none", "--no-sync", "--no-manifest"]
        result = subprocess.run(
            [program / "bin" / "pg_basebackup", "-D", self._base, "-d", self._server.url_of("postgres"), *options],
            cwd="/",
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            user=self._account.user,
            group=self._account.group,
            extra_groups=None if self._account.user is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise CannotStartError(f"pg_basebackup failed: {result.stderr.strip()}")

    def now(self) -> datetime:
        """The server's clock."""
        found: datetime = self.rows("SELECT clock_timestamp()")[0][0]
        return found

    def archive_the_rest(self) -> None:
        """Finish the segment in hand, and wait until it is in the archive."""
        ((segment,),) = self.rows("SELECT pg_walfile_name(pg_switch_wal())")
        _wait_until(lambda: (self._archive / segment).exists(), f"WAL segment {segment} is not archived")

    def lose(self) -> None:
        """Kill the server and remove its data; the archive and the base backup are elsewhere."""
        self._server.kill()
        shutil.rmtree(self._place / "data")

    def restore(self, target: datetime) -> None:
        """Bring the server back as it was at `target`."""
        data = self._place / "data"
        # keeps whose the files are
        subprocess.run(["cp", "-a", self._base, data], check=True)
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"restore_command = 'cp {self._archive}/%f %p'\n")
            settings.write(f"recovery_target_time = '{target.isoformat()}'\nrecovery_target_action = 'promote'\n")
        signal_file = data / "recovery.signal"
        signal_file.touch()
        self._account.own(signal_file)
        self._server.start()
        _wait_until(lambda: self.rows("SELECT pg_is_in_recovery()") == [(False,)], "the restore does not end")


def _wait_until(is_so: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise CannotStartError(f"{complaint} after {_WAIT_SECONDS} s.")
        time.sleep(0.1)


def folder_of(server: Postgres) -> Path:
    """Where archive and base backup are."""
    return unprivileged_account().make_folder(server.folder / "files")
