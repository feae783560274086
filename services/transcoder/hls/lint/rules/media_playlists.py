"""Rules on media playlists, as text."""

import itertools
import re
from collections.abc import Iterator
from fractions import Fraction

from services.transcoder.hls.lint.presentation import Media, Presentation
from services.transcoder.hls.lint.rules import must, should

_MASTER_TAGS = {
    "EXT-X-MEDIA",
    "EXT-X-STREAM-INF",
    "EXT-X-I-FRAME-STREAM-INF",
    "EXT-X-SESSION-DATA",
    "EXT-X-SESSION-KEY",
}


@must("RFC 8216 4.3.3.1", "A media playlist has one EXT-X-TARGETDURATION")
def target_declared(lesson: Presentation) -> Iterator[str]:
    for media in lesson.all_media:
        if (
            len(media.playlist.tags("EXT-X-TARGETDURATION")) != 1
            or media.playlist.number("EXT-X-TARGETDURATION") is None
        ):
            yield media.name


@must("RFC 8216 4.3.3.1", "No segment, rounded, is longer than the target duration")
def within_target(lesson: Presentation) -> Iterator[str]:
    for media, target in _targets(lesson):
        for entry in media.playlist.entries:
            if entry.duration is not None and int(entry.duration + Fraction(1, 2)) > target:
                yield f"{media.name}: {entry.uri} lasts {float(entry.duration):.3f} s, the target is {target}"


@must("RFC 8216 4.3.2.1", "Each segment has an EXTINF")
def durations_declared(lesson: Presentation) -> Iterator[str]:
    for media in lesson.all_media:
        for entry in media.playlist.entries:
            if not entry.duration:
                yield f"{media.name} line {entry.line}"


@must("RFC 8216 4.3.3", "A media playlist names segments")
def not_empty(lesson: Presentation) -> Iterator[str]:
    for media in lesson.all_media:
        if not media.playlist.entries:
            yield media.name


@must("RFC 8216 4.3.3.4", "A lesson on demand ends with EXT-X-ENDLIST")
def ended(lesson: Presentation) -> Iterator[str]:
    for media in lesson.all_media:
        if not media.playlist.tags("EXT-X-ENDLIST"):
            yield media.name


@must("Apple 8.6", "A lesson on demand says EXT-X-PLAYLIST-TYPE:VOD")
def on_demand(lesson: Presentation) -> Iterator[str]:
    for media in lesson.all_media:
        if [line.value for line in media.playlist.tags("EXT-X-PLAYLIST-TYPE")] != ["VOD"]:
            yield media.name


@must("RFC 8216 4.1", "A media playlist has no tags of master playlists")
def no_master_tags(lesson: Presentation) -> Iterator[str]:
    for media in lesson.all_media:
        for line in media.playlist.lines:
            if line.name in _MASTER_TAGS:
                yield f"{media.name} line {line.number}: {line.name}"


@must("RFC 8216 4.3.3.2", "EXT-X-MEDIA-SEQUENCE stands before the first segment, once")
def sequence_first(lesson: Presentation) -> Iterator[str]:
    for media in lesson.all_media:
        lines = media.playlist.tags("EXT-X-MEDIA-SEQUENCE")
        first = media.playlist.entries[0].line if media.playlist.entries else 0
        if len(lines) > 1 or any(line.number > first for line in lines):
            yield media.name


@must("Apple 8.20", "Fragmented MP4 has an EXT-X-MAP before its segments")
def map_present(lesson: Presentation) -> Iterator[str]:
    for media in lesson.all_media:
        for entry in media.playlist.entries:
            if entry.map is None and re.search(r"\.(m4s|mp4|m4v|m4a|cmf[va])$", entry.uri.partition("?")[0]):
                yield f"{media.name} line {entry.line}"
                break


@must("RFC 8216 7", "The version is as high as the tags need")
def version_suffices(lesson: Presentation) -> Iterator[str]:
    for media in lesson.all_media:
        playlist, needed = media.playlist, 1
        scanning = bool(playlist.tags("EXT-X-I-FRAMES-ONLY"))
        if any("." in line.value.split(",")[0] for line in playlist.tags("EXTINF")):
            needed = 3
        if playlist.tags("EXT-X-BYTERANGE") or scanning:
            needed = 4
        if playlist.tags("EXT-X-MAP"):
            needed = 5 if scanning else 6
        if (playlist.number("EXT-X-VERSION") or 1) < needed:
            yield f"{media.name} needs {needed}"


@must("Apple 8.2", "Sound and picture have the same target duration")
def same_target(lesson: Presentation) -> Iterator[str]:
    targets = {media.playlist.number("EXT-X-TARGETDURATION") for media in lesson.regular}
    if len(targets) > 1:
        yield f"{sorted(str(target) for target in targets)}"


