"""Reads WebVTT and SubRip captions, and writes them as plain WebVTT: cues in order, one text form. Pure."""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_CUES = 20_000
MAX_MS = 24 * 3600 * 1000

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:[ \t]+(.*))?\s*")
#: Settings of a cue's place, of which nothing else is kept.
_SETTING = re.compile(
    r"(?:vertical:(?:rl|lr)|(?:line|position|size):[0-9.,%a-z-]{1,24}|align:(?:start|center|end|left|right))"
)
#: SubRip has tags of its own; those that WebVTT knows stay.
_FOREIGN_TAG = re.compile(r"<(?!/?(?:b|i|u)>)[^<>\n]{0,200}>|\{\\[^{}\n]{0,200}\}")
_BARE_LESS_THAN = re.compile(r"<(?!/?(?:b|i|u)>)")
_BARE_AMPERSAND = re.compile(r"&(?!(?:[a-zA-Z]{2,8}|#\d{1,7}|#x[0-9a-fA-F]{1,6});)")


class CaptionsError(ValueError):
    """The body is neither WebVTT nor SubRip; the message says what is wrong, and where."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption."""

    start_ms: int
    end_ms: int
    text: str
    settings: str = ""


def parse_captions(body: bytes) -> list[Cue]:
    """The cues of a WebVTT or SubRip file, by their start. Raises CaptionsError."""
    text = _decode(body).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    is_webvtt = re.match(r"WEBVTT(?:[ \t\n]|$)", text) is not None
    cues = []
    for number, block in enumerate(re.split(r"\n{2,}", text.strip("\n")), 1):
        lines = block.split("\n")
        at = next((place for place, line in enumerate(lines[:2]) if "-->" in line), None)
        if at is None:
            if is_webvtt or not block.strip():
                # a header, a note, a style
                continue
            raise CaptionsError(f"Block {number} has no line with a time such as 00:00:01,000 --> 00:00:03,000.")
        cues.append(_cue(lines[at], "\n".join(lines[at + 1 :]), number, is_webvtt=is_webvtt))
    cues = [cue for cue in cues if cue.text]
    if not cues:
        raise CaptionsError("There is no caption in it; send WebVTT or SubRip (SRT).")
    if len(cues) > MAX_CUES:
        raise CaptionsError(f"There are {len(cues)} captions; at most {MAX_CUES} are taken.")
    return sorted(cues, key=lambda cue: (cue.start_ms, cue.end_ms))


def write_captions(cues: Sequence[Cue], header: str = "") -> str:
    """WebVTT; `header` is more lines of its head."""
    head = f"WEBVTT\n{header}\n" if header else "WEBVTT\n"
    return head + "".join(
        f"\n{_clock(cue.start_ms)} --> {_clock(cue.end_ms)}{' ' + cue.settings if cue.settings else ''}\n{cue.text}\n"
        for cue in cues
    )


def _decode(body: bytes) -> str:
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
    try:
        return body.decode(encoding)
    except UnicodeDecodeError:
        raise CaptionsError("The text is not UTF-8; save the file as UTF-8.") from None


def _cue(timing: str, text: str, number: int, *, is_webvtt: bool) -> Cue:
    found = _TIMING.fullmatch(timing)
    if found is None:
        raise CaptionsError(f"Block {number} has no time such as 00:00:01.000 --> 00:00:03.000.")
    start, end = _ms(found.groups()[:4]), _ms(found.groups()[4:8])
    if not start < end <= MAX_MS:
        raise CaptionsError(f"Block {number} ends before it starts, or after 24 hours.")
    settings = " ".join(word for word in (found[9] or "").split() if _SETTING.fullmatch(word)) if is_webvtt else ""
    if not is_webvtt:
        text = _FOREIGN_TAG.sub("", text)
        text = _BARE_LESS_THAN.sub("&lt;", _BARE_AMPERSAND.sub("&amp;", text))
    # no line of a cue's text may resemble a time
    text = "\n".join(line.strip() for line in text.replace("-->", "--&gt;").split("\n") if line.strip())
    return Cue(start, end, text, settings)


def _ms(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, fraction = parts
    whole = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return whole * 1000 + int((fraction or "0").ljust(3, "0"))


def _clock(ms: int) -> str:
    seconds, rest = divmod(ms, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"
