"""`nouba playback serve`: serves lessons to players by signed addresses, which the gateway's API makes."""

import click

from shared.runtime import logs
from shared.runtime.settings import read_settings


@click.group()
def playback() -> None:
    """Serve lessons to players by signed addresses.

    \b
    Example:
      nouba playback serve              the web process, on 127.0.0.1:8083
    """


@playback.command()
def serve() -> None:
    """Run the web process that serves lessons.

    It listens on NOUBA_PLAYBACK_HOST and NOUBA_PLAYBACK_PORT.
    """
    from services.playback.server import PlaybackServer
    from services.playback.settings import PlaybackSettings

    logs.configure("playback")
    PlaybackServer(read_settings(PlaybackSettings)).run()
