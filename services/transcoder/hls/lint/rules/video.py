"""Rules on the picture's bytes: codec, size, rate, key frames."""

import itertools
from collections.abc import Iterator

from services.transcoder.hls.idr_check import starts_with_idr
from services.transcoder.hls.lint.presentation import Media, Presentation, Variant
from services.transcoder.hls.lint.rules import must, should
from services.transcoder.hls.mp4 import Track, displayed_size
from services.transcoder.planning.frame_rate import STANDARD

#: H.264 table A-1: level, macroblocks a second, macroblocks a picture.
_LEVELS = (
    (10, 1485, 99), (11, 3000, 396), (12, 6000, 396), (13, 11880, 396), (20, 11880, 396), (21, 19800, 792),
    (22, 20250, 1620), (30, 40500, 1620), (31, 108000, 3600), (32, 216000, 5120), (40, 245760, 8192),
    (42, 522240, 8704), (50, 589824, 22080), (51, 983040, 36864), (52, 2073600, 36864),
)  # fmt: skip


@must("Apple 1.1", "The picture is H.264, in fragmented MP4")
def is_h264(lesson: Presentation) -> Iterator[str]:
    for variant, track in _tracks(lesson):
        if not track.codec.startswith("avc"):
            yield f"{variant.media.name} is {track.codec}"


@should("Apple 1.10", "Parameter sets stand in the sample entry (avc1)")
def avc1(lesson: Presentation) -> Iterator[str]:
    for variant, track in _tracks(lesson):
        if track.codec.startswith("avc3"):
            yield variant.media.name


@must("Apple 1.3b", "No variant is above High profile, level 5.2")
def level_limit(lesson: Presentation) -> Iterator[str]:
    for variant, track in _tracks(lesson):
        profile, level = _profile_level(track)
        if profile not in (66, 77, 100) or level > 52:
            yield f"{variant.media.name}: {track.codec}"


@should("Apple 1.3a", "Some variant is at most High profile, level 4.1")
def level_for_all(lesson: Presentation) -> Iterator[str]:
    levels = [_profile_level(track)[1] for _, track in _tracks(lesson)]
    if levels and min(levels) > 41:
        yield f"the lowest is {min(levels) / 10}"


@should("Apple 1.4", "High profile is preferred to Main and Baseline")
def high_profile(lesson: Presentation) -> Iterator[str]:
    for variant, track in _tracks(lesson):
        if _profile_level(track)[0] != 100:
            yield f"{variant.media.name}: {track.codec}"


