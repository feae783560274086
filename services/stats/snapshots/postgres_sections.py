"""Computes all sections from the school's tables in PostgreSQL, at one exported snapshot, over two connections."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from contextvars import copy_context
from datetime import date
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, Row, select
from sqlalchemy.exc import DBAPIError

from services.stats.binary_column_reader import ColumnReader
from services.stats.days import Days
from services.stats.sections.active_users import presence
from services.stats.sections.base import DayState, OncePerRun, Query, Rules, Section, Value, Values
from services.stats.sections.catalogue import named_by
from services.stats.sections.subscriptions import count_terms
from services.stats.snapshots.compute import Failure, Reading
from shared.runtime.logs import describe
from shared.schema.tables import changed_days

log = structlog.get_logger(__name__)

#: So many connections compute at the same time; two are what a small machine has processors for.
CONNECTIONS = 2

#: For those connections: sorting in memory is several times as fast as on disk. What is near in a table is near on disk
#: too, so reading it in the order of an index costs hardly more than reading all of it. No parallel workers, which two
#: processors have no time for, and which would take the others from the payments.
_SESSION = (
    "SET LOCAL work_mem = '128MB'; SET LOCAL hash_mem_multiplier = 4; SET LOCAL random_page_cost = 1.1; "
    "SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off; SET LOCAL statement_timeout = '10min'"
)


# of what is kept of these days nothing may be used
_CHANGED = """
SELECT day FROM unnest(%(days)s::date[]) AS day
WHERE EXISTS (SELECT FROM changed_days AS changed WHERE changed.day = day.day)
   OR EXISTS (SELECT FROM late_days AS late WHERE day.day BETWEEN late.first_day AND late.last_day)
"""

#: What the school calls its chapters, lessons and teachers.
_NAMES = {
    "chapter": "SELECT id, title AS name FROM chapters WHERE id = ANY (%(ids)s) AND title <> ''",
    "course": "SELECT id, title AS name FROM courses WHERE id = ANY (%(ids)s) AND title <> ''",
    "teacher": "SELECT id, name FROM teachers WHERE id = ANY (%(ids)s) AND name <> ''",
}


class PostgresSections:
    """Implements `Facts`, on two connections: each takes the next section that nobody has begun."""

    def __init__(self, engine: Engine, sections: Sequence[Section], rules: Rules) -> None:
        self._engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._sections = sections
        self._rules = rules

    def read(
        self,
        days: Days,
        kept: Mapping[date, Mapping[str, Value]],
        states: Mapping[date, DayState],
    ) -> Reading:
        with self._begin() as connection, ExitStack() as stack:
            # the first question fixes the moment that all others are asked about, on every connection
            watermark, moment = connection.exec_driver_sql(
                "SELECT pg_current_snapshot()::text, pg_export_snapshot()"
            ).one()
            marks = connection.execute(
                select(changed_days.c.day, changed_days.c.changes)
                .where(changed_days.c.day.between(days.first, days.last))
                .order_by(changed_days.c.day)
            ).all()
            connections = [connection, *(stack.enter_context(self._begin(moment)) for _ in range(CONNECTIONS - 1))]
            changed = set(connection.exec_driver_sql(_CHANGED, {"days": list(states)}).scalars())
            unchanged = {day: state for day, state in states.items() if day not in changed}
            shared = OncePerRun()
            found = self._compute_all(connections, days, partial(Query, kept=kept, shared=shared, states=unchanged))
            names = {kind: _read_names(connection, names, found, kind) for kind, names in _NAMES.items()}
            return Reading(
                watermark=str(watermark),
                marks={row.day: row.changes for row in marks},
                sections={section.name: found[section.name] for section in self._sections},
                names=names,
                states=self._states(shared, days),
            )

    def _states(self, shared: OncePerRun, days: Days) -> dict[date, DayState]:
        """What the days leave to those after them, as far as it was found."""
        grace_days = self._rules.grace_days
        came = shared.found(presence, days) or {}
        counted = shared.found(count_terms, days, grace_days)
        brought = counted.moves.subscribers() if counted else []
        subscribers = dict(zip(list(days)[len(days) - len(brought) :], brought, strict=True))
        return {
            day: DayState(users, subscribers.get(day), grace_days)
            for day in days
            if (users := came[day].users if day in came else None) is not None or day in subscribers
        }

    @contextmanager
    def _begin(self, moment: str | None = None) -> Iterator[Connection]:
        """A transaction that sees `moment`, which another one exported; or the moment of its first question."""
        with self._engine.begin() as connection:
            if moment is not None:
                connection.exec_driver_sql("SET TRANSACTION SNAPSHOT %(moment)s", {"moment": moment})
            connection.exec_driver_sql(_SESSION)
            yield connection

    def _compute_all(
        self, connections: Sequence[Connection], days: Days, query: Callable[..., Query]
    ) -> dict[str, Values | Failure]:
        found: dict[str, Values | Failure] = {}
        # the heaviest first, so that the lighter ones fill what is left of the time
        waiting = deque(sorted(self._sections, key=lambda section: -section.weight))

        def compute(connection: Connection) -> None:
            ask = query(partial(_run, connection), partial(_copy, connection))
            while waiting:
                try:
                    section = waiting.popleft()
                except IndexError:
                    break  # the other one was quicker
                found[section.name] = self._compute(connection, ask, section, days)

        with ThreadPoolExecutor(max_workers=len(connections)) as pool:
            others = [pool.submit(copy_context().run, compute, one) for one in connections[1:]]
            try:
                # here, and not in the pool: a time limit or Ctrl-C reaches this thread
                compute(connections[0])
                for other in others:
                    other.result()
            except BaseException:
                waiting.clear()
                raise
        return found

    def _compute(self, connection: Connection, ask: Query, section: Section, days: Days) -> Values | Failure:
        savepoint = connection.begin_nested()
        try:
            values = section.compute(ask, days, self._rules)
        except Exception as error:
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise
            savepoint.rollback()
            log.exception("section failed", section=section.name, first=str(days.first), last=str(days.last))
            return Failure(describe(error))
        savepoint.commit()
        return values


def _read_names(
    connection: Connection, query: str, sections: Mapping[str, Values | Failure], kind: str
) -> dict[str, str]:
    """The names of the ids that are keys of some day's breakdowns."""
    keys: set[str] = set()
    for section, days in sections.items():
        if isinstance(days, Failure):
            continue
        for name in {name for numbers in days.values() for name in numbers if named_by(f"{section}.{name}") == kind}:
            keys.update(*(value for numbers in days.values() if isinstance(value := numbers.get(name), dict)))
    ids = {int(key) for key in keys if key.isdigit()}
    return {str(row.id): row.name for row in connection.exec_driver_sql(query, {"ids": sorted(ids)})} if ids else {}


def _run(connection: Connection, query: str, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
    return connection.exec_driver_sql(query, dict(values)).all()


def _copy(connection: Connection, command: str, values: Mapping[str, Any], reader: ColumnReader) -> None:
    with closing(connection.connection.cursor()) as cursor:
        cursor.copy_expert(cursor.mogrify(command, values), reader)
