"""`nouba playback`: one command, serves lessons to players by signed addresses."""

import click

from shared.runtime import logs
from shared.runtime.settings import read_settings


@click.command()
def playback() -> None:
    """Serve lessons by signed addresses.

    It listens on NOUBA_PLAYBACK_HOST and NOUBA_PLAYBACK_PORT (127.0.0.1:8083 unless set).

    \b
    Example:
      nouba playback
    """
    from services.playback.server import PlaybackServer
    from services.playback.settings import PlaybackSettings

    logs.configure("playback")
    PlaybackServer(read_settings(PlaybackSettings)).run()
