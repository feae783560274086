"""The facts in PostgreSQL: every section reads the same moment, and one that fails does not spoil the others."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, Row, select
from sqlalchemy.exc import DBAPIError

from services.stats.compute import Failure, Reading
from services.stats.days import Days
from services.stats.numbers import Ask, Section, Value, Values
from shared.runtime.logs import describe
from shared.schema.tables import changed_days

log = structlog.get_logger(__name__)

#: For the one connection that computes: sorting a day's users in memory is several times faster than on disk.
_SESSION = "SET LOCAL work_mem = '128MB'; SET LOCAL jit = off; SET LOCAL statement_timeout = '10min'"


class SqlFacts:
    """Implements `Facts`."""

    def __init__(self, engine: Engine, sections: Sequence[Section], currency: str) -> None:
        self._engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._sections = sections
        self._currency = currency

    def read(self, days: Days, kept: Mapping[date, Mapping[str, Value]]) -> Reading:
        with self._engine.begin() as connection:
            connection.exec_driver_sql(_SESSION)
            # the first question fixes the moment that all others are asked about
            watermark = connection.exec_driver_sql("SELECT pg_current_snapshot()::text").scalar_one()
            marks = connection.execute(
                select(changed_days.c.day, changed_days.c.changes).where(
                    changed_days.c.day.between(days.first, days.last)
                )
            )

            def run(query: str, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
                return connection.exec_driver_sql(query, dict(values)).all()

            ask = Ask(run, kept)
            return Reading(
                watermark=str(watermark),
                marks={row.day: row.changes for row in marks},
                sections={section.name: self._compute(connection, ask, section, days) for section in self._sections},
            )

    def _compute(self, connection: Connection, ask: Ask, section: Section, days: Days) -> Values | Failure:
        savepoint = connection.begin_nested()
        try:
            values = section.compute(ask, days, self._currency)
        except Exception as error:
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise
            savepoint.rollback()
            log.exception("section failed", section=section.name, first=str(days.first), last=str(days.last))
            return Failure(describe(error))
        savepoint.commit()
        return values
