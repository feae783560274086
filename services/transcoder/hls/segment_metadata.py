"""Metadata of the segments that ffmpeg wrote (size, hash, times, key frames), for playlists and checks."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pydantic import TypeAdapter

from services.transcoder.hls.mp4 import Fragment, Track, boxes, fragments, track_of


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """Where a player that scans finds one picture: `size` bytes from `offset`, moof included."""

    time: int
    offset: int
    size: int
    #: Where it has a file of its own: a range of an encrypted file cannot be read.
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One file of a rendition; times in ticks of the track's time scale."""

    number: int
    name: str
    size_bytes: int
    sha256: str
    time: int
    duration: int
    samples: int
    key_frames: tuple[KeyFrame, ...] = ()

    @property
    def end(self) -> int:
        return self.time + self.duration


@dataclass(frozen=True, slots=True, kw_only=True)
class RenditionSlice:
    """What one process made of one rendition: a run of its segments. Plain values, to be kept as JSON."""

    rendition: str
    track: Track
    init_sha256: str
    segments: tuple[Segment, ...]

    @property
    def samples(self) -> int:
        return sum(segment.samples for segment in self.segments)


INIT_NAME = "init.mp4"
_PARTS = TypeAdapter(list[RenditionSlice])


def dump_parts(parts: list[RenditionSlice]) -> list[dict[str, Any]]:
    """`parts` as JSON can carry them."""
    plain: list[dict[str, Any]] = _PARTS.dump_python(parts, mode="json")
    return plain


def load_parts(plain: list[dict[str, Any]]) -> list[RenditionSlice]:
    """What `dump_parts` wrote."""
    return _PARTS.validate_python(plain)


def segment_name(number: int) -> str:
    return f"{number:05d}.m4s"


def measure(number: int, data: bytes, *, pictures: bool) -> Segment:
    """The facts of one segment. Raises Mp4Error where `data` is none."""
    parts = fragments(data)
    frames = [_key_frame(one) for one in parts if one.samples and one.samples[0].key] if pictures else []
    return Segment(
        number=number,
        name=segment_name(number),
        size_bytes=len(data),
        sha256=sha256(data).hexdigest(),
        time=parts[0].time if parts else 0,
        duration=sum(part.duration for part in parts),
        samples=sum(len(part.samples) for part in parts),
        key_frames=tuple(frames),
    )


def part(rendition: str, initialisation: bytes, segments: list[Segment]) -> RenditionSlice:
    """One process's share of `rendition`."""
    return RenditionSlice(
        rendition=rendition,
        track=track_of(initialisation),
        init_sha256=sha256(initialisation).hexdigest(),
        segments=tuple(segments),
    )


def joined(groups: list[bytes]) -> bytes:
    """Several one-group files as one segment: the first's styp, then each moof and mdat; the index goes.

    Offsets inside a moof count from that moof, so nothing has to be rewritten.
    """
    return b"".join(
        memoryview(group)[box.start : box.end]
        for i, group in enumerate(groups)
        for box in boxes(group)
        if box.kind in ("moof", "mdat") or (box.kind == "styp" and i == 0)
    )


def _key_frame(fragment: Fragment) -> KeyFrame:
    return KeyFrame(fragment.time, fragment.start, fragment.data + fragment.samples[0].size - fragment.start)
