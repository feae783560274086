"""`nouba dead`: list, show, replay and discard dead letters."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from shared.operations.bounded_count import MAX_COUNTED, BoundedCount
from shared.operations.cli_options import (
    Instant,
    actor_option,
    cell,
    json_option,
    operators_database,
    table_console,
)
from shared.operations.dead_letters import queries
from shared.operations.dead_letters import replay as dead_letters_replay
from shared.operations.dead_letters.queries import DeadFilter, DeadLetter
from shared.operations.dead_letters.replay import Decided, Decision
from shared.runtime.visible_text import visible

APPLICATION = "nouba dead"

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def dead() -> None:
    """List, replay and discard dead letters.

    \b
    Examples:
      nouba dead list --queue webhooks --since 2h
      nouba dead show 17
      nouba dead replay 17 18                         two of them
      nouba dead replay --error "is away" --rate 50   all with that error, fifty a second
      nouba dead discard --actor old.name.v1 --reason "the actor is gone for good"
    """


def _chosen(command: F) -> F:
    """The options that say which letters are meant."""
    for option in reversed(
        (
            click.argument("ids", type=int, nargs=-1),
            click.option("--queue", help="Queue name."),
            click.option("--actor", help="Actor name."),
            click.option(
                "--cause", help="retries, contract, permanent, unknown_actor, undecodable, delivery_limit ..."
            ),
            click.option("--error", help="Text in the error, case-insensitive."),
            click.option("--since", type=Instant(), help="Dead since: 2026-11-23, 2026-11-23T14:00, 30m, 2h, 7d."),
            click.option("--until", type=Instant(), help="Dead before that."),
        )
    ):
        command = option(command)
    return command


@dead.command("list")
@_chosen
@click.option("--state", type=click.Choice([*queries.STATES, "any"]), default="dead", show_default=True)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Maximum number, newest first."
)
@click.option("--before", "before_id", type=int, help="Only ids below this one.")
@json_option
def list_command(state: str, limit: int, before_id: int | None, as_json: bool, **chosen: Any) -> None:
    """List dead letters, newest first.

    With IDS, only these. They are counted up to 10,000; in JSON, "more" says that there are more.
    """
    wanted = DeadFilter(**chosen, state=None if state == "any" else state)
    with operators_database(APPLICATION) as engine:
        found = queries.list_dead(engine, wanted, limit=limit, before_id=before_id)
        count = BoundedCount(queries.count_dead(engine, wanted, at_most=MAX_COUNTED + 1))
    if as_json:
        click.echo(json.dumps(count.as_json() | {"letters": [letter.as_json() for letter in found]}))
        return
    if found:
        table_console().print(_table(found))
    click.echo(f"{len(found)} of {count}." if found else "No dead letters.")


@dead.command()
@click.argument("letter_id", metavar="ID", type=int)
@click.option("--body", is_flag=True, help="Print the body, too.")
@json_option
def show(letter_id: int, body: bool, as_json: bool) -> None:
    """Show one dead letter with its error and history."""
    with operators_database(APPLICATION) as engine:
        letter = queries.find_dead(engine, letter_id)
    if letter is None:
        raise click.ClickException(f"There is no dead letter {letter_id}; nouba dead list shows them.")
    known = letter.as_json() | ({"body": letter.message.decode("utf-8", "backslashreplace")} if body else {})
    if as_json:
        click.echo(json.dumps(known))
        return
    for name, value in known.items():
        if value is not None:
            click.echo(f"{name:14}{json.dumps(value) if isinstance(value, dict | list) else visible(str(value))}")


def _deciding(command: F) -> F:
    """The options of a decision."""
    for option in reversed(
        (
            click.option("--all", "everything", is_flag=True, help="Select every dead letter."),
            click.option("--dry-run", is_flag=True, help="Show them; change nothing."),
            click.option("--limit", type=click.IntRange(1), help="Maximum number, oldest first."),
            click.option("--rate", type=click.FloatRange(0.01), help="Maximum per second."),
            actor_option,
            json_option,
        )
    ):
        command = option(command)
    return command


@dead.command()
@_chosen
@_deciding
@click.option("--reason", "why", help="The reason, for the audit log.")
def replay(**options: Any) -> None:
    """Replay dead letters, oldest first.

    Each is enqueued as the message that it was; if it fails again, it is dead again.

    The message goes through the gateway's outbox: it is sent with a confirm as soon as RabbitMQ is there, even if this
    command is killed.
    """
    _decide(dead_letters_replay.replay, "replayed", **options)


@dead.command()
@_chosen
@_deciding
@click.option("--reason", "why", required=True, help="The reason, for the audit log.")
def discard(**options: Any) -> None:
    """Discard dead letters for good.

    Their rows stay, with the actor and the reason.
    """
    _decide(dead_letters_replay.discard, "discarded", **options)


def _decide(
    act: Callable[..., Decided],
    word: str,
    *,
    everything: bool,
    dry_run: bool,
    limit: int | None,
    rate: float | None,
    actor_name: str,
    why: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    wanted = DeadFilter(**chosen)
    if not everything and wanted == DeadFilter():
        raise click.UsageError(
            "Say which letters: ids, --queue, --actor, --cause, --error, --since, --until, or --all."
        )
    decision = Decision(who=actor_name, why=why, chosen=wanted, limit=limit, rate=rate)
    with operators_database(APPLICATION) as engine:
        count = min(queries.count_dead(engine, wanted), limit or 10**9)
        if dry_run:
            found = queries.list_dead(engine, wanted, limit=min(count, 50) or 1)
            _print_outcome(as_json, {"dry_run": True, word: 0, "would_be": count}, f"{count} would be {word}.", found)
            return
        with _bar(word, count, hidden=as_json) as advance:
            decided = act(engine, decision, advance)
    outcome = {word: decided.done, "refused": decided.refused}
    _print_outcome(as_json, outcome, f"{decided.done} {word}.", [])
    for letter_id, reason in decided.refused.items():
        click.echo(f"{letter_id} was not: {visible(reason)}", err=True)
    if decided.refused or decided.done < len(wanted.ids):
        raise SystemExit(1)


def _print_outcome(as_json: bool, outcome: dict[str, Any], sentence: str, found: list[DeadLetter]) -> None:
    if as_json:
        click.echo(json.dumps(outcome))
        return
    if found:
        table_console().print(_table(found))
    click.echo(sentence)


@contextmanager
def _bar(word: str, count: int, *, hidden: bool) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    done = 0
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as progress:
        task = progress.add_task(word, total=count)

        def advance(so_far: int) -> None:
            nonlocal done
            done = so_far
            progress.update(task, completed=so_far)

        try:
            yield advance
        except KeyboardInterrupt:
            raise click.ClickException(f"Stopped: {done} {word}, the others are as they were.") from None


def _table(found: list[DeadLetter]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("id", "died", "queue", "actor", "cause", "tries", "deaths", "error"):
        table.add_column(
            name, justify="right" if name in ("id", "tries", "deaths") else "left", no_wrap=name != "error"
        )
    for one in found:
        numbers = (str(one.attempts), str(one.deaths))
        cause = one.cause if one.state == "dead" else f"{one.cause} ({one.state})"
        cells = (str(one.id), _short(one.died_at), one.queue, one.actor or "-", cause, *numbers, one.error or "-")
        # half of it comes from outside: plain text, so that rich reads no markup in it
        table.add_row(*map(cell, cells))
    return table


def _short(instant: datetime) -> str:
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"
