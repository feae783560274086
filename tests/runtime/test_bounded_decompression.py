"""An answer's body is decoded once, and never much further than its limit."""

import gzip

import pytest

from shared.runtime.bounded_decompression import ContentCodingError, decoded, unzipped

LIMIT = 1000


@pytest.mark.parametrize(("coding", "body"), [("", b"a"), ("identity", b"a"), ("GZIP", gzip.compress(b"a"))])
def test_a_body_is_what_was_meant(coding: str, body: bytes) -> None:
    assert b"".join(decoded(coding, iter([body[:1], body[1:]]), LIMIT)) == b"a"


def test_no_block_is_much_larger_than_the_limit() -> None:
    assert len(next(decoded("gzip", iter([gzip.compress(bytes(10_000_000))]), LIMIT))) == LIMIT + 1


@pytest.mark.parametrize("coding", ["gzip, gzip", "br", "deflate", "x" * 10_000])
def test_a_coding_that_was_not_asked_for_is_refused(coding: str) -> None:
    with pytest.raises(ContentCodingError, match="not asked for"):
        decoded(coding, iter([b""]), LIMIT)


def test_what_is_no_gzip_is_refused() -> None:
    with pytest.raises(ContentCodingError, match="not the gzip"):
        list(decoded("gzip", iter([b"no gzip at all"]), LIMIT))


def test_a_whole_body_is_unpacked_within_its_limit() -> None:
    assert unzipped(gzip.compress(bytes(LIMIT)), LIMIT) == bytes(LIMIT)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (gzip.compress(bytes(LIMIT + 1)), "more than 1000 bytes"),
        (gzip.compress(bytes(10_000_000)), "more than 1000 bytes"),
        (gzip.compress(b"a")[:-1], "cut off"),
        (b"", "cut off"),
        (b"\x1f\x8bno gzip", "not the gzip"),
    ],
)
def test_a_whole_body_that_is_larger_or_damaged_is_refused(body: bytes, fault: str) -> None:
    with pytest.raises(ContentCodingError, match=fault):
        unzipped(body, LIMIT)
