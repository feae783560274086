"""`nouba console serve`: serves the operators' web console; its users are settings, and no command adds one."""

import click

from shared.runtime import logs
from shared.runtime.settings import read_settings


@click.group()
def console() -> None:
    """Serve the operators' web console.

    \b
    Example:
      nouba console serve               the web process, on 127.0.0.1:8082
    """


@console.command()
def serve() -> None:
    """Run the web process of the console.

    It listens on NOUBA_CONSOLE_HOST and NOUBA_CONSOLE_PORT. Who may sign in is in NOUBA_CONSOLE_OPERATOR_TOKENS and
    NOUBA_CONSOLE_VIEWER_TOKENS.
    """
    from services.console.server import ConsoleServer
    from services.console.settings import ConsoleSettings

    logs.configure("console")
    ConsoleServer(read_settings(ConsoleSettings)).run()
