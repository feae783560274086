"""Writes and reads daily snapshots in PostgreSQL: immutable versions, and the current one of each day."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, bindparam, case, delete, false, func, insert, or_, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from services.stats.days import ONE_DAY, Days, last_of_month
from services.stats.sections.base import DayState
from services.stats.snapshots.compute import KEPT_DAYS, Correction, NewVersion, Payload, StoredVersion, document_of
from services.stats.snapshots.dirty_days import gather_late, is_changed, mark
from shared.schema.tables import (
    changed_days,
    closed_day_corrections,
    closed_months,
    daily_states,
    daily_stats,
    daily_stats_newest,
    users,
)

#: Held while days are computed: an older reading must never be kept after a newer one.
LOCK = 0x4E4F55424153


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of a day as it is kept; `body_gzip` is the canonical JSON of `payload`, whose SHA-256 is `etag`."""

    day: date
    version: int
    payload: Payload
    etag: str
    body_gzip: bytes
    complete: bool
    computed_at: datetime
    closed: bool = False


def latest(engine: Engine) -> Snapshot | None:
    """The last day that is complete."""
    found = _complete(engine, None, None, newest_first=True, limit=1)
    return found[0] if found else None


def on(engine: Engine, day: date) -> Snapshot | None:
    """The newest complete version of `day`."""
    found = _complete(engine, day, day)
    return found[0] if found else None


def between(engine: Engine, first: date | None, last: date | None) -> list[Snapshot]:
    """The newest complete version of every day from `first` to `last`, oldest first; None is no limit."""
    return _complete(engine, first, last)


