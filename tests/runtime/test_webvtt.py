"""Captions as teachers send them: WebVTT and SubRip of every sort become one plain WebVTT."""

import pytest

from shared.runtime.webvtt import CaptionsError, Cue, parse_captions, write_captions

SUBRIP = (
    "1\r\n00:00:01,5 --> 00:00:03,000\r\n<font color=red>مرحبا</font> & <i>x</i>\r\nسطر\r\n\r\n"
    "2\n0:00:05,000 --> 00:00:08,000\n{\\an8}b --> c, 1 < 2\n"
)
CUES = [Cue(1500, 3000, "مرحبا &amp; <i>x</i>\nسطر"), Cue(5000, 8000, "b --&gt; c, 1 &lt; 2")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_subrip_becomes_webvtt(encoding: str) -> None:
    assert parse_captions(SUBRIP.encode(encoding)) == CUES


def test_webvtt_keeps_places_and_loses_notes_and_styles() -> None:
    given = (
        "WEBVTT - Optics\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE by nobody\n\n"
        "second\n01:00:05.000 --> 01:00:08.000 line:0 align:start onclick:x\n<v Amina>Bonjour\n\n"
        "00:01.000 --> 00:02.000\nA &amp; B\n"
    )

    cues = parse_captions(given.encode())

    assert cues == [Cue(1000, 2000, "A &amp; B"), Cue(3605000, 3608000, "<v Amina>Bonjour", "line:0 align:start")]
    # and what is written is read as the same
    assert parse_captions(write_captions(cues).encode()) == cues


@pytest.mark.parametrize(
    ("body", "reported"),
    [
        (b"", "no caption"),
        (b"WEBVTT\n", "no caption"),
        (b"<html>no captions</html>", "has no line with a time"),
        (b"1\n00:00:03,000 --> 00:00:01,000\nx", "ends before it starts"),
        (b"1\n00:00:03 --> 00:00:04\nx", "has no time"),
        ("1\n00:00:01,000 --> 00:00:02,000\né".encode("latin-1"), "UTF-8"),
        (b"WEBVTT\n\n" + b"00:01.000 --> 00:02.000\nx\n\n" * 20_001, "at most 20000"),
    ],
)
def test_what_is_neither_is_refused_with_a_sentence(body: bytes, reported: str) -> None:
    with pytest.raises(CaptionsError, match=reported):
        parse_captions(body)