@should("Apple 1.11", "The level is not higher than size and rate need")
def level_needed(lesson: Presentation) -> Iterator[str]:
    for variant, track in _tracks(lesson):
        blocks = -(-track.width // 16) * -(-track.height // 16)
        rate = float(variant.attributes.get("FRAME-RATE", 30))
        needed = next((lv for lv, second, one in _LEVELS if blocks <= one and blocks * rate <= second * 1.001), 52)
        # the ceiling of the bit rate may ask for one step more than the size
        allowed = [level for level, _, _ in _LEVELS if level > needed][:2]
        if _profile_level(track)[1] > max([needed, *allowed]):
            yield f"{variant.media.name}: {_profile_level(track)[1] / 10}, {needed / 10} would do"


@must("Apple 9.1", "CODECS describes the bytes")
def codecs_true(lesson: Presentation) -> Iterator[str]:
    for variant in lesson.variants:
        declared = set(variant.attributes.get("CODECS", "").split(","))
        found = {media.track.codec for media in [variant.media, *variant.sounds] if media.track}
        if declared != found:
            yield f"line {variant.line.number}: {sorted(declared)}, the bytes say {sorted(found)}"


@must("Apple 9.2", "RESOLUTION describes the bytes")
def resolution_true(lesson: Presentation) -> Iterator[str]:
    for variant, track in _tracks(lesson):
        if variant.size != (track.width, track.height):
            yield f"{variant.media.name}: {variant.size}, the bytes say {track.width} x {track.height}"
    for line, media in lesson.iframes:
        if media.track and line.attributes.get("RESOLUTION") != f"{media.track.width}x{media.track.height}":
            yield media.name


@must("Apple 9.15", "FRAME-RATE describes the bytes")
def rate_true(lesson: Presentation) -> Iterator[str]:
    for variant, track in _tracks(lesson):
        ticks = sum(segment.duration for segment in variant.media.segments)
        rate = sum(segment.samples for segment in variant.media.segments) * track.timescale / max(1, ticks)
        if abs(rate - float(variant.attributes.get("FRAME-RATE", 0))) > max(0.01, rate * 0.002):
            yield f"{variant.media.name}: {variant.attributes.get('FRAME-RATE')}, measured {rate:.3f}"


@must("Apple 1.19", "No variant has more than 60 pictures a second")
def at_most_60(lesson: Presentation) -> Iterator[str]:
    for variant in lesson.pictures:
        if float(variant.attributes.get("FRAME-RATE", 0)) > 60:
            yield f"line {variant.line.number}"


@should("Apple 1.18", "The rate is a natural one (23.976, 24, 25, 29.97, 30, 50, 59.94, 60)")
def natural_rate(lesson: Presentation) -> Iterator[str]:
    for variant in lesson.pictures:
        rate = float(variant.attributes.get("FRAME-RATE", 0))
        if all(abs(rate - float(natural)) > 0.002 for natural in STANDARD):
            yield f"line {variant.line.number}: {rate}"


@must("Apple 7.4", "Each segment of a picture starts with an IDR picture")
def idr_first(lesson: Presentation) -> Iterator[str]:
    for variant, _ in _tracks(lesson):
        for segment in variant.media.segments:
            if not starts_with_idr(segment.data, segment.fragments):
                yield f"{variant.media.name}: {segment.entry.uri}"


@should("Apple 1.13", "There is an IDR picture every two seconds")
def key_interval(lesson: Presentation) -> Iterator[str]:
    for variant, track in _tracks(lesson):
        longest = max(_key_steps(variant.media), default=0) / track.timescale
        if longest > 2.1:
            yield f"{variant.media.name}: {longest:.2f} s"


@must("Apple 6.10", "A range for scanning is one whole picture with its moof")
def whole_iframes(lesson: Presentation) -> Iterator[str]:
    for _, media in lesson.iframes:
        for segment in media.segments:
            if segment.data[4:8] not in (b"moof", b"styp") or b"mdat" not in segment.data:
                yield f"{media.name} line {segment.entry.line}"


@should("Nouba", "All variants use one time scale and no edit list: hls.js moves the clock otherwise")
def one_timescale(lesson: Presentation) -> Iterator[str]:
    tracks = [track for _, track in _tracks(lesson)]
    if len({track.timescale for track in tracks}) > 1:
        yield f"time scales {sorted({track.timescale for track in tracks})}"
    if any(track.edit_list for track in tracks):
        yield "an edit list"


@must("Nouba", "Every variant's bytes show one shape, to a pixel, with square pixels")
def one_shape(lesson: Presentation) -> Iterator[str]:
    shapes: dict[str, tuple[int, int]] = {}
    for variant, track in _tracks(lesson):
        coded = track.width, track.height
        shown = displayed_size(variant.media.initialisation or b"")
        if all(shown) and not _alike(shown, coded):
            yield f"{variant.media.name}: {coded[0]} x {coded[1]} pixels are shown as {shown[0]} x {shown[1]}"
        shapes[variant.media.name] = coded
    largest = max(shapes.values(), default=(0, 0))
    for name, size in shapes.items():
        if not _alike(size, largest):
            yield f"{name}: {size[0]} x {size[1]} beside {largest[0]} x {largest[1]}"


@should("Apple 1.21", "All variants have the same pictures: as many, at the same times")
def same_pictures(lesson: Presentation) -> Iterator[str]:
    counts = {variant.media.name: sum(s.samples for s in variant.media.segments) for variant in lesson.pictures}
    if len(set(counts.values())) > 1:
        yield str(counts)


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    # sizes are even, so each side may be a pixel off
    return abs(one[0] * other[1] - other[0] * one[1]) <= max(one) + max(other)


def _tracks(lesson: Presentation) -> Iterator[tuple[Variant, Track]]:
    for variant in lesson.pictures:
        if variant.media.track:
            yield variant, variant.media.track


def _profile_level(track: Track) -> tuple[int, int]:
    profile = track.codec.partition(".")[2]
    return (int(profile[:2], 16), int(profile[4:6], 16)) if len(profile) == 6 else (0, 0)


def _key_steps(media: Media) -> list[int]:
    times: list[int] = []
    end = 0
    for segment in media.segments:
        for fragment in segment.fragments:
            at = fragment.time
            for sample in fragment.samples:
                if sample.key:
                    times.append(at)
                at += sample.duration
            end = at
    return [after - before for before, after in itertools.pairwise([*times, end])]
