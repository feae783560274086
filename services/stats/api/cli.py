"""`nouba stats api`: the read API and its dashboard."""

import click

from services.stats.api.settings import ApiSettings
from shared.runtime import logs
from shared.runtime.prometheus_multiproc_dir import add_up_metrics
from shared.runtime.settings import read_settings


@click.command()
def api() -> None:
    """Serve the read API, with a dashboard at /.

    It listens on NOUBA_STATS_HOST and NOUBA_STATS_PORT.

    Where NOUBA_API_TOKENS is set, readers send one of them that has the scope `read`: `Authorization: Bearer TOKEN`, or
    as the password that a browser asks for. Without it everybody on this machine may read; another address than
    127.0.0.1, which is the default, needs it.
    """
    logs.configure("stats-api")
    settings = read_settings(ApiSettings)
    settings.required_tokens()
    # before `server` is imported
    forget_metrics = add_up_metrics("stats", settings.stats_metrics_dir)

    from services.stats.api.server import StatsServer

    server = StatsServer(settings)
    server.on_exit = forget_metrics
    server.run()
