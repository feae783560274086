"""`nouba gateway`: take webhooks, book them, and see that the settings are right."""

import json
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

import click

from services.webhook_gateway.errors import NotReady
from services.webhook_gateway.psps.settings import read_settings as read_psp_settings
from services.webhook_gateway.settings import GatewaySettings
from shared.runtime import logs
from shared.runtime.settings import read_settings


class Gateway(click.Group):
    """A group whose faults are sentences."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except NotReady as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Gateway)
def gateway() -> None:
    """Money in: take payment providers' webhooks and book them.

    \b
    Examples:
      nouba gateway serve               the web process, on 127.0.0.1:8080
      nouba gateway worker              the payments worker
      nouba gateway providers --json    which providers are switched on
    """


@gateway.command()
def serve() -> None:
    """Take webhooks: gunicorn on NOUBA_GATEWAY_HOST and NOUBA_GATEWAY_PORT."""
    logs.configure("gateway")
    settings, psp_settings = read_settings(GatewaySettings), read_psp_settings()
    directory = settings.gateway_metrics_dir or Path(tempfile.mkdtemp(prefix="nouba-gateway-metrics-"))
    # prometheus_client looks for this when it is first imported, so it is set before `server` is
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)

    from services.webhook_gateway.psps.registry import enabled
    from services.webhook_gateway.server import GatewayServer
    from shared.runtime.metrics import empty_multiprocess_dir

    empty_multiprocess_dir(directory)
    shop = psp_settings.satim_return_url
    return_urls = {"satim": shop, "cib": shop} if shop else {}
    server = GatewayServer(settings, enabled(psp_settings), return_urls)
    if settings.gateway_metrics_dir is None:
        server.on_exit = partial(shutil.rmtree, directory)
    server.run()


@gateway.command()
def worker() -> None:
    """Book what was taken: the actor on queue `webhooks`."""
    from services.webhook_gateway.worker import run

    logs.configure("payments-worker")
    raise SystemExit(run(read_settings(GatewaySettings), read_psp_settings()))


@gateway.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def providers(as_json: bool) -> None:
    """Show which providers are switched on, and where their webhooks go."""
    from services.webhook_gateway.psps.registry import NAMES, enabled

    on = enabled(read_psp_settings())
    found = {name: {"on": name in on, "path": f"/webhooks/{name}"} for name in NAMES}
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, state in found.items():
        click.echo(f"{name:20} {'on ' if state['on'] else 'off'} {state['path'] if state['on'] else ''}")
