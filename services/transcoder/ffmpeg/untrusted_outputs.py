"""Reads files that a confined ffmpeg wrote: regular, bounded, of the expected format.

A decoder that a hostile upload has taken over can leave anything in its folder: a link to the worker's own
`/proc/self/environ`, a FIFO that blocks its reader, a file without end. The sandbox forbids links and FIFOs;
this module does not rely on it.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from services.transcoder.errors import WrongOutputError


@dataclass(frozen=True, slots=True)
class Format:
    """What a file of one kind begins with, `offset` bytes from its start, and how large it can be."""

    name: str
    magic: tuple[bytes, ...]
    offset: int
    max_bytes: int


JPEG = Format("JPEG picture", (b"\xff\xd8\xff",), 0, 32 << 20)
INITIALISATION = Format("MP4 initialisation", (b"ftyp",), 4, 1 << 20)
#: Ten seconds of a source that is copied as it is, at many times its average bit rate.
SEGMENT = Format("MP4 segment", (b"styp", b"moof", b"sidx", b"ftyp"), 4, 256 << 20)
#: A whole upload in another container; ffmpeg's own file limit bounds it.
MATROSKA = Format("Matroska file", (b"\x1a\x45\xdf\xa3",), 0, 1 << 62)
SUBRIP = Format("SubRip file", (b"1\n", b"1\r\n"), 0, 4 << 20)
TRANSPORT_STREAM = Format("transport stream", (b"\x47",), 0, 1 << 62)


def read_output(path: Path, expected: Format) -> bytes:
    """The bytes of `path`. Raises WrongOutputError where it is absent or not what ffmpeg writes."""
    with _open_regular(path) as file:
        _check(path, os.fstat(file.fileno()), expected)
        # a file that grows while it is read is cut here and refused
        data = file.read(expected.max_bytes + 1)
    if len(data) > expected.max_bytes:
        raise _wrong(path, expected, f"larger than {expected.max_bytes} bytes")
    if not data.startswith(expected.magic, expected.offset):
        raise _wrong(path, expected, "of another format")
    return data


def check_output(path: Path, expected: Format) -> None:
    """Raises WrongOutputError where `path`, a file too large to read at once, is not what ffmpeg writes."""
    with _open_regular(path) as file:
        _check(path, os.fstat(file.fileno()), expected)
        head = file.read(expected.offset + 16)
    if not head.startswith(expected.magic, expected.offset):
        raise _wrong(path, expected, "of another format")


def read_regular(path: Path) -> bytes:
    """The bytes of a file of our own scratch folder, which may be anything but a link or a device."""
    with _open_regular(path) as file:
        return file.read()


def _open_regular(path: Path) -> BinaryIO:
    # O_NONBLOCK: opening a FIFO without it waits for a writer
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError as error:
        raise WrongOutputError(f"ffmpeg ended without an error, but did not write {path.name}.") from error
    except OSError as error:
        # ELOOP is a link, ENXIO a socket, EACCES a file whose rights were taken away
        raise WrongOutputError(f"ffmpeg left {path.name}, which cannot be opened ({error.strerror}).") from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise WrongOutputError(f"ffmpeg left {path.name}, which is no regular file.")
    return os.fdopen(number, "rb")


def _check(path: Path, found: os.stat_result, expected: Format) -> None:
    if found.st_nlink != 1:
        raise _wrong(path, expected, "another name of a file")
    if found.st_size > expected.max_bytes:
        raise _wrong(path, expected, f"larger than {expected.max_bytes} bytes")


def _wrong(path: Path, expected: Format, what: str) -> WrongOutputError:
    return WrongOutputError(f"ffmpeg left {path.name}, which is {what}: no {expected.name}.")
