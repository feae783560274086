"""Patches pika's decoder of AMQP headers: it skips an instant beyond the year 9999, or tables without end.

RabbitMQ lets every user that may publish at all write any header. pika raises on such a one while it reads from the
socket, so the connection ends; the message comes again on the next one, and once it is dead, no dead letter of its
queue can be collected any more.
"""

import struct
from typing import Any, Final

import pika.data

#: Bytes of a value after its kind; of the others the four bytes in front say how many follow.
_FIXED_BYTES: Final = {b"T": 8}
_COUNTED: Final = (b"F", b"A")

_decode_value = pika.data.decode_value


def install() -> None:
    """Have this process's pika read None for a value that it cannot decode, and go on with the next."""
    pika.data.decode_value = _decode_or_skip


def _decode_or_skip(encoded: bytes, offset: int) -> tuple[Any, int]:
    try:
        value, end = _decode_value(encoded, offset)
        return value, int(end)
    except (ValueError, OverflowError, OSError, RecursionError):
        kind, begin = encoded[offset : offset + 1], offset + 1
        if kind in _FIXED_BYTES:
            return None, begin + _FIXED_BYTES[kind]
        if kind in _COUNTED:
            return None, begin + 4 + int(struct.unpack_from(">I", encoded, begin)[0])
        raise
