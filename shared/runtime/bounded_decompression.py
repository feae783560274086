"""Decompresses the body of an HTTP answer, never much further than a limit.

An HTTP client that decodes by itself does it without one: 590 bytes of `gzip, gzip` became 500 MB of memory.
"""

import zlib
from collections.abc import Iterator


class ContentCodingError(ValueError):
    """The answer has a coding that was not asked for, or is not in the one that it names."""


def decoded(coding: str, blocks: Iterator[bytes], limit_bytes: int) -> Iterator[bytes]:
    """The blocks of an answer whose `Content-Encoding` is `coding`: gzip once, or none.

    No block is larger than `limit_bytes` and one, so that the caller sees when the limit is passed. Raises
    ContentCodingError.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return blocks
    if name not in ("gzip", "x-gzip"):
        raise ContentCodingError(f"it is sent as {name[:40]}, which was not asked for")
    return _unzipped(blocks, limit_bytes)


def _unzipped(blocks: Iterator[bytes], limit_bytes: int) -> Iterator[bytes]:
    unzip = zlib.decompressobj(wbits=31)
    for block in blocks:
        try:
            yield unzip.decompress(block, limit_bytes + 1)
        except zlib.error:
            raise ContentCodingError("it is not the gzip that it says it is") from None


def unzipped(body: bytes, limit_bytes: int) -> bytes:
    """What is gzipped in `body`. Raises ContentCodingError, also where it has more than `limit_bytes`."""
    unzip = zlib.decompressobj(wbits=31)
    try:
        data = unzip.decompress(body, limit_bytes + 1)
    except zlib.error:
        raise ContentCodingError("it is not the gzip that it says it is") from None
    if len(data) > limit_bytes:
        raise ContentCodingError(f"it unpacks to more than {limit_bytes} bytes")
    if not unzip.eof:
        raise ContentCodingError("it is cut off")
    return data
