"""Rules on the master playlist."""

from collections import Counter
from collections.abc import Iterator

from services.transcoder.hls.lint.m3u8 import Line
from services.transcoder.hls.lint.presentation import Presentation
from services.transcoder.hls.lint.rules import must, should

#: Media tags that a master playlist may not have (RFC 8216, 4.3.2 and 4.3.3).
MEDIA_TAGS = {
    "EXTINF", "EXT-X-BYTERANGE", "EXT-X-DISCONTINUITY", "EXT-X-KEY", "EXT-X-MAP", "EXT-X-PROGRAM-DATE-TIME",
    "EXT-X-DATERANGE", "EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-ENDLIST", "EXT-X-PLAYLIST-TYPE", "EXT-X-I-FRAMES-ONLY",
}  # fmt: skip
#: A source whose short side is below this has one rendition: nothing smaller is worth having.
TINY_SIDE = 264


@must("RFC 8216 4.3.1.1", "A playlist begins with #EXTM3U")
def begins(lesson: Presentation) -> Iterator[str]:
    for playlist in [lesson.master, *(media.playlist for media in lesson.all_media)]:
        if not playlist.text.startswith("#EXTM3U"):
            yield f"{playlist.uri} begins with {playlist.text[:20]!r}"


@must("RFC 8216 4.1", "A playlist is UTF-8 without a byte order mark or control characters")
def clean_text(lesson: Presentation) -> Iterator[str]:
    for playlist in [lesson.master, *(media.playlist for media in lesson.all_media)]:
        if "\ufffd" in playlist.text or "\ufeff" in playlist.text:
            yield f"{playlist.uri} is not clean UTF-8"
        if any((ord(c) < 32 and c not in "\r\n") or 127 <= ord(c) < 160 for c in playlist.text):
            yield f"{playlist.uri} has control characters"


@must("RFC 8216 4.3.4", "The first playlist is a master playlist")
def is_master(lesson: Presentation) -> Iterator[str]:
    if not lesson.master.variants:
        yield "it names no variant (EXT-X-STREAM-INF)"


@must("RFC 8216 4.1", "A master playlist has no tags of media playlists")
def no_media_tags(lesson: Presentation) -> Iterator[str]:
    for line in lesson.master.lines:
        if line.name in MEDIA_TAGS:
            yield f"line {line.number}: {line.name}"


@must("RFC 8216 4.3.1.2", "EXT-X-VERSION stands at most once")
def one_version(lesson: Presentation) -> Iterator[str]:
    for playlist in [lesson.master, *(media.playlist for media in lesson.all_media)]:
        if len(playlist.tags("EXT-X-VERSION")) > 1:
            yield playlist.uri


@must("RFC 8216 4.2", "Attribute lists are well formed and name nothing twice")
def well_formed(lesson: Presentation) -> Iterator[str]:
    named = ("EXT-X-MEDIA", "EXT-X-STREAM-INF", "EXT-X-I-FRAME-STREAM-INF", "EXT-X-KEY", "EXT-X-MAP")
    for playlist in [lesson.master, *(media.playlist for media in lesson.all_media)]:
        for line in playlist.lines:
            if line.name in named and not line.well_formed:
                yield f"{playlist.uri} line {line.number}: {line.value}"


@must("RFC 8216 4.3.4.2", "Each variant is followed by its URI")
def variant_uri(lesson: Presentation) -> Iterator[str]:
    for line, uri in lesson.master.variants:
        if uri is None:
            yield f"line {line.number}"


@must("RFC 8216 4.3.4.2", "Each variant has a decimal BANDWIDTH")
def bandwidth(lesson: Presentation) -> Iterator[str]:
    yield from _lacking(_streams(lesson), "BANDWIDTH")
    for line in _streams(lesson):
        if not line.attributes.get("BANDWIDTH", "0").isdigit():
            yield f"line {line.number}: {line.attributes['BANDWIDTH']}"


@must("Apple 9.14", "Each variant has AVERAGE-BANDWIDTH")
def average_bandwidth(lesson: Presentation) -> Iterator[str]:
    yield from _lacking(lesson.master.tags("EXT-X-STREAM-INF"), "AVERAGE-BANDWIDTH")


@must("RFC 8216bis 4.4.6.2", "AVERAGE-BANDWIDTH is not above BANDWIDTH")
def average_below_peak(lesson: Presentation) -> Iterator[str]:
    for line in _streams(lesson):
        declared = line.attributes
        if int(declared.get("AVERAGE-BANDWIDTH", 0)) > int(declared.get("BANDWIDTH", 0)):
            yield f"line {line.number}: {declared['AVERAGE-BANDWIDTH']} above {declared.get('BANDWIDTH')}"


@must("Apple 9.1", "Each variant has CODECS")
def codecs(lesson: Presentation) -> Iterator[str]:
    yield from _lacking(lesson.master.tags("EXT-X-STREAM-INF"), "CODECS")


