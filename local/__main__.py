"""`python -m local`: start, show and stop everything on this machine, without Docker."""

import os
import shlex
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.table import Table

from local.errors import LocalError
from local.installers import chromium, ffmpeg, nginx, pgbouncer, promtool_and_alertmanager, rabbitmq
from local.stack import Stack


class Commands(click.Group):
    """A group whose faults are sentences rather than tracebacks."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except LocalError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands)
@click.pass_context
def local(context: click.Context) -> None:
    """Everything on this machine, without Docker: PostgreSQL, RabbitMQ, S3 and the processes of the Procfile."""
    context.obj = Stack(os.environ)


@local.command()
@click.pass_obj
def up(stack: Stack) -> None:
    """Start everything in the background, and print the addresses."""
    started = stack.up(_say)
    _say("Everything is up" if started else "Everything was up already")
    _print_addresses(stack.environment(), stack)


@local.command()
@click.pass_obj
def down(stack: Stack) -> None:
    """Stop everything; the data stay."""
    stack.down()
    _say("Everything is down")


@local.command()
@click.pass_obj
def run(stack: Stack) -> None:
    """Start everything in the foreground; Ctrl-C stops it."""
    sys.exit(stack.run(_say))


@local.command()
@click.pass_obj
def env(stack: Stack) -> None:
    """Print the settings and addresses of the running stack as a shell reads them."""
    for name, value in sorted(stack.environment().items()):
        click.echo(f"{name}={shlex.quote(value)}")


@local.command()
@click.pass_obj
def status(stack: Stack) -> None:
    """Say what runs; the exit status is 0 only if everything does."""
    table = Table("", "process id")
    rows = {server.name: server.pid for server in stack.servers} | {"processes": stack.processes.pid}
    for name, pid in rows.items():
        table.add_row(name, str(pid) if pid else "[dim]not running[/dim]")
    Console().print(table)
    if None in rows.values():
        sys.exit(1)


@local.command()
def install() -> None:
    """Install what Python's packages do not bring: RabbitMQ, ffmpeg, Chromium, promtool, PgBouncer, nginx.

    Installs nothing that is there.
    """
    if not os.environ.get("NOUBA_RABBITMQ_URL"):
        rabbitmq.find_program()
    ffmpeg.require_programs()
    chromium.find_program()
    promtool_and_alertmanager.find_promtool()
    pgbouncer.find_pgbouncer()
    nginx.find_program()


@local.command(hidden=True)
@click.pass_obj
def processes(stack: Stack) -> None:
    """What `up` leaves running in the background."""
    sys.exit(stack.run_processes(keep=True))


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


def _print_addresses(environment: Mapping[str, str], stack: Stack) -> None:
    rows = {
        "Gateway": environment.get("GATEWAY_URL"),
        "its documentation": environment.get("GATEWAY_URL") and f"{environment['GATEWAY_URL']}/docs",
        "Statistics": environment.get("STATS_URL"),
        "Console": environment.get("CONSOLE_URL"),
        "Playback": environment.get("PLAYBACK_URL"),
        "Lessons (/courses/<id>)": environment.get("PLAYER_URL"),
        "Payment provider simulator": environment.get("PSP_URL"),
        "PostgreSQL": environment.get("NOUBA_DATABASE_URL"),
        "RabbitMQ": environment.get("NOUBA_RABBITMQ_URL"),
        "its management pages": environment.get("RABBITMQ_MANAGEMENT_URL"),
        "S3": environment.get("NOUBA_S3_ENDPOINT_URL"),
        **{
            f"Metrics of {name.removesuffix('_METRICS_URL').lower().replace('_', ' ')}": address
            for name, address in environment.items()
            if name.endswith("_METRICS_URL")
        },
    }
    table = Table("", "address", title="Nouba on this machine", title_justify="left")
    for name, address in rows.items():
        if address:
            table.add_row(name, _without_password(address))
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"Output: {stack.processes.log}    Passwords: [bold]make env[/bold]    Stop: [bold]make down[/bold]")


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


if __name__ == "__main__":
    local()
