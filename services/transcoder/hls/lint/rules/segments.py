"""Rules on the bytes of every segment: times, lengths, sizes."""

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

from services.transcoder.hls.bandwidth import average_bits_per_second, peak_bits_per_second
from services.transcoder.hls.lint.presentation import Measured, Media, Presentation
from services.transcoder.hls.lint.rules import must, should
from services.transcoder.hls.mp4 import boxes, find

#: A packet of AAC at 48 kHz, and half as much again for other rates.
_MAX_SAMPLE = Fraction(4, 100)


@must("Apple 7.1", "Media is continuous: each segment starts where the one before ended")
def continuous(lesson: Presentation) -> Iterator[str]:
    for media in lesson.regular:
        for before, after in itertools.pairwise(media.segments):
            if abs(after.start - before.start - before.duration) > 2 and not after.entry.discontinuity:
                yield f"{media.name}: {after.entry.uri} starts at {after.start}, not {before.start + before.duration}"


@must("Apple 7.3", "No decoding time is negative")
def not_negative(lesson: Presentation) -> Iterator[str]:
    for media in lesson.regular:
        for segment in media.segments:
            if any(fragment.time < 0 for fragment in segment.fragments):
                yield f"{media.name}: {segment.entry.uri}"


@must("Apple 8.7", "Sound and picture start together")
def start_together(lesson: Presentation) -> Iterator[str]:
    starts = {
        media.name: Fraction(media.segments[0].start, media.track.timescale)
        for media in lesson.regular
        if media.track and media.segments
    }
    if starts and max(starts.values()) - min(starts.values()) > _MAX_SAMPLE:
        yield ", ".join(f"{name}: {float(start):.3f} s" for name, start in starts.items())


@must("Apple 7.7", "No segment is longer than the target duration and half a second")
def length_limit(lesson: Presentation) -> Iterator[str]:
    for media, segment, seconds in _lengths(lesson):
        target = media.playlist.number("EXT-X-TARGETDURATION") or 0
        if seconds > target + Fraction(1, 2):
            yield f"{media.name}: {segment.entry.uri} lasts {float(seconds):.3f} s"


@must("Apple 8.1", "EXTINF is true, for each segment and for any run of them")
def durations_true(lesson: Presentation) -> Iterator[str]:
    for media in lesson.regular:
        if media.track is None:
            continue
        declared = made = Fraction(0)
        for segment in media.segments:
            declared += segment.entry.duration or 0
            made += Fraction(segment.duration, media.track.timescale)
            longest = max(sample.duration for fragment in segment.fragments for sample in fragment.samples)
            if abs(declared - made) > Fraction(longest, media.track.timescale):
                both = f"{float(declared):.3f} s declared, {float(made):.3f} s measured"
                yield f"{media.name}: up to {segment.entry.uri}, {both}"
                break


@must("Apple 2.17", "A segment holds one track")
def one_track(lesson: Presentation) -> Iterator[str]:
    for media in lesson.regular:
        for segment in media.segments:
            if any(len(list(find(segment.data, "traf", m.body, m.end))) != 1 for m in find(segment.data, "moof")):
                yield f"{media.name}: {segment.entry.uri}"


@must("RFC 8216 3.3", "An initialisation has no media, a segment no initialisation")
def separate(lesson: Presentation) -> Iterator[str]:
    for media in lesson.regular:
        if media.initialisation is None:
            continue
        kinds = {box.kind for box in boxes(media.initialisation)}
        if "moov" not in kinds or kinds & {"mdat", "moof"}:
            yield f"{media.name}: the initialisation holds {sorted(kinds)}"
        for segment in media.segments:
            if any(box.kind == "moov" for box in boxes(segment.data)):
                yield f"{media.name}: {segment.entry.uri} holds a moov"


@must("RFC 8216 3.3", "Offsets in a fragment count from its own moof")
def own_offsets(lesson: Presentation) -> Iterator[str]:
    for media in lesson.regular:
        for segment in media.segments:
            for box in find(segment.data, "moof/traf/tfhd"):
                flags = int.from_bytes(segment.data[box.body + 1 : box.body + 4], "big")
                if not flags & 0x020000 or flags & 1:
                    yield f"{media.name}: {segment.entry.uri}"
                    break


@must("RFC 8216 3.3", "Samples fill their mdat exactly")
def whole_samples(lesson: Presentation) -> Iterator[str]:
    for media in lesson.regular:
        for segment in media.segments:
            held = sum(box.end - box.body for box in boxes(segment.data) if box.kind == "mdat")
            if held != sum(sample.size for fragment in segment.fragments for sample in fragment.samples):
                yield f"{media.name}: {segment.entry.uri}"


@must("Apple 1.27", "BANDWIDTH is within 10 % of the measured peak")
def peak_true(lesson: Presentation) -> Iterator[str]:
    yield from _compare(lesson, "BANDWIDTH", 0.10)


@must("Apple 1.26", "AVERAGE-BANDWIDTH is within 10 % of the measured average")
def average_true(lesson: Presentation) -> Iterator[str]:
    yield from _compare(lesson, "AVERAGE-BANDWIDTH", 0.10)


@should("Nouba", "Declared and measured bit rates differ by at most 1 %")
def rates_exact(lesson: Presentation) -> Iterator[str]:
    yield from _compare(lesson, "BANDWIDTH", 0.01)
    yield from _compare(lesson, "AVERAGE-BANDWIDTH", 0.01)


@should("Apple 1.30", "The peak is at most twice the average")
def steady(lesson: Presentation) -> Iterator[str]:
    for variant in lesson.pictures:
        peak, average = rates_of(variant.media)
        if peak > 2 * average:
            yield f"{variant.media.name}: {peak / 1000:.0f} of {average / 1000:.0f} kbit/s"


@must("Apple 9.13", "The I-frame variants' bit rates are the measured ones, to 10 %")
def iframe_rates(lesson: Presentation) -> Iterator[str]:
    for line, media in lesson.iframes:
        for declared, made in zip(("BANDWIDTH", "AVERAGE-BANDWIDTH"), rates_of(media), strict=True):
            if declared in line.attributes and abs(int(line.attributes[declared]) - made) > made * 0.10:
                yield f"{media.name}: {declared} is {line.attributes[declared]}, measured {made}"


def rates_of(media: Media) -> tuple[int, int]:
    """Peak and average bits a second of one playlist, measured."""
    sizes: Sequence[int] = [segment.size for segment in media.segments]
    target = media.playlist.number("EXT-X-TARGETDURATION") or 1
    durations = media.durations
    return peak_bits_per_second(sizes, durations, target), average_bits_per_second(sizes, durations)


def _compare(lesson: Presentation, attribute: str, slack: float) -> Iterator[str]:
    place = 0 if attribute == "BANDWIDTH" else 1
    for variant in lesson.variants:
        sounds = [rates_of(sound)[place] for sound in variant.sounds]
        own = rates_of(variant.media)[place]
        # sound alone gives way to the rendition that is chosen in its stead
        made = max(sounds) if variant.media in variant.sounds else own + max(sounds, default=0)
        declared = int(variant.attributes.get(attribute, 0))
        if abs(declared - made) > made * slack:
            off = (declared / made - 1) * 100
            yield f"line {variant.line.number}: {attribute} is {declared}, measured {made} ({off:+.1f} %)"


def _lengths(lesson: Presentation) -> Iterator[tuple[Media, Measured, Fraction]]:
    for media in lesson.regular:
        if media.track:
            for segment in media.segments:
                yield media, segment, Fraction(segment.duration, media.track.timescale)
