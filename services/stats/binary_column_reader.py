"""Reads columns of integers by binary COPY, without an object for each row.

PostgreSQL puts a column together with string_agg, and COPY sends it as it is (its manual has the format under COPY,
File Formats, Binary Format), where a query's result would be written and read as text.
"""

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

#: What PostgreSQL counts instants from.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
#: Signature, flags, and the length of an extension, which there is none of.
_HEAD = struct.Struct(">11s i i")


def copy_columns(query: str, names: Sequence[str], part: str = "", labels: Sequence[str] = ()) -> str:
    """The command that copies these columns of a query's result; a row each for every value of `part`, if given, and
    of the texts `labels`, which come before the columns.

    All have to be bigint, or timestamptz where the name ends with _at: instants come in microseconds since EPOCH."""
    packed = (f"string_agg({'timestamptz_send' if name.endswith('_at') else 'int8send'}({name}), '')" for name in names)
    selected = ", ".join((*labels, *packed))
    grouped = ", ".join(filter(None, (part, *labels)))
    parts = f" GROUP BY {grouped}" if grouped else ""
    return f"COPY (SELECT {selected} FROM ({query}) AS found{parts}) TO STDOUT (FORMAT binary)"  # noqa: S608 - our own names


class ColumnReader:
    """The file that such a command writes to: gives the labels and the columns of each row to `take`, as soon as the
    row is there; a label that is NULL is None."""

    def __init__(self, take: Callable[..., object], labels: int = 0) -> None:
        self._take = take
        self._labels = labels
        self._is_first = True

    def write(self, message: bytes) -> int:
        """Take what one message of the protocol holds: a row, after the head or before the end.

        Raises ValueError where a column is shorter than others, since it has a NULL."""
        at, self._is_first = (_HEAD.size, False) if self._is_first else (0, False)
        (number,) = struct.unpack_from(">h", message, at)
        at, labels, found = at + 2, list[str | None](), list[Integers]()
        for field in range(number):  # -1 at the end
            (length,) = struct.unpack_from(">i", message, at)
            is_null, length, at = length < 0, max(length, 0), at + 4
            if field < self._labels:
                labels.append(None if is_null else message[at : at + length].decode())
            else:
                # without rows there is no aggregate: NULL, which has no length
                found.append(np.frombuffer(message, ">i8", length // 8, at).astype(np.int64))
            at += length
        if len({column.size for column in found}) > 1:
            raise ValueError("Columns of different length: one of them is NULL in some rows.")
        if found:
            self._take(*labels, found)
        return len(message)
