"""Columns of whole numbers, each as one piece of bytes: no row is made an object of, and none is sent on its own.

PostgreSQL puts a column together with string_agg, and COPY sends it as it is (its manual has the format under COPY,
File Formats, Binary Format), where a query's result would be written and read as text.
"""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

#: Signature, flags, and the length of an extension, which there is none of; then the number of fields.
_HEAD = struct.Struct(">11s i i h")


def copy_columns(query: str, names: Sequence[str]) -> str:
    """The command that copies these columns, which have to be bigint, of a query's result."""
    packed = ", ".join(f"string_agg(int8send({name}), '')" for name in names)
    return f"COPY (SELECT {packed} FROM ({query}) AS found) TO STDOUT (FORMAT binary)"  # noqa: S608 - our own names


def read_columns(copied: bytes) -> list[Integers]:
    """What such a command sent. Raises ValueError where a column is shorter than others, since it has a NULL."""
    *_, number = _HEAD.unpack_from(copied)
    found, at = [], _HEAD.size
    for _ in range(number):
        (length,) = struct.unpack_from(">i", copied, at)
        # without rows there is no aggregate: NULL, which has no length
        length, at = max(length, 0), at + 4
        found.append(np.frombuffer(copied, ">i8", length // 8, at).astype(np.int64))
        at += length
    if len({column.size for column in found}) > 1:
        raise ValueError("Columns of different length: one of them is NULL in some rows.")
    return found
