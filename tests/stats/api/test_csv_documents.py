"""A text that a spreadsheet would take for a formula is written as a text."""

import csv
import io

import pytest

from services.stats.api.csv_documents import rows_as_csv
from services.stats.rows.row import Row


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_no_key_is_a_formula(begin: str) -> None:
    row = Row(source="payments", id=1, user_id=1, at=None, key=f"{begin}cmd|' /C calc'!A0", amount=1, day=None)

    [line] = csv.DictReader(io.StringIO(rows_as_csv([row]).plain.decode(), newline=""))

    assert line["key"] == f"'{begin}cmd|' /C calc'!A0"
