"""`nouba endpoints`: add, change, ping and remove endpoints of events; show and replay deliveries."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import click
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.table import Table

from shared.contracts.event_types import EVENT_TYPES
from shared.operations.cli_options import Instant, actor_option, cell, json_option, operators_database, table_console
from shared.operations.webhook_endpoints.endpoints import (
    BadEndpointError,
    EndpointDetails,
    Endpoints,
    ReplayFilter,
    UnknownEndpointError,
    event_number,
)
from shared.runtime.settings import read_settings
from shared.runtime.visible_text import visible

APPLICATION = "nouba endpoints"


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="NOUBA_", extra="ignore")

    events_allow_private: bool = False


_endpoint = click.argument("endpoint_id", metavar="ID", type=click.IntRange(0, 2**63 - 1))
_types = click.option(
    "--type", "types", multiple=True, metavar="TYPE", help="Event type, such as payment.completed; may be repeated."
)


@click.group()
def endpoints() -> None:
    """Manage endpoints of events and their deliveries.

    \b
    Examples:
      nouba endpoints add https://school.example/nouba --type payment.completed --type lesson.ready
      nouba endpoints list
      nouba endpoints ping 3
      nouba endpoints deliveries 3 --state failed
      nouba endpoints replay 3 --since 2d
      nouba endpoints rotate 3
      nouba endpoints disable 3
      nouba endpoints enable 3
      nouba endpoints remove 3
    """


@endpoints.command()
@click.argument("url")
@_types
@click.option("--description", help="What it is for.")
@click.option("--ordered", is_flag=True, help="An event waits for the one before it of the same payment, lesson, user.")
@actor_option
@json_option
def add(
    url: str, types: tuple[str, ...], description: str | None, ordered: bool, actor_name: str, as_json: bool
) -> None:
    """Add an endpoint, and print its secret once. Without --type it gets every event."""
    with _endpoints() as given:
        endpoint_id, secret = given.add(url, types, description, ordered=ordered, who=actor_name)
    _print_secret(endpoint_id, secret, as_json)


@endpoints.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the endpoints and how they stand."""
    with _endpoints() as given:
        found = given.find_all()
    if as_json:
        click.echo(json.dumps({"endpoints": [one.as_json() for one in found]}))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("id", "state", "url", "types", "failures"):
        table.add_column(name, justify="right" if name in ("id", "failures") else "left")
    for one in found:
        types = ", ".join(one.event_types) or "all"
        table.add_row(*map(cell, (str(one.id), _state(one), one.url, types, str(one.failures))))
    if found:
        table_console().print(table)
    click.echo(f"{len(found)} endpoints.")


@endpoints.command()
@_endpoint
@actor_option
def remove(endpoint_id: int, actor_name: str) -> None:
    """Remove an endpoint with its deliveries."""
    with _endpoints() as given:
        given.remove(endpoint_id, who=actor_name)
    click.echo(f"Endpoint {endpoint_id} is removed.")


@endpoints.command()
@_endpoint
@actor_option
def enable(endpoint_id: int, actor_name: str) -> None:
    """Enable an endpoint: what is pending is sent.

    What happened while it was disabled is not: `nouba endpoints replay ID --all --since ...` sends it.
    """
    _change(endpoint_id, actor_name, enabled=True)
    click.echo(f"Endpoint {endpoint_id} is enabled.")


@endpoints.command()
@_endpoint
@actor_option
def disable(endpoint_id: int, actor_name: str) -> None:
    """Disable an endpoint: it gets nothing until it is enabled."""
    _change(endpoint_id, actor_name, enabled=False)
    click.echo(f"Endpoint {endpoint_id} is disabled.")


@endpoints.command()
@_endpoint
@click.option("--keep-hours", default=24.0, show_default=True, help="How long the old secret signs beside the new one.")
@actor_option
@json_option
def rotate(endpoint_id: int, keep_hours: float, actor_name: str, as_json: bool) -> None:
    """Make a new secret, and print it once."""
    with _endpoints() as given:
        secret = given.rotate(endpoint_id, who=actor_name, keep=timedelta(hours=max(0.0, keep_hours)))
    _print_secret(endpoint_id, secret, as_json)


@endpoints.command()
@_endpoint
@click.option(
    "--wait", type=click.FloatRange(0, 600), default=10.0, show_default=True, help="Seconds to wait for its answer."
)
@actor_option
@json_option
def ping(endpoint_id: int, wait: float, actor_name: str, as_json: bool) -> None:
    """Send a ping to an endpoint, and show its answer.

    The events worker sends it. The exit status is 1 where the endpoint did not accept it.
    """
    with _endpoints() as given:
        event_id = given.ping(endpoint_id, who=actor_name)
        delivery = given.wait_for_attempt(endpoint_id, event_id, wait)
    answer = delivery.log[-1] if delivery.log else {}
    if as_json:
        click.echo(json.dumps({"event_id": event_id, "state": delivery.state, "answer": answer or None}))
    elif answer:
        click.echo(f"{event_id} is {delivery.state}: {visible(_answer(answer))}, {answer['milliseconds']} ms")
    else:
        click.echo(f"{event_id} waits; `nouba endpoints deliveries {endpoint_id}` shows its answer.")
    if answer and delivery.state != "delivered":
        raise SystemExit(1)


