"""Columns of very many numbers come as they are in the database, and a NULL among them is reported."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from services.stats.binary_column_reader import ColumnReader, Integers
from services.stats.sections.base import Query
from tests.stats.school import Connection


def asking(connection: Connection) -> Query:
    def run(query: str, values: Mapping[str, Any]) -> list[Any]:
        raise AssertionError("columns come by COPY")

    def copy(command: str, values: Mapping[str, Any], reader: ColumnReader) -> None:
        with connection.cursor() as cursor:
            cursor.copy_expert(cursor.mogrify(command, values), reader)

    return Query(run, copy)


def test_columns_hold_every_row_in_the_same_order(connection: Connection) -> None:
    query = "SELECT n, -n * 9000000000 AS other FROM generate_series(1, %(last)s) AS n"
    n, other = asking(connection).columns(query, ("n", "other"), last=100_000)
    assert sorted(n.tolist()) == list(range(1, 100_001))
    assert np.array_equal(other, n * -9_000_000_000)


def test_a_query_without_rows_has_empty_columns(connection: Connection) -> None:
    found = asking(connection).columns("SELECT 1::bigint AS one, 2::bigint AS two WHERE false", ("one", "two"))
    assert [column.size for column in found] == [0, 0]


def test_a_missing_value_is_reported_rather_than_left_out(connection: Connection) -> None:
    with pytest.raises(ValueError, match="one of them is NULL in some rows"):
        asking(connection).columns(
            "SELECT * FROM (VALUES (1::bigint, 2::bigint), (3, NULL)) AS rows (one, two)", ("one", "two")
        )


def test_parts_hold_every_row_once_and_come_one_by_one(connection: Connection) -> None:
    query, parts = "SELECT n, n * 3 AS other FROM generate_series(1, %(last)s) AS n", list[list[Integers]]()
    asking(connection).parts(query, ("n", "other"), "n %% 16", parts.append, last=100_000)
    assert len(parts) == 16
    assert all(len(set((n % 16).tolist())) == 1 and np.array_equal(other, n * 3) for n, other in parts)
    assert sorted(number for n, _ in parts for number in n.tolist()) == list(range(1, 100_001))


def test_a_query_without_rows_has_no_parts(connection: Connection) -> None:
    parts: list[list[Integers]] = []
    asking(connection).parts("SELECT 1::bigint AS one WHERE false", ("one",), "one %% 16", parts.append)
    assert parts == []


def test_texts_label_the_rows_that_have_them_and_none_is_no_text(connection: Connection) -> None:
    query = "SELECT n, -n AS other, CASE WHEN n % 3 > 0 THEN 'é' || n % 3 END AS word FROM generate_series(1, 9) AS n"
    found: dict[str | None, list[list[int]]] = {}

    def take(word: str | None, columns: list[Integers]) -> None:
        found[word] = [sorted(column.tolist()) for column in columns]

    asking(connection).groups(query.replace("%", "%%"), ("n", "other"), ("word",), take)
    assert found == {
        None: [[3, 6, 9], [-9, -6, -3]],
        "é1": [[1, 4, 7], [-7, -4, -1]],
        "é2": [[2, 5, 8], [-8, -5, -2]],
    }


def test_what_fails_with_a_part_fails_the_reading_and_spares_the_connection(connection: Connection) -> None:
    def take(part: list[Integers]) -> None:
        raise ArithmeticError("no such number")

    query = "SELECT n FROM generate_series(1, 100000) AS n"
    with pytest.raises(ArithmeticError, match="no such number"):
        asking(connection).parts(query, ("n",), "n %% 16", take)
    connection.rollback()
    assert asking(connection).columns(query, ("n",))[0].size == 100_000
