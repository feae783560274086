"""Debian's PgBouncer with its default settings in front of a PostgreSQL of ours."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from local.daemon import DaemonProcess
from local.free_port import HOST, accepts, free_port
from local.installers.pgbouncer import find_pgbouncer
from local.unprivileged_user import unprivileged_account


@contextlib.contextmanager
def pgbouncer_before(database_url: str, folder: Path, **settings: object) -> Iterator[str]:
    """A running PgBouncer; yields `database_url` with its port. `settings` are lines of pgbouncer.ini."""
    server = urlsplit(database_url)
    account = unprivileged_account()
    place = account.make_folder(folder / "files")
    port = free_port()
    lines = {
        "listen_addr": HOST,
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": place / "users.txt",
        **settings,
    }
    (place / "users.txt").write_text(f'"{server.username}" "{server.password}"\n')
    (place / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={HOST} port={server.port}\n[pgbouncer]\n"
        + "".join(f"{name} = {value}\n" for name, value in lines.items())
    )
    for file in ("users.txt", "pgbouncer.ini"):
        account.own(place / file)
    process = DaemonProcess(folder)
    process.start(
        [find_pgbouncer(), place / "pgbouncer.ini"],
        {"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        user=account.user,
        group=account.group,
    )
    try:
        process.wait_until(lambda: accepts(port), 20)
        yield database_url.replace(f":{server.port}/", f":{port}/")
    finally:
        process.stop(signal.SIGINT, 5)
