"""A hot standby of a PostgreSQL of ours: it follows the primary, answers reads and refuses writes."""

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

from local.installers.postgres import find_program
from local.postgres import Postgres
from local.saved_settings import SavedSettings
from local.unprivileged_user import unprivileged_account


def start_standby(primary: Postgres, folder: Path) -> Postgres:
    """A running standby of `primary` with its data in `folder`; `destroy()` it afterwards."""
    standby = Postgres(folder)
    account = unprivileged_account()
    place = account.make_folder(standby.folder / "files")
    program = account.make_reachable(find_program(place / "data"), place)
    subprocess.run(
        [
            *(program / "bin" / "pg_basebackup", "-D", place / "data", "-d", primary.url_of("postgres")),
            *("-R", "-X", "stream", "-c", "fast", "--no-sync"),
        ],
        cwd="/",
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        user=account.user,
        group=account.group,
        extra_groups=None if account.user is None else [],
        check=True,
        capture_output=True,
    )
    password = str(urlsplit(primary.url).password)
    SavedSettings(standby.folder / "server.json").text("password", lambda: password)
    standby.start()
    with psycopg2.connect(standby.url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        assert cursor.fetchone() == (True,)
    connection.close()
    return standby


def port_of(server: Postgres) -> int:
    """Where `server` listens."""
    return int(urlsplit(server.url).port or 0)
