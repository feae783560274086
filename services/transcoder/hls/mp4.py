"""Reads MP4 boxes: what an initialisation says of its track, and what a fragment's samples are. Pure."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

#: Samples of one fragment: ten seconds of the fastest pictures and of sound packets are a few thousand.
MAX_SAMPLES = 100_000


@dataclass(frozen=True, slots=True)
class Box:
    """`kind` is its four letters; `start` where the box begins, `body` where its content does."""

    kind: str
    start: int
    body: int
    end: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture or sound packet; times in ticks."""

    duration: int
    size: int
    key: bool
    shift: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """One moof: `time` is its base decoding time, `start` where the moof begins, `data` where its first sample does."""

    time: int
    start: int
    data: int
    samples: tuple[Sample, ...]

    @property
    def duration(self) -> int:
        return sum(sample.duration for sample in self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What an initialisation segment says. `codec` is the RFC 6381 word; sizes are 0 for sound."""

    codec: str
    timescale: int
    width: int = 0
    height: int = 0
    channels: int = 0
    sample_rate: int = 0
    edit_list: bool = False


class Mp4Error(ValueError):
    """The bytes are no MP4 boxes of the kind that was expected."""


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes that stand side by side in `data`."""
    limit = len(data) if end is None else end
    while start + 8 <= limit:
        size, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            header = 16
        elif size == 0:
            size = limit - start
        if size < header or start + size > limit:
            raise Mp4Error(f"a box at byte {start} claims {size} bytes of {limit - start}")
        yield Box(kind.decode("latin1"), start, start + header, start + size)
        start += size


def find(data: bytes, path: str, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Every box at `path`, such as moov/trak/mdia/mdhd."""
    first, _, rest = path.partition("/")
    for box in boxes(data, start, end):
        if box.kind == first and rest:
            yield from find(data, rest, box.body, box.end)
        elif box.kind == first:
            yield box


def first(data: bytes, path: str, start: int = 0, end: int | None = None) -> Box:
    """The one box at `path`. Raises Mp4Error where there is none."""
    for box in find(data, path, start, end):
        return box
    raise Mp4Error(f"there is no {path} box")


def track_of(initialisation: bytes) -> Track:
    """What the one track of `initialisation` is. Raises Mp4Error where it is not one of ours to read."""
    trak = first(initialisation, "moov/trak")
    mdhd = first(initialisation, "mdia/mdhd", trak.body, trak.end)
    long_times = initialisation[mdhd.body] == 1
    (timescale,) = struct.unpack_from(">I", initialisation, mdhd.body + (20 if long_times else 12))
    edits = any(True for _ in find(initialisation, "edts/elst", trak.body, trak.end))
    stsd = first(initialisation, "mdia/minf/stbl/stsd", trak.body, trak.end)
    entry = next(boxes(initialisation, stsd.body + 8, stsd.end))
    if entry.kind in ("avc1", "avc3"):
        width, height = struct.unpack_from(">HH", initialisation, entry.body + 24)
        avcc = first(initialisation, "avcC", entry.body + 78, entry.end)
        codec = f"{entry.kind}.{initialisation[avcc.body + 1 : avcc.body + 4].hex()}"
        return Track(codec=codec, timescale=timescale, width=width, height=height, edit_list=edits)
    if entry.kind == "mp4a":
        channels, _, _, _, rate = struct.unpack_from(">HHHHI", initialisation, entry.body + 16)
        esds = first(initialisation, "esds", entry.body + 28, entry.end)
        codec = f"mp4a.40.{_audio_object(initialisation[esds.body + 4 : esds.end])}"
        return Track(codec=codec, timescale=timescale, channels=channels, sample_rate=rate >> 16, edit_list=edits)
    raise Mp4Error(f"{entry.kind} is neither H.264 nor AAC")


def displayed_size(initialisation: bytes) -> tuple[int, int]:
    """The width and height at which its track is to be shown, whatever the pixels' shape; (0, 0) for sound."""
    tkhd = first(initialisation, "moov/trak/tkhd")
    width, height = struct.unpack_from(
        ">II", initialisation, tkhd.body + (88 if initialisation[tkhd.body] == 1 else 76)
    )
    return round(width / 65536), round(height / 65536)


def fragments(segment: bytes) -> list[Fragment]:
    """Every moof of `segment` with its samples."""
    return [_fragment(segment, moof) for moof in find(segment, "moof")]


def _audio_object(descriptors: bytes) -> int:
    """The audio object type out of the nested descriptors 3 > 4 > 5."""
    at = 0
    while at < len(descriptors):
        tag, at = descriptors[at], at + 1
        length = 0
        while True:
            byte, at = descriptors[at], at + 1
            length = length << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        if tag == 3:
            at += 3
        elif tag == 4:
            at += 13
        elif tag == 5:
            kind = descriptors[at] >> 3
            return kind if kind != 31 else 32 + ((descriptors[at] & 7) << 3 | descriptors[at + 1] >> 5)
        else:
            at += length
    raise Mp4Error("the sound's description does not say what it is")


def _fragment(data: bytes, moof: Box) -> Fragment:
    traf = first(data, "traf", moof.body, moof.end)
    defaults = _Defaults.read(data, first(data, "tfhd", traf.body, traf.end))
    tfdt = first(data, "tfdt", traf.body, traf.end)
    (time,) = struct.unpack_from(">q" if data[tfdt.body] else ">I", data, tfdt.body + 4)
    samples: list[Sample] = []
    offset: int | None = None
    for trun in find(data, "trun", traf.body, traf.end):
        run_offset, run = _run(data, trun, defaults)
        offset = run_offset if offset is None else offset
        samples += run
        if len(samples) > MAX_SAMPLES:
            raise Mp4Error("the runs of a fragment have too many samples")
    return Fragment(time, moof.start, moof.start + (offset or 0), tuple(samples))


@dataclass(frozen=True, slots=True)
class _Defaults:
    duration: int
    size: int
    flags: int

    @classmethod
    def read(cls, data: bytes, tfhd: Box) -> "_Defaults":
        flags = int.from_bytes(data[tfhd.body + 1 : tfhd.body + 4], "big")
        at = tfhd.body + 8 + 8 * bool(flags & 1) + 4 * bool(flags & 2)
        values = []
        for bit in (8, 16, 32):
            values.append(struct.unpack_from(">I", data, at)[0] if flags & bit else 0)
            at += 4 * bool(flags & bit)
        return cls(*values)


def _run(data: bytes, trun: Box, defaults: _Defaults) -> tuple[int, list[Sample]]:
    flags = int.from_bytes(data[trun.body + 1 : trun.body + 4], "big")
    signed = data[trun.body] > 0
    (count,) = struct.unpack_from(">I", data, trun.body + 4)
    at = trun.body + 8
    offset = 0
    first_flags = None
    if flags & 1:
        (offset,) = struct.unpack_from(">i", data, at)
        at += 4
    if flags & 4:
        (first_flags,) = struct.unpack_from(">I", data, at)
        at += 4
    fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    row = struct.Struct(">" + "".join("i" if bit == 0x800 and signed else "I" for bit in fields))
    # samples without fields of their own take no space in the box
    if at + count * row.size > trun.end or count > MAX_SAMPLES:
        raise Mp4Error("a run of samples is longer than its box")
    samples = []
    for i in range(count):
        fields_read = dict(zip(fields, row.unpack_from(data, at + i * row.size), strict=True)) if fields else {}
        own = first_flags if i == 0 and first_flags is not None else defaults.flags
        sample_flags = fields_read.get(0x400, own)
        samples.append(
            Sample(
                fields_read.get(0x100, defaults.duration),
                fields_read.get(0x200, defaults.size),
                not sample_flags & 0x10000,
                fields_read.get(0x800, 0),
            )
        )
    return offset, samples