@endpoints.command()
@_endpoint
@click.option("--state", type=click.Choice(["pending", "delivered", "failed"]), help="State of the delivery.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Maximum number.")
@json_option
def deliveries(endpoint_id: int, state: str | None, limit: int, as_json: bool) -> None:
    """Show an endpoint's deliveries by event, newest first."""
    with _endpoints() as given:
        found = given.deliveries(endpoint_id, state=state, limit=limit)
    if as_json:
        click.echo(json.dumps({"deliveries": [one.as_json() for one in found]}))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("event", "type", "state", "attempts", "next", "last answer"):
        table.add_column(name)
    for one in found:
        due = one.due_at.strftime("%Y-%m-%d %H:%M:%S") if one.due_at else "-"
        answer = _answer(one.log[-1]) if one.log else "-"
        table.add_row(*map(cell, (one.event_id, one.type, one.state, str(one.attempts), due, answer)))
    if found:
        table_console().print(table)
    click.echo(f"{len(found)} deliveries.")


@endpoints.command()
@_endpoint
@_types
@click.option("--since", type=Instant(), help="Happened since: 2026-11-23, 30m, 2h, 7d.")
@click.option("--until", type=Instant(), help="Happened before that.")
@click.option("--event", "event_id", metavar="EVENT", help="This event alone, such as evt_4711.")
@click.option("--all", "everything", is_flag=True, help="Also what was delivered, or never sent to this endpoint.")
@actor_option
@json_option
def replay(
    endpoint_id: int,
    types: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    event_id: str | None,
    everything: bool,
    actor_name: str,
    as_json: bool,
) -> None:
    """Send failed events again; with --all every event.

    The oldest first. An event failed that was given up, or that waits for its next attempt; such a one is sent now,
    unless it is due within a minute. --all also sends what was delivered, what happened while the endpoint was
    disabled, and what happened before it was added; it needs --since or --event. Events keep their ids: a receiver
    recognizes what it has. Interrupted, it has sent as many as it showed; run it again with --since for the rest.

    \b
    Examples:
      nouba endpoints replay 3
      nouba endpoints replay 3 --since 2d --type payment.completed
      nouba endpoints replay 3 --event evt_4711 --all
    """
    if everything and since is None and event_id is None:
        raise click.UsageError("Say from when on: --all needs --since, or --event.")

    is_watched = sys.stderr.isatty()

    def report(events: int, share: float) -> None:
        if is_watched:
            click.echo(f"\r{share:4.0%}, {events} events", nl=False, err=True)

    with _endpoints() as given:
        chosen = ReplayFilter(types, since, until, not everything, event_number(event_id) if event_id else None)
        count = given.replay(endpoint_id, chosen, who=actor_name, most=None, report=report).events
        pending = given.count_pending().get(endpoint_id, "0")
    if is_watched:
        click.echo(err=True)
    click.echo(json.dumps({"events": count}) if as_json else f"{count} events are sent again.")
    if not as_json and not count and pending != "0":
        click.echo(
            f"{pending} deliveries are pending and retried by themselves: "
            f"`nouba endpoints deliveries {endpoint_id}` shows when.",
            err=True,
        )


@endpoints.command()
@json_option
def types(as_json: bool) -> None:
    """List the event types."""
    click.echo(json.dumps({"types": EVENT_TYPES}) if as_json else "\n".join(EVENT_TYPES))


def _change(endpoint_id: int, who: str, **changes: Any) -> None:
    with _endpoints() as given:
        given.change(endpoint_id, changes, who=who)


@contextmanager
def _endpoints() -> Iterator[Endpoints]:
    allow_private = read_settings(_Settings).events_allow_private
    with operators_database(APPLICATION) as engine:
        try:
            yield Endpoints(engine, allow_private=allow_private)
        except (BadEndpointError, UnknownEndpointError) as error:
            raise click.ClickException(str(error)) from error


def _answer(attempt: dict[str, Any]) -> str:
    """The HTTP status of an attempt, or why there is none."""
    return str(attempt.get("status") or attempt.get("error") or "-")


def _state(one: EndpointDetails) -> str:
    if not one.enabled:
        return f"disabled ({one.disabled_because})"
    return "failing" if one.failures else "healthy"


def _print_secret(endpoint_id: int, secret: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"id": endpoint_id, "secret": secret}))
        return
    # the secret alone on standard output, as `api-tokens create` prints its token: SECRET=$(nouba endpoints add ...)
    click.echo(f"Endpoint {endpoint_id}. Keep its secret now; it is not shown again.", err=True)
    click.echo(secret)
