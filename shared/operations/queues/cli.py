"""`nouba queues`: show, pause and resume queues."""

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
    actor_option,
    json_option,
    operators_database,
    table_console,
    watch_until_interrupted,
)
from shared.operations.queues import pauses
from shared.operations.queues.status import QueueStatus, QueueStatuses, queue_statuses
from shared.runtime.logs import describe
from shared.runtime.settings import DatabaseSettings, read_settings

APPLICATION = "nouba queues"
REFRESH_SECONDS = 1.0


class QueueSettings(DatabaseSettings):
    """The management address holds no secret: user and password are those of the other address."""

    rabbitmq_url: SecretStr
    rabbitmq_management_url: str | None = None


@click.group(invoke_without_command=True)
@click.option("--watch", is_flag=True, help="Refresh every second, until Ctrl-C; with --json, one line each time.")
@json_option
@click.pass_context
def queues(context: click.Context, watch: bool, as_json: bool) -> None:
    """Show, pause and resume queues.

    A question mark means unknown.

    \b
    Examples:
      nouba queues --watch
      nouba queues --json
      nouba queues --json --watch | jq '.queues[] | select(.dead > 0)'
      nouba queues pause videos --reason "S3 moves tonight"
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
                click.echo(json.dumps(_read_status(engine, settings).as_json()))
            else:
                table_console().print(_table(_read_status(engine, settings)))
        except AMQPError as error:
            raise click.ClickException(f"RabbitMQ is away ({describe(error)}); see NOUBA_RABBITMQ_URL.") from error


@queues.command()
@click.argument("name", type=click.Choice(QUEUES))
@actor_option
@click.option("--reason", "why", help="The reason, for the audit log.")
def pause(name: str, actor_name: str, why: str | None) -> None:
    """Pause a queue.

    Its workers finish the messages they have started and take no new ones.

    It stays paused until it is resumed, over restarts. New messages wait in it.
    """
    with operators_database(APPLICATION) as engine:
        paused = pauses.pause(engine, name, who=actor_name, why=why)
    click.echo(f"Queue {name} is paused." if paused else f"Queue {name} is already paused.")


@queues.command()
@click.argument("name", type=click.Choice(QUEUES))
@actor_option
@click.option("--reason", "why", help="The reason, for the audit log.")
def resume(name: str, actor_name: str, why: str | None) -> None:
    """Resume a queue."""
    with operators_database(APPLICATION) as engine:
        resumed = pauses.resume(engine, name, who=actor_name, why=why)
    click.echo(f"Queue {name} is resumed." if resumed else f"Queue {name} is not paused.")


def _read_status(engine: Engine, settings: QueueSettings) -> QueueStatuses:
    return queue_statuses(engine, settings.rabbitmq_url.get_secret_value(), settings.rabbitmq_management_url)


def _watch(engine: Engine, settings: QueueSettings) -> None:
    with Live(console=Console(), auto_refresh=False) as live:
        for found in watch_until_interrupted(lambda: _read_status(engine, settings), REFRESH_SECONDS, AMQPError):
            if isinstance(found, AMQPError):
                live.update(Text(f"RabbitMQ is unavailable ({describe(found)}), retrying."), refresh=True)
            else:
                live.update(_table(found), refresh=True)


def _watch_as_json(engine: Engine, settings: QueueSettings) -> None:
    """One document a line; what is no document goes where errors go."""
    for found in watch_until_interrupted(lambda: _read_status(engine, settings), REFRESH_SECONDS, AMQPError):
        if isinstance(found, AMQPError):
            click.echo(f"RabbitMQ is unavailable ({describe(found)}), retrying.", err=True)
        else:
            click.echo(json.dumps(found.as_json()))


def _table(statuses: QueueStatuses) -> Group:
    table = Table(box=None, pad_edge=False)
    for name in (
        "queue",
        "ready",
        "in work",
        "delayed",
        "dead",
        "consumers",
        "in/s",
        "out/s",
        "mean to finish",
        "clear in",
    ):
        table.add_column(name, justify="left" if name == "queue" else "right")
    table.add_column("")
    for one in statuses.queues:
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
    return Group(table, *(Text(note, style="dim") for note in statuses.notes))


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
    return f"paused for {minutes:.0f} min, by {one.paused_by}"
