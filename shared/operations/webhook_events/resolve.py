"""Operators' decisions about quarantined and dead events: accept, dismiss, and undo either until it is booked.

Accepting books nothing here: the event is enqueued, and the payments worker settles it with what the provider sent in
place of what was registered. What cannot be accepted is quarantined again, with its reason, and counts as undecided.
"""

import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select, update

from shared.operations import audit_log
from shared.operations.webhook_events.replay import MODE_MISMATCH, enqueue_again
from shared.runtime.translatable_sentence import Sentence
from shared.schema.tables import webhook_events

_POLL_SECONDS = 0.1


class Resolution(StrEnum):
    """What an operator decided about an event."""

    ACCEPTED = "accepted"
    DISMISSED = "dismissed"


class CannotResolveError(Exception):
    """The event cannot be resolved so; the message says why, and what can be done."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An event as it is after the decision."""

    id: int
    state: str
    reason: str | None
    resolution: str | None
    payment_id: int | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def accept(engine: Engine, event_id: int, *, who: str, why: str) -> bool:
    """Enqueue the event, to be booked with the provider's values. False where it was accepted before.

    Raises CannotResolveError where it is settled, dismissed, or not there.
    """
    with engine.begin() as connection:
        event = _lock(connection, event_id)
        if event.resolution == Resolution.ACCEPTED:
            return False
        _require_undecided(event)
        if (event.reason or "").startswith(MODE_MISMATCH):
            raise CannotResolveError(
                Sentence(
                    "webhook %(id)s was %(reason)s: a test must not move money; dismiss it",
                    id=event_id,
                    reason=event.reason,
                )
            )
        enqueue_again(connection, [event_id])
        _decide(connection, event_id, Resolution.ACCEPTED)
        audit_log.record(connection, who=who, what="webhook.accept", why=why, ids=[event_id])
    return True


def dismiss(engine: Engine, event_id: int, *, who: str, why: str) -> bool:
    """Close the event: it needs no attention any more, and nothing is booked. False where it was dismissed before.

    Raises CannotResolveError where it is settled, accepted, or not there.
    """
    with engine.begin() as connection:
        event = _lock(connection, event_id)
        if event.resolution == Resolution.DISMISSED:
            return False
        _require_undecided(event)
        _decide(connection, event_id, Resolution.DISMISSED)
        audit_log.record(connection, who=who, what="webhook.dismiss", why=why, ids=[event_id])
    return True


def undo(engine: Engine, event_id: int, *, who: str, why: str) -> bool:
    """Take the decision back, so that the event waits for another one. False where there is none.

    Raises CannotResolveError where it is booked already, or not there.
    """
    with engine.begin() as connection:
        event = _lock(connection, event_id)
        if event.resolution is None:
            return False
        if event.body_erased_at is not None:
            raise CannotResolveError(
                Sentence(
                    "the body of webhook %(id)s was erased by retention, so nobody can settle it; correct the wallet by"
                    " nouba payments adjust",
                    id=event_id,
                )
            )
        if event.state not in ("received", "quarantined", "dead"):
            raise CannotResolveError(
                Sentence(
                    "webhook %(id)s is %(state)s already (%(reason)s); correct it by nouba payments adjust",
                    id=event_id,
                    state=Sentence(event.state),
                    reason=event.reason,
                )
            )
        _decide(connection, event_id, None)
        if event.state == "received":
            # its message finds an event that is settled
            values = {"state": "quarantined", "processed_at": func.now(), "next_attempt_at": None}
            connection.execute(update(webhook_events).where(webhook_events.c.id == event_id).values(values))
        audit_log.record(connection, who=who, what="webhook.undo", why=why, ids=[event_id])
    return True


def wait_for_outcome(engine: Engine, event_id: int, seconds: float) -> Outcome:
    """The event once a worker has tried it, or as it is after `seconds`."""
    column = webhook_events.c
    query = select(*(column[name] for name in Outcome.__dataclass_fields__), column.attempts)
    deadline = time.monotonic() + seconds
    while True:
        with engine.connect() as connection:
            row = connection.execute(query.where(column.id == event_id)).one()
        if row.state != "received" or row.attempts or time.monotonic() >= deadline:
            return Outcome(row.id, row.state, row.reason, row.resolution, row.payment_id)
        time.sleep(_POLL_SECONDS)


def _lock(connection: Connection, event_id: int) -> Row[Any]:
    names = ("id", "state", "reason", "resolution", "body_erased_at")
    query = select(*webhook_events.c[names]).where(webhook_events.c.id == event_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise CannotResolveError(Sentence("there is no webhook %(id)s; nouba webhooks list shows them", id=event_id))
    return row


def _require_undecided(event: Row[Any]) -> None:
    if event.resolution is not None:
        decided = {"id": event.id, "decision": Sentence(event.resolution)}
        raise CannotResolveError(Sentence("webhook %(id)s is %(decision)s; undo that first", **decided))
    if event.state not in ("quarantined", "dead"):
        known = {"id": event.id, "state": Sentence(event.state)}
        pattern = "webhook %(id)s is %(state)s: only what is quarantined or dead is decided"
        raise CannotResolveError(Sentence(pattern, **known))


def _decide(connection: Connection, event_id: int, resolution: Resolution | None) -> None:
    column = webhook_events.c
    connection.execute(update(webhook_events).where(column.id == event_id).values(resolution=resolution))