@must("Apple 8.3", "Sound and picture last equally long")
def same_length(lesson: Presentation) -> Iterator[str]:
    lengths = {media.name: media.playlist.duration for media in lesson.regular}
    # a packet of AAC and a picture at 24 frames a second
    if lengths and max(lengths.values()) - min(lengths.values()) > Fraction(1, 10):
        yield ", ".join(f"{name}: {float(length):.3f} s" for name, length in lengths.items())


@must("Apple 8.15", "All renditions have the same discontinuities")
def same_discontinuities(lesson: Presentation) -> Iterator[str]:
    counts = {media.name: sum(entry.discontinuity for entry in media.playlist.entries) for media in lesson.regular}
    if len(set(counts.values())) > 1:
        yield str(counts)


@should("Apple 8.22", "All renditions are cut at the same times")
def same_cuts(lesson: Presentation) -> Iterator[str]:
    medias = list(lesson.regular)
    if not medias:
        return
    first = list(itertools.accumulate(medias[0].durations))
    for media in medias[1:]:
        cuts = list(itertools.accumulate(media.durations))
        if len(cuts) != len(first) or any(abs(a - b) > Fraction(1, 10) for a, b in zip(cuts, first, strict=True)):
            yield f"{media.name} beside {medias[0].name}"


@should("Apple 7.5", "The target duration is 6 s")
def six_seconds(lesson: Presentation) -> Iterator[str]:
    for media in lesson.regular:
        target = media.playlist.number("EXT-X-TARGETDURATION")
        if target != 6 and media.playlist.duration > 6:
            yield f"{media.name}: {target}"


@must("Apple 6.8", "Playlists for scanning say EXT-X-I-FRAMES-ONLY, others do not")
def iframes_only(lesson: Presentation) -> Iterator[str]:
    for _, media in lesson.iframes:
        if not media.playlist.tags("EXT-X-I-FRAMES-ONLY"):
            yield media.name
    for media in lesson.regular:
        if media.playlist.tags("EXT-X-I-FRAMES-ONLY"):
            yield media.name


@must("Apple 8.7", "Playlists for scanning cover the whole lesson")
def iframes_cover(lesson: Presentation) -> Iterator[str]:
    longest = max((variant.media.playlist.duration for variant in lesson.pictures), default=Fraction(0))
    for _, media in lesson.iframes:
        if abs(media.playlist.duration - longest) > Fraction(1, 10):
            yield f"{media.name} lasts {float(media.playlist.duration):.3f} of {float(longest):.3f} s"


@should("Apple 6.2", "Playlists for scanning have a picture at least every 2 s")
def dense_iframes(lesson: Presentation) -> Iterator[str]:
    for _, media in lesson.iframes:
        longest = max(media.durations, default=Fraction(0))
        if longest > Fraction(22, 10):
            yield f"{media.name} has one after {float(longest):.2f} s"


@must("RFC 8216 4.3.2.4", "An encrypted initialisation has an IV")
def init_iv(lesson: Presentation) -> Iterator[str]:
    for media in lesson.all_media:
        for init in media.playlist.tags("EXT-X-MAP"):
            before = [line for line in media.playlist.tags("EXT-X-KEY") if line.number < init.number]
            if before and before[-1].attributes.get("METHOD") == "AES-128" and "IV" not in before[-1].attributes:
                yield f"{media.name} line {before[-1].number}"


@must("Apple 13.11", "Keys are AES-128 or SAMPLE-AES, and have a URI")
def key_method(lesson: Presentation) -> Iterator[str]:
    for media in lesson.all_media:
        for line in media.playlist.tags("EXT-X-KEY"):
            method = line.attributes.get("METHOD")
            if method not in ("NONE", "AES-128", "SAMPLE-AES") or (method != "NONE" and "URI" not in line.attributes):
                yield f"{media.name} line {line.number}: {line.value}"


@must("RFC 8216 4.3.2.2", "Ranges lie inside their files, and no file without a range stands twice")
def ranges_inside(lesson: Presentation) -> Iterator[str]:
    for media in lesson.all_media:
        seen: set[str] = set()
        for entry in media.playlist.entries:
            if entry.range and sum(entry.range) > len(media.fetch(entry.uri).data):
                yield f"{media.name} line {entry.line} ends after its file"
            if not entry.range and entry.uri in seen:
                yield f"{media.name}: {entry.uri} stands twice"
            seen.add(entry.uri)


@should("Apple 11.4", "Addresses of segments reveal no titles")
def silent_names(lesson: Presentation) -> Iterator[str]:
    for media in lesson.regular:
        for entry in media.playlist.entries:
            name = entry.uri.partition("?")[0].rpartition("/")[2]
            if not re.fullmatch(r"[a-z]{0,7}[-_]?[0-9a-f-]*\.[a-z0-9]+", name):
                yield f"{media.name}: {name}"
                break


def _targets(lesson: Presentation) -> Iterator[tuple[Media, int]]:
    for media in lesson.all_media:
        target = media.playlist.number("EXT-X-TARGETDURATION")
        if target is not None:
            yield media, target
