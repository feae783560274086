"""`nouba console`: one command, serves the operators' web console; its users are settings."""

import click

from shared.runtime import logs
from shared.runtime.settings import read_settings


@click.command()
def console() -> None:
    """Serve the operators' web console.

    It listens on NOUBA_CONSOLE_HOST and NOUBA_CONSOLE_PORT (127.0.0.1:8082 unless set).

    \b
    Example:
      nouba console
    """
    from services.console.server import ConsoleServer
    from services.console.settings import ConsoleSettings

    logs.configure("console")
    ConsoleServer(read_settings(ConsoleSettings)).run()
