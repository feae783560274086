"""Concatenates the chunks of a rendition, and rejects what does not fit. Pure."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from services.transcoder.errors import WrongOutputError
from services.transcoder.hls.mp4 import Track
from services.transcoder.hls.segment_metadata import KeyFrame, RenditionSlice, Segment
from services.transcoder.planning.plan import Plan

#: One packet of AAC: sound ends on a packet, not on a picture.
AUDIO_PACKET_SAMPLES = 1024
#: Rates that 90 kHz cannot express exactly move a cut by a tick.
SLACK_TICKS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One quality of the picture, or one sound track, whole and checked."""

    name: str
    track: Track
    segments: tuple[Segment, ...]

    @property
    def durations(self) -> list[Fraction]:
        """How long each segment lasts, in seconds: until the next begins, so that the sum follows the media."""
        starts = [segment.time for segment in self.segments] + [self.segments[-1].end]
        return [Fraction(end - start, self.track.timescale) for start, end in itertools.pairwise(starts)]

    @property
    def sizes(self) -> list[int]:
        return [segment.size_bytes for segment in self.segments]

    @property
    def duration_seconds(self) -> Fraction:
        return sum(self.durations, Fraction(0))

    def key_frames(self) -> list[tuple[Segment, KeyFrame, Fraction]]:
        """Each key frame with its segment, and how long it stands for."""
        found = [(segment, frame) for segment in self.segments for frame in segment.key_frames]
        times = [frame.time for _, frame in found] + [self.segments[-1].end]
        scale = self.track.timescale
        return [
            (segment, frame, Fraction(times[i + 1] - frame.time, scale)) for i, (segment, frame) in enumerate(found)
        ]


def assemble_rendition(
    parts: Iterable[RenditionSlice], *, latest_start: Fraction = Fraction(0)
) -> dict[str, Rendition]:
    """The renditions that `parts` make up, by name. Raises WrongOutputError where parts do not fit each other."""
    grouped: dict[str, list[RenditionSlice]] = {}
    for part in parts:
        grouped.setdefault(part.rendition, []).append(part)
    return {name: _rendition(name, group, latest_start) for name, group in grouped.items()}


def validate(plan: Plan, renditions: dict[str, Rendition]) -> None:
    """Compare what was made with what was planned: every rendition, picture and length. Raises WrongOutputError."""
    planned = {rung.name for rung in plan.rungs} | {sound.name for sound in plan.sounds}
    if planned != set(renditions):
        raise WrongOutputError(f"Renditions {sorted(set(renditions) ^ planned)} are missing or were never planned.")
    for rung in plan.rungs:
        made = renditions[rung.name]
        pictures = sum(segment.samples for segment in made.segments)
        if pictures != plan.frames:
            raise WrongOutputError(f"{rung.name} has {pictures} pictures; {plan.frames} were planned.")
        if (made.track.width, made.track.height) != (rung.width, rung.height):
            raise WrongOutputError(f"{rung.name} is {made.track.width} x {made.track.height}.")
        _check_length(made, plan.duration_seconds, Fraction(1, 2) / plan.rate)
    for sound in plan.sounds:
        packets = Fraction(2 * AUDIO_PACKET_SAMPLES, renditions[sound.name].track.timescale)
        _check_length(renditions[sound.name], plan.duration_seconds, packets)


def _rendition(name: str, parts: list[RenditionSlice], latest_start: Fraction) -> Rendition:
    if len({part.init_sha256 for part in parts}) != 1:
        raise WrongOutputError(f"The parts of {name} were made by different encoders: their initialisations differ.")
    segments = sorted((segment for part in parts for segment in part.segments), key=lambda segment: segment.number)
    if [segment.number for segment in segments] != list(range(len(segments))):
        raise WrongOutputError(f"Segments of {name} are missing or double.")
    for before, after in itertools.pairwise(segments):
        if abs(after.time - before.end) > SLACK_TICKS:
            raise WrongOutputError(f"{name} has a gap before segment {after.number}: {before.end} to {after.time}.")
    if not 0 <= segments[0].time <= latest_start * parts[0].track.timescale:
        raise WrongOutputError(f"{name} starts at {segments[0].time}, not at 0.")
    return Rendition(name=name, track=parts[0].track, segments=tuple(segments))


def _check_length(made: Rendition, planned: Fraction, slack: Fraction) -> None:
    if abs(made.duration_seconds - planned) > slack:
        raise WrongOutputError(
            f"{made.name} lasts {float(made.duration_seconds):.3f} s; {float(planned):.3f} s were planned."
        )
