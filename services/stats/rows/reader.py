"""Reads the rows behind a number from PostgreSQL, one page at a time."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from psycopg2.errors import QueryCanceled
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from services.stats.binary_column_reader import ColumnReader
from services.stats.days import Days
from services.stats.errors import RowsTimeoutError
from services.stats.rows.read_days import DayToRead, read_days
from services.stats.rows.read_page import Page
from services.stats.rows.request_model import RowsRequest
from services.stats.sections.base import Query, Rules

#: What an index holds is near on disk too, as in the computation of days.
_SESSION = "SET LOCAL random_page_cost = 1.1; SET LOCAL jit = off"
_USERS = "SELECT id, name FROM users WHERE id = ANY (%(ids)s) AND name <> ''"


@dataclass(frozen=True, slots=True)
class RowReader:
    """Each page is read at one moment, which may be later than the one at which the days were computed."""

    engine: Engine
    rules: Rules
    zone: ZoneInfo
    #: A page that takes longer is given up; None waits for ever.
    page_seconds: float | None = None

    def read(
        self,
        day: date,
        number: str,
        key: str | None,
        named: Sequence[str],
        after: int,
        limit: int | None,
        *,
        with_users: bool = False,
        largest_first: bool | None = False,
    ) -> Page:
        """A page of the rows of a number of `day`; see `read_days`."""
        days = [DayToRead(day, named)]
        return self.read_days(days, number, key, after, limit, with_users=with_users, largest_first=largest_first)

    def read_days(
        self,
        days: Sequence[DayToRead],
        number: str,
        key: str | None,
        after: int,
        limit: int | None,
        *,
        with_users: bool = False,
        largest_first: bool | None = False,
    ) -> Page:
        """A page of the rows of a number, day by day, with the names of its users or without; see `RowsRequest`.

        `after` is an id of the first of `days`. Raises RowsTimeoutError where it takes longer than `page_seconds`, and
        SQLAlchemyError without a database.
        """
        span = Days(days[0].day, days[-1].day, self.zone)
        request = RowsRequest(span, self.rules, number, key, after=after, limit=limit, largest_first=largest_first)
        reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        deadline = None if self.page_seconds is None else time.monotonic() + self.page_seconds
        try:
            with reading.begin() as connection:
                connection.exec_driver_sql(_SESSION)
                page = read_days(lambda: _query(connection, deadline), days, request)
                ids = sorted({row.user_id for row in page.rows if row.user_id is not None}) if with_users else []
                names = _query(connection, deadline)(_USERS, ids=ids) if ids else ()
                return replace(page, users={row.id: row.name for row in names})
        except (QueryCanceled, OperationalError) as error:
            is_canceled = isinstance(error, QueryCanceled) or isinstance(error.orig, QueryCanceled)
            if self.page_seconds is not None and is_canceled:
                raise RowsTimeoutError(self.page_seconds) from error
            raise


def _query(connection: Connection, deadline: float | None) -> Query:
    def limit() -> None:
        """Give the next statement what is left of the time: a page takes several."""
        if deadline is not None:
            left_ms = max(1, round((deadline - time.monotonic()) * 1000))
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {left_ms}")

    def run(query: str, values: Mapping[str, Any]) -> Sequence[Any]:
        limit()
        return connection.exec_driver_sql(query, dict(values)).all()

    def copy(command: str, values: Mapping[str, Any], reader: ColumnReader) -> None:
        limit()
        with closing(connection.connection.cursor()) as cursor:
            cursor.copy_expert(cursor.mogrify(command, values), reader)

    return Query(run, copy)
