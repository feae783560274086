"""Joins IVF files: the frames of all, one after the other, under the first one's header."""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

_HEADER, _FRAME_HEADER = 32, 12


def join(files: Sequence[Path], target: Path) -> None:
    """Write the frames of `files` to `target`, numbered anew."""
    frames = [frame for file in files for frame in _frames(file.read_bytes())]
    header = bytearray(files[0].read_bytes()[:_HEADER])
    struct.pack_into("<I", header, 24, len(frames))
    body = b"".join(struct.pack("<IQ", len(frame), number) + frame for number, frame in enumerate(frames))
    target.write_bytes(bytes(header) + body)


def _frames(data: bytes) -> Iterator[bytes]:
    at = _HEADER
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        yield data[at + _FRAME_HEADER : at + _FRAME_HEADER + size]
        at += _FRAME_HEADER + size
