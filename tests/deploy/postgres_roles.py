"""The roles of the containers on a PostgreSQL of a test."""

import subprocess
from pathlib import Path

from local.installers.postgres import find_program
from local.postgres import Postgres

ROLES_SQL = Path(__file__).parents[2] / "deploy/postgres/roles.sql"
ROLES = ("intake", "gateway", "transcoder", "stats", "console", "school")
PASSWORD = "a-role's-password"


def apply_roles(server: Postgres, folder: Path) -> None:
    """Do what the container `roles` does after the migrations, with passwords in a folder of the test's."""
    for role in ROLES:
        (folder / f"{role}_password").write_text(PASSWORD)
    psql = find_program(folder) / "bin/psql"
    statements = ROLES_SQL.read_text().replace("/run/secrets/migrate/", f"{folder}/")
    options = ["--quiet", "--single-transaction", "--no-psqlrc", f"--dbname={server.url}", "--file=-"]
    subprocess.run([psql, *options], input=statements, text=True, check=True)


def url_of(server: Postgres, role: str) -> str:
    """The server's database as `nouba_<role>`."""
    head, _, tail = server.url.partition("://")
    return f"{head}://nouba_{role}:{PASSWORD}@{tail.rpartition('@')[2]}"
