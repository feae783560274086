"""Trims an MP4 as phones do: the samples stay, the edit lists of all tracks say which part is played."""

import struct
from collections.abc import Iterator
from pathlib import Path

_CONTAINERS = {b"moov", b"trak", b"mdia", b"edts"}


def trim(film: Path, target: Path, start: float, seconds: float | None = None) -> None:
    """Write `film` to `target` so that it plays `seconds` from `start`; without `seconds` up to its end."""
    data = bytearray(film.read_bytes())
    movie = next(at for kind, at in _boxes(data, 0, len(data)) if kind == b"mvhd")
    scale, whole = struct.unpack_from(">II", data, movie + 12)
    lasts = round(seconds * scale) if seconds is not None else whole - round(start * scale)
    tracks: list[int] = []
    for kind, at in _boxes(data, 0, len(data)):
        if kind == b"elst":
            tracks.append(at)
        elif kind == b"mdhd":
            (ticks,) = struct.unpack_from(">I", data, at + 12)
            _rewrite(data, tracks[-1], round(start * ticks), lasts)
        elif kind == b"tkhd":
            struct.pack_into(">I", data, at + 20, lasts)
    struct.pack_into(">I", data, movie + 16, lasts)
    target.write_bytes(data)


def _rewrite(data: bytearray, at: int, later: int, lasts: int) -> None:
    count = struct.unpack_from(">I", data, at + 4)[0]
    assert count == 1, "ffmpeg writes one entry for tracks that start together"
    (media_time,) = struct.unpack_from(">i", data, at + 12)
    struct.pack_into(">Ii", data, at + 8, lasts, media_time + later)


def _boxes(data: bytearray, start: int, end: int) -> Iterator[tuple[bytes, int]]:
    """The kind of each box below `moov`, and where its content begins."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        size = size or end - start
        yield bytes(kind), start + 8
        if kind in _CONTAINERS:
            yield from _boxes(data, start + 8, start + size)
        start += size
