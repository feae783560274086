"""`python -m tests.rotation`: rotate every secret under load, and show what went through meanwhile."""

import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.rotation.drill import Drill


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def rotate() -> None:
    """Rotate the secrets of a provider, the API, the database, RabbitMQ and S3 of a system of its own, under load."""
    console = Console()
    table = Table("secret", "seconds", "webhooks meanwhile", "uploads meanwhile")
    with tempfile.TemporaryDirectory(prefix="nouba-rotation-") as folder:
        drill = Drill(Path(folder))
        console.print("Starting PostgreSQL, RabbitMQ, S3, a gateway and a worker ...")
        with drill.running():
            for one in drill.rotations():
                table.add_row(one.secret, f"{one.seconds:.1f}", str(one.webhooks), str(one.uploads))
                console.print(f"{one.secret}: rotated, the old one is refused")
            drill.assert_nothing_is_lost()
    console.print(table)
    console.print(
        f"{drill.sent.webhooks} webhooks and {drill.sent.uploads} uploads, none lost; "
        f"{drill.sent.retries} requests were sent again"
    )


if __name__ == "__main__":
    rotate()
