"""Reads webhook events for operators' lists and details."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection, Engine, Row, func, insert, literal_column, select, update

from shared.contracts.routes import GATEWAY
from shared.contracts.webhooks import EventState, WebhookReceived
from shared.messaging.actors import encode_message
from shared.operations import audit_log
from shared.runtime.failpoints import failpoint
from shared.runtime.translatable_sentence import Sentence
from shared.schema.tables import outbox, webhook_events

BATCH_SIZE = 100
#: Stands for a state in filters: quarantined or dead, and no operator has decided.
UNDECIDED = "undecided"
#: What can be settled again: the others are settled.
REPLAYABLE = (EventState.RECEIVED, EventState.QUARANTINED, EventState.DEAD)
#: Settlement would only quarantine this again; the replay is refused at once.
MODE_MISMATCH = "signed with a"
#: A lost message is enqueued again after this.
_ENQUEUED_AGAIN = func.now() + func.make_interval(0, 0, 0, 0, 0, 15)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are meant; all that is given has to hold. Instants are of the arrival."""

    ids: tuple[int, ...] = ()
    provider: str | None = None
    state: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """As a query has them; `reason` is a part of the text, in any case of letters."""
        column = webhook_events.c
        wanted = [
            column.id.in_(self.ids) if self.ids else None,
            column.provider == self.provider if self.provider else None,
            self._state_condition(),
            column.reason.icontains(self.reason, autoescape=True) if self.reason else None,
            column.received_at >= self.since if self.since else None,
            column.received_at < self.until if self.until else None,
        ]
        return [condition for condition in wanted if condition is not None]

    def _state_condition(self) -> ColumnElement[bool] | None:
        column = webhook_events.c
        if self.state == UNDECIDED:
            # in the words of the index
            return literal_column("webhook_events.state IN ('quarantined', 'dead') AND resolution IS NULL", Boolean)
        return column.state == self.state if self.state else None

    def as_json(self) -> dict[str, Any]:
        """What was given, for the audit."""
        given = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in given.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """One event without its body: nothing in it is personal."""

    id: int
    provider: str
    reference: str | None
    state: str
    reason: str | None
    signed: bool
    attempts: int
    resolution: str | None
    payment_id: int | None
    received_at: datetime
    processed_at: datetime | None
    next_attempt_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        values = asdict(self)
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


COLUMNS = [webhook_events.c[name] for name in EventLine.__dataclass_fields__]


def list_events(
    engine: Engine, chosen: EventFilter, *, limit: int = 50, before_id: int | None = None
) -> list[EventLine]:
    """The newest first; `before_id` is the last id of the page before."""
    query = select(*COLUMNS).where(*chosen.conditions()).order_by(webhook_events.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(webhook_events.c.id < before_id)
    with engine.connect() as connection:
        return [EventLine(**row._mapping) for row in connection.execute(query)]


def count_events(engine: Engine, chosen: EventFilter, *, at_most: int | None = None) -> int:
    """How many events are meant; counted up to `at_most`, so that a page need not count all that were ever kept."""
    meant = select(webhook_events.c.id).where(*chosen.conditions()).limit(at_most).subquery()
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(meant)) or 0


def read_body(engine: Engine, event_id: int) -> bytes | None:
    """What the provider sent, byte for byte. It may hold personal data."""
    with engine.connect() as connection:
        body = connection.scalar(select(webhook_events.c.body).where(webhook_events.c.id == event_id))
    return None if body is None else bytes(body)


def replay_events(
    engine: Engine, chosen: EventFilter, *, who: str, why: str | None = None, limit: int | None = None
) -> tuple[list[int], dict[int, str]]:
    """Have the events settled again that are not: the ids that are enqueued again, and why others are not.

    The state and the message are one transaction. An event that was settled meanwhile is left as it is, and settling
    is idempotent, so to replay twice is to replay once.
    """
    enqueued: list[int] = []
    refused: dict[int, str] = {}
    after_id = 0
    with engine.connect() as connection:
        last_id = connection.scalar(select(func.max(webhook_events.c.id))) or 0
    while (wanted := BATCH_SIZE if limit is None else min(BATCH_SIZE, limit - len(enqueued))) > 0:
        with engine.begin() as connection:
            rows = _claim(connection, chosen, after_id, last_id, wanted)
            if not rows:
                break
            hopeless = {row.id: why_not for row in rows if (why_not := _why_not(row))}
            ids = [row.id for row in rows if row.id not in hopeless]
            if ids:
                enqueue_again(connection, ids)
                audit_log.record(connection, who=who, what="event.replay", why=why, ids=ids, chosen_by=chosen.as_json())
            failpoint("events.replay.before_commit")
        failpoint("events.replay.after_commit")
        after_id = rows[-1].id
        enqueued += ids
        refused |= hopeless
    # with a limit, those that are left out are not tried
    left_out = set(chosen.ids) - {*enqueued, *refused} if limit is None else set()
    return enqueued, refused | _explain_missing(engine, left_out)


def _explain_missing(engine: Engine, ids: Collection[int]) -> dict[int, str]:
    """Why events that were named were not found among those that can be settled again."""
    column = webhook_events.c
    with engine.connect() as connection:
        rows = connection.execute(select(column.id, column.state, column.reason).where(column.id.in_(ids))).all()
    known = {
        row.id: Sentence("a worker is settling it right now, or another option leaves it out")
        if row.state in REPLAYABLE
        else Sentence("it is %(state)s: %(reason)s", state=Sentence(row.state), reason=row.reason)
        for row in rows
    }
    return {event_id: known.get(event_id, Sentence("there is no such event")) for event_id in sorted(ids)}


def _claim(
    connection: Connection, chosen: EventFilter, after_id: int, last_id: int, limit: int
) -> Sequence[Row[int, str, str | None, str | None]]:
    column = webhook_events.c
    return connection.execute(
        select(column.id, column.state, column.reason, column.resolution)
        .where(*chosen.conditions(), column.state.in_(REPLAYABLE), column.id > after_id, column.id <= last_id)
        .order_by(column.id)
        .limit(limit)
        # one that is being settled right now needs no replay
        .with_for_update(skip_locked=True)
    ).all()


def _why_not(row: Row[int, str, str | None, str | None]) -> str | None:
    if row.resolution == "dismissed":
        return Sentence("it is dismissed; nouba events resolve --undo undoes that")
    if row.state == EventState.QUARANTINED and (row.reason or "").startswith(MODE_MISMATCH):
        return Sentence("it was signed with a key of another mode: a test must not move money")
    return None


def enqueue_again(connection: Connection, ids: Sequence[int]) -> None:
    """Let these events be settled again, within the caller's transaction."""
    connection.execute(
        update(webhook_events)
        .where(webhook_events.c.id.in_(ids))
        .values(
            state=EventState.RECEIVED,
            attempts=0,
            tries=0,
            taken_up_at=func.now(),
            processed_at=None,
            next_attempt_at=_ENQUEUED_AGAIN,
        )
    )
    messages = [encode_message(WebhookReceived(event_id=event_id)) for event_id in ids]
    connection.execute(insert(outbox), [{"service": GATEWAY, "message": message} for message in messages])