def attempt_on(engine: Engine, day: date) -> Snapshot | None:
    """The newest version of `day`, even if a section failed."""
    query = (
        select(daily_stats, false().label("closed"))
        .where(daily_stats.c.day == day)
        .order_by(daily_stats.c.version.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _snapshot(row)


@contextmanager
def open_book(engine: Engine) -> Iterator["PostgresSnapshotStore"]:
    """The kept days for one computation: others wait; all or nothing is kept."""
    gather_late(engine)
    with engine.begin() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
        yield PostgresSnapshotStore(connection)


class PostgresSnapshotStore:
    """Implements `Book`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def due(self, first: date, last: date) -> list[date]:
        return find_due(self._connection, first, last)

    def newest(self, first: date, last: date) -> dict[date, StoredVersion]:
        rows = self._connection.execute(
            select(*daily_stats.c["day", "version", "payload", "etag"])
            .ext(distinct_on(daily_stats.c.day))
            .where(daily_stats.c.day.between(first, last))
            .order_by(daily_stats.c.day, daily_stats.c.version.desc())
        ).all()
        sections: dict[date, dict[str, Any]] = {
            row.day: {name: found for name, found in row.payload["sections"].items() if "numbers" in found}
            for row in rows
        }
        if failed := [row.day for row in rows if not row.payload["complete"]]:
            for row in self._connection.execute(_LASTING, {"days": failed}):
                sections[row.day][row.name] = row.section
        return {row.day: StoredVersion(row.version, row.payload, row.etag, sections[row.day]) for row in rows}

    def keep(self, versions: list[NewVersion]) -> None:
        if not versions:
            return
        names = ("day", "version", "payload", "etag", "body_gzip", "complete", "watermark")
        self._connection.execute(
            insert(daily_stats), [{name: getattr(version, name) for name in names} for version in versions]
        )

    def checked(self, days: Mapping[date, bool], marks: Mapping[date, int]) -> None:
        closed_until = self.closed_until() or date.min
        for are_closed in (False, True):
            part = {day: failed for day, failed in days.items() if (day <= closed_until) is are_closed}
            if part:
                self._note_checked(part, "facts_version" if are_closed else "version")
        # A change that came after the reading has raised the count, and its mark stays. In order, as marks are made.
        for day, changes in sorted(marks.items()):
            self._connection.execute(
                delete(changed_days).where(and_(changed_days.c.day == day, changed_days.c.changes == changes))
            )

    def _note_checked(self, days: Mapping[date, bool], column: str) -> None:
        """`column` is where the newest complete version stands."""
        table = daily_stats_newest
        version = (
            select(func.max(daily_stats.c.version))
            .where(daily_stats.c.day == bindparam("of_day"), daily_stats.c.complete)
            .scalar_subquery()
        )
        statement = upsert(table).values(
            {"day": bindparam("of_day"), column: version, "failed": bindparam("has_failed"), "checked_at": func.now()}
        )
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=["day"],
                # what was found out about another version says nothing of this one
                set_={
                    **{name: statement.excluded[name] for name in (column, "failed", "checked_at")},
                    **{
                        name: case((table.c[column] == statement.excluded[column], table.c[name]), else_=None)
                        for name in ("verified_at", "differences")
                    },
                },
            ),
            [{"of_day": day, "has_failed": failed} for day, failed in days.items()],
        )

    def closed_until(self) -> date | None:
        month: date | None = self._connection.scalar(select(func.max(closed_months.c.month)))
        return None if month is None else last_of_month(month)

    def correct(self, corrections: list[Correction]) -> None:
        if corrections:
            self._connection.execute(insert(closed_day_corrections), [asdict(one) for one in corrections])

    def corrections(self, first: date, last: date) -> dict[date, dict[str, Any]]:
        table = closed_day_corrections
        months = func.array_agg(func.distinct(func.to_char(table.c.day, "YYYY-MM"))).label("months")
        amount = func.sum(table.c.amount).label("amount")
        rows = self._connection.execute(
            select(table.c.booked_on, table.c.number, table.c.key, amount, months)
            .where(table.c.booked_on.between(first, last), table.c.adds_up)
            .group_by(table.c.booked_on, table.c.number, table.c.key)
        )
        found: dict[date, dict[str, Any]] = {}
        for row in rows:
            booked = found.setdefault(row.booked_on, {"corrections": {}, "corrected_months": {}})
            for name, value in (("corrections", int(row.amount)), ("corrected_months", sorted(row.months))):
                if row.amount and row.key is None:
                    booked[name][row.number] = value
                elif row.amount:
                    booked[name].setdefault(row.number, {})[row.key] = value
        return found

    def states(self, days: Days) -> dict[date, DayState]:
        table, month = daily_states, ONE_DAY * KEPT_DAYS
        # large, and needed of few days
        is_needed = or_(table.c.day <= days.last - month, table.c.day >= days.first)
        subscribers = case((is_needed, table.c.subscribers)).label("subscribers")
        query = select(table.c.day, table.c.active_users, subscribers, table.c.grace_days).where(
            table.c.day.between(days.first - month, days.last)
        )
        return {
            row.day: DayState(_bytes(row.active_users), _bytes(row.subscribers), row.grace_days)
            for row in self._connection.execute(query)
        }

    def keep_states(self, days: Days, states: Mapping[date, DayState]) -> None:
        table = daily_states
        last = max(days.last, self._connection.scalar(select(func.max(table.c.day))) or days.last)
        oldest = last - ONE_DAY * KEPT_DAYS
        self._connection.execute(
            delete(table).where(or_(table.c.day.between(days.first, days.last), table.c.day < oldest))
        )
        if rows := [{"day": day, **asdict(state)} for day, state in states.items() if day >= oldest]:
            self._connection.execute(insert(table), rows)

    def mark(self, first: date, last: date) -> None:
        days = select(daily_stats_newest.c.day).where(daily_stats_newest.c.day.between(first, last))
        mark(self._connection, self._connection.scalars(days.order_by(daily_stats_newest.c.day)).all())

    def mark_next(self, day: date) -> None:
        query = select(func.min(daily_stats_newest.c.day)).where(daily_stats_newest.c.day > day)
        if (following := self._connection.scalar(query)) is not None:
            mark(self._connection, [following])


def _bytes(column: memoryview | None) -> bytes | None:
    return None if column is None else bytes(column)


# the sections of these days, each as it is in the newest version in which it did not fail
_LASTING = text("""
SELECT DISTINCT ON (kept.day, part.name) kept.day, part.name, part.section
FROM daily_stats AS kept, jsonb_each(kept.payload -> 'sections') AS part (name, section)
WHERE kept.day = ANY(:days) AND part.section -> 'numbers' IS NOT NULL
ORDER BY kept.day, part.name, kept.version DESC
""")

_DUE = text("""
SELECT days.day FROM (SELECT generate_series(CAST(:first AS date), CAST(:last AS date), '1 day')::date AS day) AS days
LEFT JOIN daily_stats_newest AS newest ON newest.day = days.day
LEFT JOIN changed_days AS changed ON changed.day = days.day
WHERE newest.day IS NULL OR newest.failed OR changed.day IS NOT NULL
   OR EXISTS (SELECT FROM late_days AS late WHERE days.day BETWEEN late.first_day AND late.last_day)
ORDER BY days.day
""")


def find_due(connection: Connection, first: date, last: date) -> list[date]:
    """The days of the run that are missing, failed or marked as changed, oldest first."""
    return list(connection.execute(_DUE, {"first": first, "last": last}).scalars())


def first_fact(connection: Connection, not_before: datetime) -> datetime | None:
    """When the first user registered: there are no facts without one. An earlier instant than `not_before` is none."""
    # PostgreSQL has years before our era, and Python has not
    earliest: datetime | None = connection.scalar(
        select(func.min(users.c.created_at)).where(users.c.created_at >= not_before)
    )
    return earliest


def users_registered_before(connection: Connection, instant: datetime) -> int:
    """How many users are said to be older than the school."""
    return int(connection.scalar(select(func.count()).where(users.c.created_at < instant)) or 0)


def _complete(
    engine: Engine, first: date | None, last: date | None, *, newest_first: bool = False, limit: int | None = None
) -> list[Snapshot]:
    newest, table = daily_stats_newest, daily_stats
    query = select(table, newest.c.facts_version.is_not(None).label("closed")).join(
        newest, and_(newest.c.day == table.c.day, newest.c.version == table.c.version)
    )
    if first is not None:
        query = query.where(newest.c.day >= first)
    if last is not None:
        query = query.where(newest.c.day <= last)
    query = query.order_by(newest.c.day.desc() if newest_first else newest.c.day).limit(limit)
    with engine.connect() as connection:
        return [_snapshot(row) for row in connection.execute(query)]


def _snapshot(row: Row[Any]) -> Snapshot:
    found = Snapshot(row.day, row.version, row.payload, row.etag, bytes(row.body_gzip), row.complete, row.computed_at)
    if not row.closed:
        return found
    payload = {**found.payload, "closed": True}
    etag, body_gzip = document_of(payload)
    return replace(found, payload=payload, etag=etag, body_gzip=body_gzip, closed=True)


#: The version that the facts were counted in last: of a closed day another one is shown.
COUNTED = func.coalesce(daily_stats_newest.c.facts_version, daily_stats_newest.c.version)


class PostgresSnapshots:
    """Implements `SnapshotSource`: the stored snapshots, to compare them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def reach(self) -> tuple[date, date] | None:
        table = daily_stats_newest
        query = select(func.min(table.c.day), func.max(table.c.day)).where(COUNTED.is_not(None))
        with self._engine.connect() as connection:
            first, last = connection.execute(query).one()
        return None if first is None else (first, last)

    def payloads(self, first: date, last: date) -> dict[date, Payload]:
        newest, table = daily_stats_newest, daily_stats
        query = (
            select(table.c.day, table.c.payload)
            .join(newest, and_(newest.c.day == table.c.day, table.c.version == COUNTED))
            .where(newest.c.day.between(first, last))
        )
        with self._engine.connect() as connection:
            return {row.day: row.payload for row in connection.execute(query)}

    def versions(self, first: date, last: date) -> dict[date, int]:
        table = daily_stats_newest
        query = select(table.c.day, COUNTED.label("version")).where(
            table.c.day.between(first, last), COUNTED.is_not(None), ~table.c.failed
        )
        with self._engine.connect() as connection:
            return {row.day: row.version for row in connection.execute(query)}

    def changed_from(self) -> date | None:
        query = select(func.min(daily_stats_newest.c.day)).where(is_changed(daily_stats_newest.c.day))
        with self._engine.connect() as connection:
            found: date | None = connection.scalar(query)
        return found
