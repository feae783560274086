"""Reads the rows behind a number from PostgreSQL, one page at a time."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from services.stats.binary_column_reader import ColumnReader
from services.stats.days import Days
from services.stats.rows.read_page import Page, read_page
from services.stats.rows.request_model import RowsRequest
from services.stats.sections.base import Query, Rules

#: What an index holds is near on disk too, as in the computation of days.
_SESSION = "SET LOCAL random_page_cost = 1.1; SET LOCAL jit = off"


@dataclass(frozen=True, slots=True)
class RowReader:
    """Each page is read at one moment, which may be later than the one at which the day was computed."""

    engine: Engine
    rules: Rules
    zone: ZoneInfo

    def read(
        self, day: date, number: str, key: str | None, named: Sequence[str], after: int, limit: int | None
    ) -> Page:
        """A page of the rows of a number of `day`; see `RowsRequest`."""
        reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with reading.begin() as connection:
            connection.exec_driver_sql(_SESSION)
            days = Days(day, day, self.zone)
            return read_page(_query(connection), RowsRequest(days, self.rules, number, key, named, after, limit))


def _query(connection: Connection) -> Query:
    def run(query: str, values: Mapping[str, Any]) -> Sequence[Any]:
        return connection.exec_driver_sql(query, dict(values)).all()

    def copy(command: str, values: Mapping[str, Any], reader: ColumnReader) -> None:
        with closing(connection.connection.cursor()) as cursor:
            cursor.copy_expert(cursor.mogrify(command, values), reader)

    return Query(run, copy)
