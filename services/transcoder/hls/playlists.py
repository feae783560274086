"""Writes the playlists of a lesson (RFC 8216, Apple's authoring rules) from measured facts. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from services.transcoder.hls.bandwidth import average_bits_per_second, peak_bits_per_second
from services.transcoder.hls.chapters import SESSION_DATA
from services.transcoder.hls.rendition_assembly import Rendition
from services.transcoder.hls.segment_metadata import INIT_NAME
from services.transcoder.planning.plan import Sound

MASTER_NAME = "master.m3u8"
MEDIA_NAME = "media.m3u8"
IFRAMES_NAME = "iframes.m3u8"
_AUDIO_GROUP = "audio"
#: What Apple wants first in the list, because players start with it.
FIRST_CHOICE_BITS_PER_SECOND = 2_000_000


@dataclass(frozen=True, slots=True)
class Lock:
    """Where players get the key of an encrypted lesson, and the initialisation's IV (segments use their number)."""

    key_uri: str
    init_iv: bytes


def target_seconds(renditions: Sequence[Rendition]) -> int:
    """One target duration for all playlists, as Apple demands of sound and picture."""
    return max(1, *(half_up(duration) for rendition in renditions for duration in rendition.durations))


def media_playlist(rendition: Rendition, target: int, lock: Lock | None = None) -> str:
    """The segments of one rendition."""
    lines = [*_head(target), "#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-MEDIA-SEQUENCE:0", *_map(lock)]
    for segment, duration in zip(rendition.segments, rendition.durations, strict=True):
        lines += [f"#EXTINF:{_decimal(duration)},", segment.name]
    return _text(lines)


def iframe_playlist(rendition: Rendition, lock: Lock | None = None) -> str:
    """One picture each two seconds, for scanning: ranges of the same files, or files of their own where encrypted."""
    frames = rendition.key_frames()
    target = max(1, *(half_up(duration) for _, _, duration in frames))
    lines = [*_head(target), "#EXT-X-MEDIA-SEQUENCE:0", "#EXT-X-I-FRAMES-ONLY", *_map(lock)]
    for segment, frame, duration in frames:
        lines.append(f"#EXTINF:{_decimal(duration)},")
        lines += [frame.file] if frame.file else [f"#EXT-X-BYTERANGE:{frame.size}@{frame.offset}", segment.name]
    return _text(lines)


def master_playlist(
    pictures: Sequence[Rendition],
    sounds: Sequence[tuple[Sound, Rendition]],
    rate: Fraction,
    *,
    has_chapters: bool = False,
) -> str:
    """All renditions with their measured rates; without a picture, the sound alone."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    lines += [SESSION_DATA] if has_chapters else []
    target = target_seconds([*pictures, *(rendition for _, rendition in sounds)])
    grouped = bool(sounds) and (bool(pictures) or len(sounds) > 1)
    if grouped:
        lines += [_sound_line(sound) for sound, _ in sounds]
    group = f',AUDIO="{_AUDIO_GROUP}"' if grouped else ""
    rates = [rates_of(rendition, target) for _, rendition in sounds]
    sound_peak, sound_average = (max(column) for column in zip(*rates, strict=True)) if rates else (0, 0)
    sound_codecs = sorted({rendition.track.codec for _, rendition in sounds})
    if not pictures:
        default = next(sound for sound, _ in sounds if sound.default)
        rates_text = f"BANDWIDTH={sound_peak},AVERAGE-BANDWIDTH={sound_average}"
        lines += [
            f'#EXT-X-STREAM-INF:{rates_text},CODECS="{",".join(sound_codecs)}"{group}',
            f"{default.name}/{MEDIA_NAME}",
        ]
    for rendition in _in_order(pictures, target):
        peak, average = rates_of(rendition, target)
        lines.append(
            f"#EXT-X-STREAM-INF:BANDWIDTH={peak + sound_peak},AVERAGE-BANDWIDTH={average + sound_average},"
            f'CODECS="{",".join([rendition.track.codec, *sound_codecs])}",{_size(rendition)},'
            f"FRAME-RATE={float(rate):.3f},VIDEO-RANGE=SDR{group},CLOSED-CAPTIONS=NONE"
        )
        lines.append(f"{rendition.name}/{MEDIA_NAME}")
    if pictures and sounds:
        lines += _sound_alone(sounds, target)
    lines += [_iframe_line(rendition) for rendition in pictures]
    return "\n".join(lines) + "\n"


def _sound_alone(sounds: Sequence[tuple[Sound, Rendition]], target: int) -> list[str]:
    """A variant for networks that carry no picture: the default sound, or another of its group."""
    rates = [rates_of(rendition, target) for _, rendition in sounds]
    peak, average = (max(column) for column in zip(*rates, strict=True))
    default = next(sound for sound, _ in sounds if sound.default)
    codecs = ",".join(sorted({rendition.track.codec for _, rendition in sounds}))
    return [
        f'#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS="{codecs}",AUDIO="{_AUDIO_GROUP}"',
        f"{default.name}/{MEDIA_NAME}",
    ]


def half_up(seconds: Fraction) -> int:
    return int(seconds + Fraction(1, 2))


def _in_order(pictures: Sequence[Rendition], target: int) -> list[Rendition]:
    """The one that players start with first, the others from large to small."""
    if not pictures:
        return []
    first = min(pictures, key=lambda one: abs(rates_of(one, target)[0] - FIRST_CHOICE_BITS_PER_SECOND))
    return [first, *(one for one in pictures if one is not first)]


def rates_of(rendition: Rendition, target: int) -> tuple[int, int]:
    sizes, durations = rendition.sizes, rendition.durations
    return peak_bits_per_second(sizes, durations, target), average_bits_per_second(sizes, durations)


def _sound_line(sound: Sound) -> str:
    default = "YES" if sound.default else "NO"
    return (
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{_AUDIO_GROUP}",NAME="{sound.title}",LANGUAGE="{sound.language}",'
        f'DEFAULT={default},AUTOSELECT=YES,CHANNELS="{sound.channels}",URI="{sound.name}/{MEDIA_NAME}"'
    )


def _iframe_line(rendition: Rendition) -> str:
    frames = rendition.key_frames()
    sizes, durations = [frame.size for _, frame, _ in frames], [duration for _, _, duration in frames]
    target = max(1, *(half_up(duration) for duration in durations))
    return (
        f"#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={peak_bits_per_second(sizes, durations, target)},"
        f"AVERAGE-BANDWIDTH={average_bits_per_second(sizes, durations)},"
        f'CODECS="{rendition.track.codec}",{_size(rendition)},VIDEO-RANGE=SDR,URI="{rendition.name}/{IFRAMES_NAME}"'
    )


def _size(rendition: Rendition) -> str:
    return f"RESOLUTION={rendition.track.width}x{rendition.track.height}"


def _head(target: int) -> list[str]:
    return ["#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{target}", "#EXT-X-PLAYLIST-TYPE:VOD"]


def _map(lock: Lock | None) -> list[str]:
    found = f'#EXT-X-MAP:URI="{INIT_NAME}"'
    if lock is None:
        return [found]
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{lock.key_uri}"'
    # an initialisation has no number to take its IV from, so its own is written down
    return [f"{key},IV=0x{lock.init_iv.hex()}", found, key]


def _decimal(seconds: Fraction) -> str:
    return f"{float(seconds):.6f}"


def _text(lines: list[str]) -> str:
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])
