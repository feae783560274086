"""The database's roles of the containers, on a server of a test."""

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from local.installers.postgres import find_program
from local.postgres import Postgres

ROLES_SQL = Path(__file__).parents[1] / "deploy/postgres/roles.sql"
#: Those of the services whose images have `nouba doctor`.
SERVICES = ("gateway", "transcoder", "stats", "console")
ROLES = ("intake", *SERVICES, "playback", "school")
PASSWORD = "a-role's-password"


def apply_roles(server: Postgres, folder: Path) -> None:
    """Do what the container `roles` does after the migrations, with passwords in a folder of the test's."""
    for role in ROLES:
        (folder / f"{role}_password").write_text(PASSWORD)
    psql = find_program(folder) / "bin/psql"
    statements = ROLES_SQL.read_text().replace("/run/secrets/migrate/", f"{folder}/")
    options = ["--quiet", "--single-transaction", "--no-psqlrc", f"--dbname={server.url}", "--file=-"]
    subprocess.run([psql, *options], input=statements, text=True, check=True)


def url_of_role(url: str, role: str) -> str:
    """The same database, as `role`."""
    user, password = urlsplit(url).username, urlsplit(url).password
    return url.replace(f"{user}:{password}@", f"{role}:{PASSWORD}@")
