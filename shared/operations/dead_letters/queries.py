"""Queries of table `dead_letters`: store once, filter, count."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from shared.operations.dead_letters.failure_recorder import DeadLetterKey, FailureReason
from shared.operations.dead_letters.parse import Letter, storable
from shared.schema.tables import dead_letters

STATES = ("dead", "replayed", "discarded")
UNDECIDED = STATES[:1]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadFilter:
    """Which letters are meant; all that is given has to hold. Instants are of the death."""

    ids: tuple[int, ...] = ()
    queue: str | None = None
    actor: str | None = None
    cause: str | None = None
    error: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    state: str | None = "dead"

    def conditions(self) -> list[ColumnElement[bool]]:
        """As a query has them; `error` is a part of the text, in any case of letters."""
        column = dead_letters.c
        wanted = [
            column.id.in_(self.ids) if self.ids else None,
            *(
                column[name] == value
                for name in ("queue", "actor", "cause", "state")
                if (value := getattr(self, name)) is not None
            ),
            column.error.icontains(self.error, autoescape=True) if self.error else None,
            column.died_at >= self.since if self.since else None,
            column.died_at < self.until if self.until else None,
        ]
        return [condition for condition in wanted if condition is not None]

    def as_json(self) -> dict[str, Any]:
        """What was given, for the audit."""
        given = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in given.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A row. `message` is the body, byte for byte."""

    id: int
    queue: str
    message_id: str
    state: str
    cause: str
    error: str | None
    actor: str | None
    arguments: Any
    attempts: int
    deaths: int
    replays: int
    x_death: Any
    died_at: datetime
    collected_at: datetime
    replayed_at: datetime | None
    decided_by: str | None
    decided_why: str | None
    decided_at: datetime | None
    message: bytes

    def as_json(self) -> dict[str, Any]:
        """All of it but the body."""
        values = {name: value for name, value in asdict(self).items() if name != "message"}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


_COLUMNS = [dead_letters.c[name] for name in DeadLetter.__dataclass_fields__]


def list_dead(engine: Engine, chosen: DeadFilter, *, limit: int = 50, before_id: int | None = None) -> list[DeadLetter]:
    """The newest first; `before_id` is the last id of the page before."""
    query = select(*_COLUMNS).where(*chosen.conditions()).order_by(dead_letters.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(dead_letters.c.id < before_id)
    with engine.connect() as connection:
        return [_letter(row) for row in connection.execute(query)]


def find_dead(engine: Engine, letter_id: int) -> DeadLetter | None:
    """One letter, whatever its state."""
    with engine.connect() as connection:
        row = connection.execute(select(*_COLUMNS).where(dead_letters.c.id == letter_id)).one_or_none()
    return None if row is None else _letter(row)


def count_dead(engine: Engine, chosen: DeadFilter, *, at_most: int | None = None) -> int:
    """How many letters are meant; counted up to `at_most`, so that a page need not count all that were ever kept."""
    meant = select(dead_letters.c.id).where(*chosen.conditions()).limit(at_most).subquery()
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(meant)) or 0


def count_by_state(
    engine: Engine, queues: Iterable[str], states: Sequence[str] = STATES
) -> Mapping[tuple[str, str], int]:
    """How many letters of each queue are in each of `states`; none is 0."""
    queues = list(queues)
    column = dead_letters.c
    query = select(column.queue, column.state, func.count()).where(
        column.queue.in_(queues), column.state.in_(list(states))
    )
    with engine.connect() as connection:
        found = {(row[0], row[1]): row[2] for row in connection.execute(query.group_by(column.queue, column.state))}
    return {(queue, state): found.get((queue, state), 0) for queue in queues for state in states}


def keep(connection: Connection, letter: Letter) -> bool:
    """Keep the letter; False where this very death is kept already, or the message was replayed since.

    A message that died again is the same row, dead once more.
    """
    values = {name: getattr(letter, name) for name in Letter.__dataclass_fields__}
    statement = insert(dead_letters).values(**values)
    new, old = statement.excluded, dead_letters.c
    changes = {name: new[name] for name in values if name not in ("queue", "message_id")}
    statement = statement.on_conflict_do_update(
        index_elements=["queue", "message_id"],
        set_={**changes, "state": "dead", "deaths": old.deaths + 1, "collected_at": func.now()},
        where=or_(new.replays > old.replays, and_(new.replays == old.replays, new.death != old.death)),
    )
    return connection.execute(statement).rowcount == 1


def record_failure(connection: Connection, death: DeadLetterKey, words: FailureReason) -> bool:
    """Add what killed it; False where the message has not been collected yet."""
    column = dead_letters.c
    result = connection.execute(
        update(dead_letters)
        .where(
            column.queue == death.queue,
            column.message_id == storable(death.message_id),
            column.replays == death.replays,
            column.state == "dead",
        )
        .values(cause=words.cause, error=storable(words.error))
    )
    return result.rowcount == 1


def _letter(row: Row[Any]) -> DeadLetter:
    return DeadLetter(**{**row._mapping, "message": bytes(row.message)})