@must("Apple 9.2", "Each variant with a picture has RESOLUTION")
def resolution(lesson: Presentation) -> Iterator[str]:
    yield from _lacking([variant.line for variant in lesson.pictures], "RESOLUTION")


@must("Apple 9.15", "Each variant with a picture has FRAME-RATE")
def frame_rate(lesson: Presentation) -> Iterator[str]:
    yield from _lacking([variant.line for variant in lesson.pictures], "FRAME-RATE")


@must("Apple 9.3", "Each I-frame variant has CODECS")
def iframe_codecs(lesson: Presentation) -> Iterator[str]:
    yield from _lacking(lesson.master.tags("EXT-X-I-FRAME-STREAM-INF"), "CODECS")


@must("Apple 9.4", "Each I-frame variant has RESOLUTION")
def iframe_resolution(lesson: Presentation) -> Iterator[str]:
    yield from _lacking(lesson.master.tags("EXT-X-I-FRAME-STREAM-INF"), "RESOLUTION")


@must("RFC 8216 4.3.4.3", "Each I-frame variant has a URI")
def iframe_uri(lesson: Presentation) -> Iterator[str]:
    yield from _lacking(lesson.master.tags("EXT-X-I-FRAME-STREAM-INF"), "URI")


@must("Apple 6.1", "There are I-frame playlists for scanning")
def iframes_present(lesson: Presentation) -> Iterator[str]:
    if lesson.pictures and not lesson.iframes:
        yield "no EXT-X-I-FRAME-STREAM-INF"


@must("Apple 9.9", "A picture comes in several bit rates, unless it is tiny")
def several_rates(lesson: Presentation) -> Iterator[str]:
    largest = max((min(variant.size) for variant in lesson.pictures), default=0)
    if len(lesson.pictures) == 1 and largest >= TINY_SIDE:
        yield f"one variant with a short side of {largest}"


@should("Apple 9.10", "A picture in HD has two variants at its largest size")
def two_at_top(lesson: Presentation) -> Iterator[str]:
    sizes = Counter(variant.size for variant in lesson.pictures)
    if sizes and min(largest := max(sizes)) >= 1080 and sizes[largest] < 2:
        yield f"one variant of {largest[0]} x {largest[1]}"


@must("Apple 9.12", "EXT-X-INDEPENDENT-SEGMENTS stands in the master or in every picture's playlist")
def independent(lesson: Presentation) -> Iterator[str]:
    if not lesson.master.tags("EXT-X-INDEPENDENT-SEGMENTS"):
        for variant in lesson.pictures:
            if not variant.media.playlist.tags("EXT-X-INDEPENDENT-SEGMENTS"):
                yield variant.media.name


@must("Apple 9.16", "VIDEO-RANGE is declared by all variants where one is not SDR, and has a known value")
def video_range(lesson: Presentation) -> Iterator[str]:
    ranges = [variant.attributes.get("VIDEO-RANGE") for variant in lesson.pictures]
    if any(declared not in (None, "SDR", "HLG", "PQ") for declared in ranges):
        yield f"unknown among {ranges}"
    if None in ranges and set(ranges) - {None, "SDR"}:
        yield "some variants do not say"


@must("Apple 1.24", "There are variants for ordinary (SDR) screens")
def sdr_present(lesson: Presentation) -> Iterator[str]:
    ranges = {variant.attributes.get("VIDEO-RANGE", "SDR") for variant in lesson.pictures}
    if ranges and "SDR" not in ranges:
        yield f"only {sorted(ranges)}"


@should("Apple 1.33", "All variants have the same shape, to a pixel")
def same_shape(lesson: Presentation) -> Iterator[str]:
    sizes = [variant.size for variant in lesson.pictures if all(variant.size)]
    for width, height in sizes[1:]:
        wide, high = max(sizes)
        # sizes are even, so each side may be a pixel off
        if abs(width * high - wide * height) > max(wide, high) + max(width, height):
            yield f"{width} x {height} beside {wide} x {high}"


@should("Apple 1.32", "The first variant has about 2000 kbit/s where there is such a one")
def first_choice(lesson: Presentation) -> Iterator[str]:
    rates = [int(variant.attributes.get("BANDWIDTH", 0)) for variant in lesson.pictures]
    if rates and abs(rates[0] - 2_000_000) > min(abs(rate - 2_000_000) for rate in rates):
        yield f"it has {rates[0] / 1000:.0f} kbit/s, though another is closer"


@should("Nouba", "No two variants are the same")
def no_double(lesson: Presentation) -> Iterator[str]:
    for uri, count in Counter(variant.media.name for variant in lesson.variants).items():
        if count > 1:
            yield f"{uri} stands {count} times"


def _streams(lesson: Presentation) -> list[Line]:
    return lesson.master.tags("EXT-X-STREAM-INF") + lesson.master.tags("EXT-X-I-FRAME-STREAM-INF")


def _lacking(lines: list[Line], attribute: str) -> Iterator[str]:
    for line in lines:
        if attribute not in line.attributes:
            yield f"line {line.number} has no {attribute}"
