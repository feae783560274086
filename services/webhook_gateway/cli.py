"""`nouba gateway`: accept webhooks, settle them, and check the settings."""

import json

import click

from services.webhook_gateway.errors import NotReadyError
from services.webhook_gateway.providers.settings import read_settings as read_psp_settings
from services.webhook_gateway.settings import GatewaySettings
from shared.runtime import logs
from shared.runtime.prometheus_multiproc_dir import add_up_metrics
from shared.runtime.settings import read_settings


class Gateway(click.Group):
    """A group whose faults are sentences."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except NotReadyError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Gateway)
def gateway() -> None:
    """Accept payment webhooks and settle them.

    \b
    Examples:
      nouba gateway serve               the web process, on 127.0.0.1:8080
      nouba gateway worker              the payments worker
      nouba gateway events-worker       the events worker
      nouba gateway providers --json    which providers are enabled
      nouba gateway poll-pending        poll providers for pending payments
    """


@gateway.command()
def serve() -> None:
    """Run the web process that accepts webhooks.

    It listens on NOUBA_GATEWAY_HOST and NOUBA_GATEWAY_PORT.
    """
    logs.configure("gateway")
    settings, psp_settings = read_settings(GatewaySettings), read_psp_settings()
    # before `server` is imported
    forget_metrics = add_up_metrics("gateway", settings.gateway_metrics_dir)

    from services.webhook_gateway.providers.registry import enabled
    from services.webhook_gateway.server import GatewayServer

    shop = psp_settings.satim_return_url
    return_urls = {"satim": shop, "cib": shop} if shop else {}
    server = GatewayServer(settings, enabled(psp_settings), return_urls)
    server.on_exit = forget_metrics
    server.run()


@gateway.command()
def worker() -> None:
    """Run the payments worker (queue `webhooks`)."""
    from services.webhook_gateway.worker import run

    logs.configure("payments-worker")
    raise SystemExit(run(read_settings(GatewaySettings), read_psp_settings()))


@gateway.command("events-worker")
def events_worker() -> None:
    """Run the events worker (queue `events`).

    It delivers events to the endpoints that `nouba endpoints list` shows.
    """
    from services.webhook_gateway.events_out.settings import EventsSettings
    from services.webhook_gateway.events_out.worker import run

    logs.configure("events-worker")
    raise SystemExit(run(read_settings(EventsSettings)))


@gateway.command("poll-pending")
@click.option("--provider", help="One provider: chargily, satim or stripe.")
@click.option("--older-than", default="30m", show_default=True, help="Minimum age, as 90s, 30m, 12h or 3d.")
@click.option("--dry-run", is_flag=True, help="Show what would be polled; poll nothing.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def poll_pending(provider: str | None, older_than: str, dry_run: bool, as_json: bool) -> None:
    """Poll providers for payments that are still pending.

    The worker does so by itself, for three days; this polls for every pending payment, now. Answers are kept like
    webhooks, and booked by the worker. The exit status is 1 where a provider did not answer.

    \b
    Examples:
      nouba gateway poll-pending --dry-run
      nouba gateway poll-pending --provider satim --older-than 10m
      nouba gateway poll-pending --older-than 7d --json
    """
    from services.webhook_gateway.reconciliation.cli import duration
    from services.webhook_gateway.reconciliation.cli import poll_pending as poll

    logs.configure("gateway-poll-pending")
    status = poll(
        read_settings(GatewaySettings),
        read_psp_settings(),
        provider=provider,
        older_than=duration(older_than),
        is_dry_run=dry_run,
        as_json=as_json,
    )
    raise SystemExit(status)


@gateway.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def providers(as_json: bool) -> None:
    """Show which providers are enabled, and their endpoints."""
    from services.webhook_gateway.providers.registry import NAMES, enabled

    on = enabled(read_psp_settings())
    found = {name: {"on": name in on, "path": f"/webhooks/{name}"} for name in NAMES}
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, state in found.items():
        click.echo(f"{name:20} {'on ' if state['on'] else 'off'} {state['path'] if state['on'] else ''}")
