"""`python -m local.psp` answers as the bank; `python -m local.psp send` sends events as a provider."""

import logging
import os

import click
from werkzeug.serving import make_server

from local.psp.satim_bank import AUTO_CANCEL_SECONDS, Bank
from local.psp.send_command import send, split
from local.psp.server import REST, simulator


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def psp(context: click.Context) -> None:
    """A payment provider on this machine. Without a command: serve."""
    if context.invoked_subcommand is None:
        # not context.invoke, which would leave out what the environment says
        with serve.make_context("serve", [], parent=context) as inner:
            serve.invoke(inner)


@psp.command()
@click.option("--host", envvar="NOUBA_LOCAL_PSP_HOST", default="127.0.0.1", show_default=True)
@click.option("--port", envvar="NOUBA_LOCAL_PSP_PORT", default=8092, show_default=True)
@click.option("--username", envvar="NOUBA_PSP_SATIM_USERNAME", default="simulator", show_default=True)
@click.option("--password", envvar="NOUBA_PSP_SATIM_PASSWORD", default="simulator", show_default="simulator")
@click.option("--auto-cancel-seconds", default=AUTO_CANCEL_SECONDS, show_default=True, help="For an unconfirmed order.")
@click.option("--gateway", "gateway_url", envvar="GATEWAY_URL", help="Gets Chargily's webhook when a browser pays.")
def serve(
    host: str, port: int, username: str, password: str, auto_cancel_seconds: float, gateway_url: str | None
) -> None:
    """Answer SATIM's calls, Chargily's checkouts and Stripe's API, until Ctrl-C."""
    keys = split(os.environ.get("NOUBA_PSP_CHARGILY_SECRETS", ""))
    bank = Bank(auto_cancel_seconds=auto_cancel_seconds)
    stripe_keys = split(os.environ.get("NOUBA_PSP_STRIPE_API_KEY", ""))
    app = simulator(
        bank,
        username=username,
        password=password,
        chargily_secrets=tuple(keys),
        stripe_keys=tuple(stripe_keys),
        gateway_url=gateway_url,
    )
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server(host, port, app, threaded=True)
    click.echo(f"payment simulator: NOUBA_PSP_SATIM_BASE_URL=http://{host}:{server.port}{REST}")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


psp.add_command(send)

if __name__ == "__main__":
    psp(prog_name="python -m local.psp")
