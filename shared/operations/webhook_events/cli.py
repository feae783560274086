"""`nouba webhooks`: list, show, replay and resolve webhooks that providers sent."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.table import Table
from sqlalchemy import Engine

from shared.contracts.webhooks import EventState
from shared.operations.bounded_count import MAX_COUNTED, BoundedCount
from shared.operations.cli_options import (
    Instant,
    actor_option,
    cell,
    json_option,
    operators_database,
    table_console,
)
from shared.runtime.visible_text import visible

if TYPE_CHECKING:
    from shared.operations.webhook_events.resolve import Outcome

APPLICATION = "nouba webhooks"
#: Of more webhooks than these a replay shows no outcomes.
MAX_OUTCOMES = 20

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def webhooks() -> None:
    """List, show, replay and resolve providers' webhooks.

    \b
    Examples:
      nouba webhooks list --state undecided --since 1d
      nouba webhooks show 4711
      nouba webhooks replay 4711 --reason "the parser knows it now"
      nouba webhooks replay --provider satim --state dead --dry-run
      nouba webhooks resolve 4711 --accept --reason "the payer paid less, as agreed by phone"
      nouba webhooks resolve 4712 --dismiss --reason "a test of the provider's"
    """


def _chosen(command: F) -> F:
    """The options that say which webhooks are meant."""
    for option in reversed(
        (
            click.argument("ids", type=int, nargs=-1),
            click.option("--provider", help="Provider name."),
            click.option(
                "--state",
                type=click.Choice([*(state.value for state in EventState), "undecided"]),
                help="State of the webhook.",
            ),
            click.option("--with-reason", "reason", help="Text in the webhook's reason, case-insensitive."),
            click.option("--since", type=Instant(), help="Received since: 2026-11-23, 30m, 2h, 7d."),
            click.option("--until", type=Instant(), help="Received before that."),
        )
    ):
        command = option(command)
    return command


@webhooks.command("list")
@_chosen
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Maximum number, newest first."
)
@click.option("--before", "before_id", type=int, help="Only ids below this one.")
@json_option
def list_command(limit: int, before_id: int | None, as_json: bool, **chosen: Any) -> None:
    """List webhooks, newest first, without bodies.

    They are counted up to 10,000; in JSON, "more" says that there are more.
    """
    from shared.operations.webhook_events.queries import EventFilter, count_events, list_events

    wanted = EventFilter(**chosen)
    with operators_database(APPLICATION) as engine:
        found = list_events(engine, wanted, limit=limit, before_id=before_id)
        count = BoundedCount(count_events(engine, wanted, at_most=MAX_COUNTED + 1))
    if as_json:
        click.echo(json.dumps(count.as_json() | {"events": [event.as_json() for event in found]}))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("id", "received", "provider", "reference", "state", "postponed", "payment", "reason"):
        table.add_column(name, justify="right" if name in ("id", "postponed", "payment") else "left")
    for one in found:
        words = (one.provider, one.reference or "-", one.state, str(one.attempts), str(one.payment_id or "-"))
        # plain text: rich would read markup in what a provider sent
        table.add_row(*map(cell, (str(one.id), _short(one.received_at), *words, one.reason or "-")))
    if found:
        table_console().print(table)
    click.echo(f"{len(found)} of {count}.")


@webhooks.command()
@click.argument("event_id", metavar="ID", type=int)
@click.option("--body", is_flag=True, help="Print what the provider sent; it may hold personal data.")
@json_option
def show(event_id: int, body: bool, as_json: bool) -> None:
    """Show the timeline of one webhook.

    From received over published and settled to credited.
    """
    from shared.operations.webhook_events.queries import read_body
    from shared.operations.webhook_events.timeline import event_timeline

    with operators_database(APPLICATION) as engine:
        timeline = event_timeline(engine, event_id)
        raw = read_body(engine, event_id) if body else None
    if timeline is None:
        raise click.ClickException(f"There is no webhook {event_id}; nouba webhooks list shows them.")
    text = None if raw is None else raw.decode("utf-8", "backslashreplace")
    if as_json:
        click.echo(json.dumps(timeline.as_json() | ({} if text is None else {"body": text})))
        return
    event = timeline.event
    click.echo(f"webhook {event.id} of {event.provider}, reference {visible(event.reference or '-')}: {event.state}")
    for step in timeline.steps:
        click.echo(f"  {_short(step.at) if step.at else '':20} {step.what:18} {visible(step.detail)}")
    if text is not None:
        click.echo(visible(text))


@webhooks.command()
@_chosen
@click.option("--limit", type=click.IntRange(1), help="Maximum number, oldest first.")
@click.option("--dry-run", is_flag=True, help="Show how many; change nothing.")
@actor_option
@click.option("--reason", "why", help="The reason, for the audit log.")
@click.option(
    "--wait",
    type=click.FloatRange(0, 600),
    default=3.0,
    show_default=True,
    help=f"Seconds to wait for the outcome of named webhooks, {MAX_OUTCOMES} at most.",
)
@json_option
def replay(
    limit: int | None, dry_run: bool, actor_name: str, why: str | None, wait: float, as_json: bool, **chosen: Any
) -> None:
    """Settle webhooks again that wait, are quarantined or dead.

    Settled webhooks stay as they are.

    Of webhooks that are named by their ids, the outcome is shown: one that changes nothing says why.
    """
    from shared.operations.webhook_events.queries import UNDECIDED, EventFilter, count_events
    from shared.operations.webhook_events.replay import REPLAYABLE, replay_events

    wanted = EventFilter(**chosen)
    if wanted == EventFilter():
        raise click.UsageError("Say which webhooks: ids, --provider, --state, --with-reason, --since or --until.")
    if wanted.state is not None and wanted.state not in (*REPLAYABLE, UNDECIDED):
        raise click.UsageError(f"What is {wanted.state} is settled; only {', '.join(REPLAYABLE)} can be replayed.")
    with operators_database(APPLICATION) as engine:
        if dry_run:
            states = [wanted.state] if wanted.state else REPLAYABLE
            count = sum(count_events(engine, EventFilter(**chosen | {"state": state})) for state in states)
            would_be = min(count, limit or count)
            dry = json.dumps({"dry_run": True, "would_be": would_be})
            click.echo(dry if as_json else f"{would_be} would be settled again.")
            return
        ids, refused = replay_events(engine, wanted, who=actor_name, why=why, limit=limit)
        outcomes = _outcomes(engine, ids, wait) if wanted.ids and len(ids) <= MAX_OUTCOMES else []
    if as_json:
        shown: dict[str, Any] = {"replayed": ids, "refused": refused}
        if wanted.ids:
            shown["outcomes"] = [one.as_json() for one in outcomes]
        click.echo(json.dumps(shown))
    else:
        click.echo(f"{len(ids)} will be settled again.")
        for outcome in outcomes:
            click.echo(_sentence(outcome))
    for event_id, reason in refused.items():
        click.echo(f"{event_id} will not: {visible(reason)}", err=True)
    if refused or len(ids) < len(wanted.ids):
        raise SystemExit(1)


@webhooks.command()
@click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)
@click.option("--accept", "decision", flag_value="accept", help="Book it with the provider's values.")
@click.option("--dismiss", "decision", flag_value="dismiss", help="Close it: nothing is booked.")
@click.option("--undo", "decision", flag_value="undo", help="Take the decision back, as long as nothing is booked.")
@click.option("--reason", required=True, help="The reason, for the audit log.")
@actor_option
@click.option("--wait", type=click.FloatRange(0, 600), default=10.0, show_default=True, help="Seconds for a worker.")
@json_option
def resolve(
    ids: tuple[int, ...], decision: str | None, reason: str, actor_name: str, wait: float, as_json: bool
) -> None:
    """Book (--accept) or close (--dismiss) a quarantined webhook.

    Or a dead one. A webhook that is accepted is booked by the payments worker, with the amount that the provider sent
    in place of the registered one. A mode, an account, a currency or a user that differs cannot be accepted: dismiss
    such a webhook, and correct the wallet with `nouba payments adjust`. The exit status is 1 where a decision was
    refused, or where what was accepted is quarantined again.

    \b
    Examples:
      nouba webhooks resolve 4711 --accept --reason "200 DA less, as agreed by phone"
      nouba webhooks resolve 4712 4713 --dismiss --reason "a test of the provider's" --actor-name amina
      nouba webhooks resolve 4712 --undo --reason "it was no test"
    """
    from shared.operations.webhook_events import resolve as use_case

    if decision is None:
        raise click.UsageError("Say what is decided: --accept, --dismiss or --undo.")
    decide = {"accept": use_case.accept, "dismiss": use_case.dismiss, "undo": use_case.undo}[decision]
    refused: dict[int, str] = {}
    with operators_database(APPLICATION) as engine:
        for event_id in ids:
            try:
                decide(engine, event_id, who=actor_name, why=reason)
            except use_case.CannotResolveError as error:
                refused[event_id] = str(error)
        decided = [event_id for event_id in ids if event_id not in refused]
        outcomes = _outcomes(engine, decided, wait if decision == "accept" else 0)
    if as_json:
        click.echo(json.dumps({"decided": [one.as_json() for one in outcomes], "refused": refused}))
    else:
        for outcome in outcomes:
            click.echo(_sentence(outcome))
    for message in refused.values():
        click.echo(visible(message), err=True)
    is_aside_again = decision == "accept" and any(one.state in ("quarantined", "dead") for one in outcomes)
    if refused or is_aside_again:
        raise SystemExit(1)


def _outcomes(engine: Engine, ids: Sequence[int], seconds: float) -> list["Outcome"]:
    """Each event as it is once a worker has tried it; for all of them together no longer than `seconds`."""
    from shared.operations.webhook_events.resolve import wait_for_outcome

    deadline = time.monotonic() + seconds
    return [wait_for_outcome(engine, event_id, max(0.0, deadline - time.monotonic())) for event_id in ids]


def _sentence(outcome: "Outcome") -> str:
    decision = f", {outcome.resolution}" if outcome.resolution else ""
    if outcome.state == "received":
        return f"{outcome.id} waits for a worker{decision}: {outcome.reason or 'none has tried it yet'}"
    return f"{outcome.id} is {outcome.state}{decision}: {outcome.reason or '-'}"


def _short(instant: datetime) -> str:
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"
