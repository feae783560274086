"""`nouba queues`: how they stand, and letting one rest."""

import json
from datetime import UTC, datetime

import click
from pika.exceptions import AMQPError
from pydantic import SecretStr
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from shared.contracts.routes import QUEUES
from shared.operations.cli_options import (
    json_option,
    operators_database,
    table_console,
    watch_until_interrupted,
    who_option,
)
from shared.operations.queues import pauses
from shared.operations.queues.status import QueueStatus, QueueStatuses, queue_statuses
from shared.runtime.logs import describe
from shared.runtime.settings import DatabaseSettings, read_settings

APPLICATION = "nouba queues"
LOOK_EVERY_SECONDS = 1.0


class QueueSettings(DatabaseSettings):
    """The management address holds no secret: user and password are those of the other address."""

    rabbitmq_url: SecretStr
    rabbitmq_management_url: str | None = None


@click.group(invoke_without_command=True)
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C; with --json, one line each time.")
@json_option
@click.pass_context
def queues(context: click.Context, watch: bool, as_json: bool) -> None:
    """Show how the queues stand; let one rest, or have it worked on again.

    A question mark stands where nobody could tell.

    \b
    Examples:
      nouba queues --watch
      nouba queues --json
      nouba queues --json --watch | jq '.queues[] | select(.dead > 0)'
      nouba queues pause videos --why "S3 moves tonight"
      nouba queues resume videos
    """
    if context.invoked_subcommand is not None:
        return
    settings = read_settings(QueueSettings)
    with operators_database(APPLICATION) as engine:
        try:
            if watch:
                (_watch_as_json if as_json else _watch)(engine, settings)
            elif as_json:
                click.echo(json.dumps(_look(engine, settings).as_json()))
            else:
                table_console().print(_table(_look(engine, settings)))
        except AMQPError as error:
            raise click.ClickException(f"RabbitMQ is away ({describe(error)}); see NOUBA_RABBITMQ_URL.") from error


@queues.command()
@click.argument("name", type=click.Choice(QUEUES))
@who_option
@click.option("--why", help="For the audit.")
def pause(name: str, who: str, why: str | None) -> None:
    """Let queue NAME rest: its workers finish what they have in hand within seconds, and take nothing new.

    It rests until it is resumed, whatever is restarted. Messages go on arriving and wait.
    """
    with operators_database(APPLICATION) as engine:
        paused = pauses.pause(engine, name, who=who, why=why)
    click.echo(f"{name} rests." if paused else f"{name} rests already.")


@queues.command()
@click.argument("name", type=click.Choice(QUEUES))
@who_option
@click.option("--why", help="For the audit.")
def resume(name: str, who: str, why: str | None) -> None:
    """Have queue NAME worked on again."""
    with operators_database(APPLICATION) as engine:
        resumed = pauses.resume(engine, name, who=who, why=why)
    click.echo(f"{name} is worked on again." if resumed else f"{name} does not rest.")


def _look(engine: Engine, settings: QueueSettings) -> QueueStatuses:
    return queue_statuses(engine, settings.rabbitmq_url.get_secret_value(), settings.rabbitmq_management_url)


def _watch(engine: Engine, settings: QueueSettings) -> None:
    with Live(console=Console(), auto_refresh=False) as live:
        for found in watch_until_interrupted(lambda: _look(engine, settings), LOOK_EVERY_SECONDS, AMQPError):
            if isinstance(found, AMQPError):
                live.update(Text(f"RabbitMQ is away ({describe(found)}), looking again."), refresh=True)
            else:
                live.update(_table(found), refresh=True)


def _watch_as_json(engine: Engine, settings: QueueSettings) -> None:
    """One document a line; what is no document goes where errors go."""
    for found in watch_until_interrupted(lambda: _look(engine, settings), LOOK_EVERY_SECONDS, AMQPError):
        if isinstance(found, AMQPError):
            click.echo(f"RabbitMQ is away ({describe(found)}), looking again.", err=True)
        else:
            click.echo(json.dumps(found.as_json()))


def _table(standings: QueueStatuses) -> Group:
    table = Table(box=None, pad_edge=False)
    for name in ("queue", "ready", "in work", "delayed", "dead", "consumers", "in/s", "out/s", "in queue", "clear in"):
        table.add_column(name, justify="left" if name == "queue" else "right")
    table.add_column("")
    for one in standings.queues:
        counts = (one.ready, one.in_work, one.delayed, one.dead, one.consumers)
        rates = (one.arrivals_per_second, one.departures_per_second)
        table.add_row(
            one.queue,
            *("?" if count is None else f"{count:,}" for count in counts),
            *("?" if rate is None else f"{rate:.1f}" for rate in rates),
            _duration(one.mean_seconds, known=one.departures_per_second is not None),
            _duration(one.clear_seconds, known=one.departures_per_second is not None),
            _rest(one),
        )
    return Group(table, *(Text(note, style="dim") for note in standings.notes))


def _duration(seconds: float | None, *, known: bool) -> str:
    if seconds is None:
        # nothing leaves the queue, or more comes than goes
        return "-" if known else "?"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _rest(one: QueueStatus) -> str:
    if one.paused_at is None:
        return ""
    minutes = (datetime.now(UTC) - one.paused_at).total_seconds() / 60
    return f"rests for {minutes:.0f} min, by {one.paused_by}"
