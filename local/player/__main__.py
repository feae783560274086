"""`python -m local.player`: serve the pages that play lessons."""

import logging
import os

import click
from werkzeug.serving import make_server

from local.player.site import create_site


@click.command()
@click.option("--host", envvar="NOUBA_LOCAL_PLAYER_HOST", default="127.0.0.1", show_default=True)
@click.option("--port", envvar="NOUBA_LOCAL_PLAYER_PORT", default=8084, show_default=True)
@click.option("--gateway", envvar="GATEWAY_URL", default="http://127.0.0.1:8080", show_default=True)
def serve(host: str, port: int, gateway: str) -> None:
    """Serve `/courses/<id>` until Ctrl-C. The gateway's token is NOUBA_API_TOKENS."""
    token = os.environ.get("NOUBA_API_TOKENS", "").split(",")[0].strip()
    site = create_site(gateway, token)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server(host, port, site, threaded=True)
    click.echo(f"lessons: http://{host}:{server.port}/courses/<id>")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    serve(prog_name="python -m local.player")
