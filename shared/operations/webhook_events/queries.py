"""Reads webhook events for operators' lists and details."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Engine, func, literal_column, select

from shared.schema.tables import webhook_events

#: Stands for a state in filters: quarantined or dead, and no operator has decided.
UNDECIDED = "undecided"


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
