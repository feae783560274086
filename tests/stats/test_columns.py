"""Columns of very many numbers come as they are in the database, and a NULL among them is told."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from services.stats.numbers import Ask
from tests.stats.school import Connection


def asking(connection: Connection) -> Ask:
    def run(query: str, values: Mapping[str, Any]) -> list[Any]:
        raise AssertionError("columns come by COPY")

    def copy(command: str, values: Mapping[str, Any]) -> bytes:
        copied = BytesIO()
        with connection.cursor() as cursor:
            cursor.copy_expert(cursor.mogrify(command, values), copied)
        return copied.getvalue()

    return Ask(run, copy)


def test_columns_hold_every_row_in_the_same_order(connection: Connection) -> None:
    query = "SELECT n, -n * 9000000000 AS other FROM generate_series(1, %(last)s) AS n"
    n, other = asking(connection).columns(query, ("n", "other"), last=100_000)
    assert sorted(n.tolist()) == list(range(1, 100_001))
    assert np.array_equal(other, n * -9_000_000_000)


def test_a_query_without_rows_has_empty_columns(connection: Connection) -> None:
    found = asking(connection).columns("SELECT 1::bigint AS one, 2::bigint AS two WHERE false", ("one", "two"))
    assert [column.size for column in found] == [0, 0]


def test_a_missing_value_is_told_rather_than_left_out(connection: Connection) -> None:
    with pytest.raises(ValueError, match="one of them is NULL in some rows"):
        asking(connection).columns(
            "SELECT * FROM (VALUES (1::bigint, 2::bigint), (3, NULL)) AS rows (one, two)", ("one", "two")
        )
