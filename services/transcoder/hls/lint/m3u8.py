"""Reads m3u8 text (RFC 8216) without judging it: lines, tags and attributes as they stand."""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

# a name begins after a comma or a space: else a line of a million letters takes a million searches of it
_ATTRIBUTE = re.compile(r'(?<![^,\s])([A-Z0-9-]+)=("[^"\r\n]*"|[^",\s][^,\s]*)(?:,|$)')


@dataclass(frozen=True, slots=True)
class Line:
    """One line that says something: a tag (`name` such as EXT-X-MAP), or a URI (`name` is empty)."""

    number: int
    name: str
    value: str

    @property
    def attributes(self) -> dict[str, str]:
        """The attribute list, without quotation marks."""
        return {key: value.strip('"') for key, value in _ATTRIBUTE.findall(self.value)}

    @property
    def well_formed(self) -> bool:
        """Whether the whole value is an attribute list that names nothing twice."""
        found = _ATTRIBUTE.findall(self.value)
        rebuilt = ",".join(f"{key}={value}" for key, value in found)
        return rebuilt == self.value and len({key for key, _ in found}) == len(found)


@dataclass(frozen=True, slots=True)
class Entry:
    """One media segment, or one picture of an I-frame playlist. `key` and `map` are the tags that hold for it."""

    line: int
    uri: str
    duration: Fraction | None
    range: tuple[int, int] | None
    discontinuity: bool
    key: Line | None
    map: Line | None


@dataclass(frozen=True)
class Playlist:
    """A playlist as it came. `uri` is where from."""

    uri: str
    text: str
    lines: list[Line] = field(default_factory=list)

    @classmethod
    def parse(cls, uri: str, text: str) -> "Playlist":
        return cls(uri, text, [_line(number, raw) for number, raw in enumerate(text.splitlines(), 1) if _says(raw)])

    def tags(self, name: str) -> list[Line]:
        return [line for line in self.lines if line.name == name]

    def number(self, name: str) -> int | None:
        """The value of the first tag `name`, where it is a number."""
        values = [line.value for line in self.tags(name)]
        return int(values[0]) if values and values[0].isdigit() else None

    @cached_property
    def is_master(self) -> bool:
        return any(line.name in ("EXT-X-STREAM-INF", "EXT-X-MEDIA", "EXT-X-I-FRAME-STREAM-INF") for line in self.lines)

    @cached_property
    def variants(self) -> list[tuple[Line, str | None]]:
        """Each EXT-X-STREAM-INF with the URI on the line after it."""
        found = []
        for line, after in zip(self.lines, [*self.lines[1:], None], strict=True):
            if line.name == "EXT-X-STREAM-INF":
                found.append((line, after.value if after is not None and not after.name else None))
        return found

    @cached_property
    def entries(self) -> list[Entry]:
        """The segments in order."""
        found: list[Entry] = []
        duration: Fraction | None = None
        span: tuple[int, int] | None = None
        cut, key, init = False, None, None
        ends: dict[str, int] = {}
        for line in self.lines:
            if line.name == "EXTINF":
                duration = _fraction(line.value.split(",")[0])
            elif line.name == "EXT-X-BYTERANGE":
                size, _, offset = line.value.partition("@")
                span = (int(offset) if offset else -1, int(size))
            elif line.name == "EXT-X-DISCONTINUITY":
                cut = True
            elif line.name == "EXT-X-KEY":
                key = None if line.attributes.get("METHOD") == "NONE" else line
            elif line.name == "EXT-X-MAP":
                init = line
            elif not line.name:
                if span and span[0] < 0:
                    span = (ends.get(line.value, 0), span[1])
                if span:
                    ends[line.value] = sum(span)
                found.append(Entry(line.number, line.value, duration, span, cut, key, init))
                duration, span, cut = None, None, False
        return found

    @property
    def duration(self) -> Fraction:
        return sum((entry.duration or Fraction(0) for entry in self.entries), Fraction(0))


def _says(raw: str) -> bool:
    return bool(raw.strip()) and (raw.startswith("#EXT") or not raw.startswith("#"))


def _line(number: int, raw: str) -> Line:
    if not raw.startswith("#"):
        return Line(number, "", raw.strip())
    name, _, value = raw[1:].partition(":")
    return Line(number, name, value)


def _fraction(text: str) -> Fraction | None:
    return Fraction(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None
