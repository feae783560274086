"""`nouba stats`: the daily numbers."""

import click

from shared.runtime import logs
from shared.runtime.settings import read_settings


@click.group()
def stats() -> None:
    """Numbers every morning.

    \b
    Examples:
      nouba stats worker     notes which days' facts changed
    """


@stats.command()
def worker() -> None:
    """Handle what is told on queue `default`."""
    from services.stats.settings import StatsSettings
    from services.stats.worker import run

    logs.configure("stats-worker")
    raise SystemExit(run(read_settings(StatsSettings)))
