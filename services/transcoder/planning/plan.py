"""Plans a lesson: which renditions, cut where, in which chunks; values that any machine can keep and read. Pure."""

import hashlib
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from pydantic import TypeAdapter

from services.transcoder.planning.frame_rate import output_rate
from services.transcoder.planning.ladder import LadderRung, rungs
from services.transcoder.planning.languages import UNKNOWN, language_name
from services.transcoder.planning.profile import EncodingProfile
from services.transcoder.planning.source import Source, Video
from shared.runtime.visible_text import plain

#: Sound that ends this long after the picture is worth holding the last picture for.
HELD_PICTURE_SECONDS = 0.5
#: 5.1; more channels are mixed down to it.
SURROUND_CHANNELS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One message's work: the pictures [first_frame, end_frame) of the grid, in every rendition."""

    index: int
    first_frame: int
    end_frame: int

    @property
    def frames(self) -> int:
        return self.end_frame - self.first_frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """One audio rendition. `name` is its folder, `stream` the track of the source."""

    name: str
    stream: int
    language: str
    title: str
    default: bool
    #: 2, or 6 for 5.1.
    channels: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlace:
    """Which key opens an encrypted lesson, and where players get it; never the key itself."""

    key_id: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is needed to encode any part of a lesson, apart from the source's bytes."""

    source_sha256: str
    source: Source
    #: The build of ffmpeg; a worker with another one must not touch this plan.
    encoder: str
    recipe: EncodingProfile
    #: Pictures a second, a group of pictures, and all pictures; a segment is `recipe.groups_per_segment` groups.
    rate: Fraction
    group_frames: int
    frames: int
    rungs: tuple[LadderRung, ...]
    chunks: tuple[Chunk, ...]
    sounds: tuple[Sound, ...]
    #: None where the lesson is not encrypted.
    key_place: KeyPlace | None = None

    @property
    def segment_frames(self) -> int:
        return self.group_frames * self.recipe.groups_per_segment

    @property
    def segment_seconds(self) -> Fraction:
        return self.segment_frames / self.rate

    @property
    def duration_seconds(self) -> Fraction:
        """How long every rendition lasts, exactly."""
        return self.frames / self.rate

    @property
    def key(self) -> str:
        """The name of this lesson's bytes: the same source, ladder, encoder and key always make the same."""
        # what is None is not there: choices that came later leave the names of older lessons alone
        ladder = hashlib.sha256(_STEPS.dump_json((self.recipe, self.rungs), exclude_none=True)).hexdigest()
        lock = f" {self.key_place.key_id} {self.key_place.uri}" if self.key_place else ""
        return hashlib.sha256(f"{self.source_sha256} {ladder} {self.encoder}{lock}".encode()).hexdigest()[:32]

    def dump(self) -> dict[str, Any]:
        """The plan as JSON can carry it."""
        plain: dict[str, Any] = _PLAN.dump_python(self, mode="json")
        return plain

    @staticmethod
    def load(plain: dict[str, Any]) -> "Plan":
        """The plan that `dump` wrote. Raises pydantic's ValidationError where it is none."""
        return _PLAN.validate_python(plain)


def make_plan(source: Source, source_sha256: str, encoder: str, recipe: EncodingProfile | None = None) -> Plan:
    """How `source` becomes a lesson with the build `encoder` of ffmpeg."""
    recipe = recipe or EncodingProfile()
    video = source.video
    # without a picture the grid only says where the sound is cut
    rate = output_rate(video.rate, video.fields is not None) if video else Fraction(25)
    group = max(1, round(Fraction(recipe.segment_seconds, recipe.groups_per_segment) * rate))
    frames = max(1, _frames(source, rate))
    return Plan(
        source_sha256=source_sha256,
        source=source,
        encoder=encoder,
        recipe=recipe,
        rate=rate,
        group_frames=group,
        frames=frames,
        rungs=rungs(video.width, video.height, recipe.crf_offset or 0) if video else (),
        chunks=_chunks(frames, group * recipe.groups_per_segment, rate, recipe) if video else (),
        sounds=_sounds(source),
    )


def audio_shift(plan: Plan) -> Fraction:
    """How much earlier sound has to play, because the frames were moved onto the grid."""
    if plan.source.video is None:
        return Fraction(0)
    if (shift := plan.source.video.grid_shift_seconds) is not None:
        return -Fraction(shift).limit_denominator(1_000_000)
    first = Fraction(plan.source.video.first_seconds).limit_denominator(1_000_000)
    return first - half_up(first * plan.rate) / plan.rate


def picture_frames(video: Video, rate: Fraction) -> int:
    """Frames of the grid that the source's own pictures fill."""
    return half_up(Fraction(video.end_seconds).limit_denominator(1_000_000) * rate)


def half_up(value: Fraction) -> int:
    """The nearest integer; halves go up as ffmpeg's do, where Python's `round` goes to even."""
    return math.floor(value + Fraction(1, 2))


def _frames(source: Source, rate: Fraction) -> int:
    end = Fraction(source.duration_seconds).limit_denominator(1_000_000)
    if source.video is None:
        return math.ceil(end * rate)
    own = picture_frames(source.video, rate)
    held = half_up(end * rate) - own
    return own + (held if held >= HELD_PICTURE_SECONDS * rate else 0)


def _chunks(frames: int, segment_frames: int, rate: Fraction, recipe: EncodingProfile) -> tuple[Chunk, ...]:
    wanted = max(Fraction(recipe.least_chunk_seconds), frames / rate / recipe.wanted_chunks)
    segments = max(1, math.floor(min(Fraction(recipe.chunk_seconds), wanted) * rate / segment_frames))
    size = segments * segment_frames
    return tuple(
        Chunk(index=index, first_frame=first, end_frame=min(first + size, frames))
        for index, first in enumerate(range(0, frames, size))
    )


def _sounds(source: Source) -> tuple[Sound, ...]:
    chosen = next((i for i, track in enumerate(source.audio) if track.default), 0)
    titles: list[str] = []
    for number, track in enumerate(source.audio, 1):
        known = language_name(track.language) if track.language != UNKNOWN else f"Audio {number}"
        title = plain(track.title.replace('"', ""), len(track.title)) or known
        titles.append(title if title not in titles else f"{title} ({number})")
    stereo = tuple(
        Sound(name=f"audio{i}", stream=track.index, language=track.language, title=title, default=i == chosen)
        for i, (track, title) in enumerate(zip(source.audio, titles, strict=True))
    )
    return stereo + tuple(
        replace(sound, name=f"surround{i}", title=f"{sound.title} 5.1", default=False, channels=SURROUND_CHANNELS)
        for i, (track, sound) in enumerate(zip(source.audio, stereo, strict=True))
        if track.channels >= SURROUND_CHANNELS
    )


_PLAN = TypeAdapter(Plan)
_STEPS = TypeAdapter(tuple[EncodingProfile, tuple[LadderRung, ...]])
