"""Probes an upload: its tracks and facts, or the reason to reject it."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from services.transcoder.errors import Reason, RejectedInputError
from services.transcoder.ffmpeg import input_limits
from services.transcoder.ffmpeg.diagnosis import DAMAGED, TOO_LARGE, UNREADABLE, UNSUPPORTED
from services.transcoder.ffmpeg.process import Ffmpeg, never
from services.transcoder.inspection.extras import chapters_of, subtitles_of
from services.transcoder.inspection.packets import PacketIndex, Track
from services.transcoder.planning.damage import spoken_seconds, too_much
from services.transcoder.planning.frame_rate import grid_shift, output_rate, source_rate
from services.transcoder.planning.geometry import display_size, rotation_of
from services.transcoder.planning.languages import language_tag
from services.transcoder.planning.source import Audio, LessonWarning, Source, Video
from shared.runtime.visible_text import plain

#: Shorter than the second that is decoded before each chunk, so that no longer hole goes unseen.
HOLE_SECONDS = 0.5
#: More than the rounding of any container.
BREAK_SECONDS = 0.01
#: Frames that are decoded to see whether they are interlaced.
FIELD_FRAMES = 50

_Stream = dict[str, Any]


def inspect(path: Path, folder: Path, ffmpeg: Ffmpeg, cancelled: Callable[[], bool] = never) -> Source:
    """What `path` holds, measured by reading every packet once. Raises RejectedInputError if it can become no lesson.

    `folder` is scratch space; nothing is written there.
    """
    source, _ = read(path, folder, ffmpeg, cancelled)
    check_bounds(source)
    return source


def read(path: Path, folder: Path, ffmpeg: Ffmpeg, cancelled: Callable[[], bool] = never) -> tuple[Source, PacketIndex]:
    """As `inspect`, without its bounds: the clock of a container without an index may jump, until it is rewrapped."""
    size = path.stat().st_size
    if size == 0:
        raise RejectedInputError(Reason.NOT_A_VIDEO, "The file is empty: upload it again.")
    described = _describe(path, folder, ffmpeg, cancelled)
    container = described["format"]["format_name"].split(",")[0]
    streams = described["streams"]
    picture = _picture(streams)
    sounds = [stream for stream in streams if stream["codec_type"] == "audio" and _decodable(stream)]
    sounds = sounds[: input_limits.MAX_AUDIO_TRACKS]
    if picture is None and not sounds:
        raise RejectedInputError(Reason.NOT_A_VIDEO, "The file holds neither a picture nor sound: upload a video.")

    # a program stream has no time of showing for each frame
    options = ("-fflags", "+genpts") if container == "mpeg" else ()
    survey = PacketIndex.take(path, folder, ffmpeg, cancelled, options)
    # a header may announce tracks that never come
    audio = tuple(_audio(stream, survey) for stream in sounds if survey.track(stream["index"]).count)
    video = None
    warnings: tuple[LessonWarning, ...] = ()
    if picture is not None:
        video = _video(picture, survey)
        if video.fields is None and picture.get("field_order", "unknown") == "unknown":
            fields = _fields_of_frames(path, folder, ffmpeg, picture["index"], cancelled)
            video = replace(video, fields=fields)
        video = on_grid(video, survey)
        missing = _missing_frames(picture, described["format"], survey)
        if missing and container == "mov":
            # an edit list hides frames that are all there
            whole = PacketIndex.take(path, folder, ffmpeg, cancelled, ("-ignore_editlist", "1"))
            missing = _missing_frames(picture, described["format"], whole)
        if missing:
            warnings = (_cut_off(missing, video),)
    source = Source(container=container, size_bytes=size, video=video, audio=audio, warnings=warnings)
    source = replace(source, subtitles=subtitles_of(streams))
    return replace(source, chapters=chapters_of(described, survey.start, source.duration_seconds)), survey


def on_grid(video: Video, packets: PacketIndex) -> Video:
    """`video` with what the grid of its lesson does to its frames."""
    times = [at - packets.start for at in packets.track(video.index).times()]
    return replace(video, grid_shift_seconds=grid_shift(times, output_rate(video.rate, video.fields is not None)))


def _describe(path: Path, folder: Path, ffmpeg: Ffmpeg, cancelled: Callable[[], bool]) -> dict[str, Any]:
    lines: list[str] = []

    def keep(line: str) -> bool:
        lines.append(line)
        return True

    shown = ["-show_streams", "-show_format", "-show_chapters", "-of", "json"]
    call = ["-v", "error", *input_limits.INPUT, *shown, f"file:{path.absolute()}"]
    try:
        ffmpeg.probe(call, folder, reads=[path], on_line=keep, cancelled=cancelled)
    except RejectedInputError as error:
        if error.reason is Reason.DAMAGED and not _has_mp4_signature(path):
            raise RejectedInputError(Reason.NOT_A_VIDEO, UNREADABLE, error.detail) from error
        raise
    found: dict[str, Any] = json.loads("\n".join(lines))
    if not found.get("streams") or found["format"]["format_name"].split(",")[0] not in input_limits.FORMATS:
        raise RejectedInputError(Reason.NOT_A_VIDEO, UNREADABLE)
    return found


def _has_mp4_signature(path: Path) -> bool:
    """Whether an MP4 was begun: then its end is missing, and the teacher should know that."""
    with path.open("rb") as file:
        return file.read(8)[4:] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def _picture(streams: list[_Stream]) -> _Stream | None:
    """The video track to show: the default one, else the largest. A cover picture is no video."""
    films = [stream for stream in streams if stream["codec_type"] == "video" and not _is_cover(stream)]
    if not films:
        return None
    best = max(films, key=lambda s: (s["disposition"]["default"], s.get("width", 0) * s.get("height", 0), -s["index"]))
    if not _decodable(best) or not best.get("width") or not best.get("height") or best.get("pix_fmt") is None:
        raise RejectedInputError(Reason.UNSUPPORTED, UNSUPPORTED, f"video codec {best.get('codec_name')}")
    return best


def _is_cover(stream: _Stream) -> bool:
    disposition = stream["disposition"]
    return bool(disposition["attached_pic"] or disposition.get("still_image") or disposition.get("timed_thumbnails"))


def _decodable(stream: _Stream) -> bool:
    return stream.get("codec_name") not in (None, "none", "unknown")


def _video(stream: _Stream, survey: PacketIndex) -> Video:
    track = survey.track(stream["index"])
    if not track.count:
        raise RejectedInputError(Reason.DAMAGED, DAMAGED, "the video track holds no packets")
    fields = {"tt": "tt", "tb": "tt", "bb": "bb", "bt": "bb"}.get(stream.get("field_order", ""))
    declared = [Fraction(stream[key]) for key in ("avg_frame_rate", "r_frame_rate") if _is_rate(stream.get(key))]
    rate, variable = source_rate(track.times(), declared)
    width, height = display_size(stream)
    if min(width, height) < input_limits.MIN_SIDE or rate > input_limits.MAX_RATE:
        raise RejectedInputError(
            Reason.UNSUPPORTED,
            f"The picture must have at least {input_limits.MIN_SIDE} x {input_limits.MIN_SIDE} pixels.",
        )
    if stream["width"] * stream["height"] > input_limits.MAX_PIXELS or width * height > input_limits.MAX_PIXELS:
        raise RejectedInputError(Reason.TOO_LARGE, TOO_LARGE)
    first = track.first - survey.start
    end = max(track.end, track.last + float(1 / rate)) if track.count > 1 else max(track.end, track.last + 0.04)
    return Video(
        index=stream["index"],
        codec=stream["codec_name"],
        profile=stream.get("profile", ""),
        width=width,
        height=height,
        rotation=rotation_of(stream),
        square_pixels=stream.get("sample_aspect_ratio", "1:1") in ("1:1", "0:1"),
        pixel_format=stream["pix_fmt"],
        full_range=stream.get("color_range") == "pc" or stream["pix_fmt"].startswith("yuvj"),
        matrix=_colour(stream, "color_space"),
        transfer=_colour(stream, "color_transfer"),
        primaries=_colour(stream, "color_primaries"),
        fields=fields,
        rate=rate,
        variable=variable,
        frames=track.count,
        first_seconds=first,
        end_seconds=end - survey.start,
        reordered=int(stream.get("has_b_frames", 0)) > 0,
        longest_key_interval_seconds=track.longest_key_interval(),
        holes=tuple((before - survey.start, after - survey.start) for before, after in track.holes(HOLE_SECONDS)),
        bits_per_second=_bit_rate(track),
    )


def _audio(stream: _Stream, survey: PacketIndex) -> Audio:
    track, tags = survey.track(stream["index"]), stream.get("tags", {})
    return Audio(
        index=stream["index"],
        codec=stream["codec_name"],
        profile=stream.get("profile", ""),
        channels=int(stream.get("channels", 2)),
        sample_rate=int(stream.get("sample_rate", 48_000)),
        language=language_tag(tags.get("language", "")),
        title=plain(tags.get("title", ""), 60),
        default=bool(stream["disposition"]["default"]),
        first_seconds=track.first - survey.start,
        end_seconds=track.end - survey.start,
        bits_per_second=_bit_rate(track),
        breaks=track.breaks(BREAK_SECONDS),
    )


def _colour(stream: _Stream, key: str) -> str:
    word = stream.get(key, "")
    return "" if word in ("unknown", "reserved", "unspecified") else word


def _is_rate(text: str | None) -> bool:
    return text is not None and not text.startswith("0/") and not text.endswith("/0")


def _bit_rate(track: Track) -> int:
    return round(8 * track.size_bytes / max(0.001, track.end - track.first))


def _missing_frames(stream: _Stream, container: dict[str, Any], survey: PacketIndex) -> int:
    """How many announced frames did not come: a file that was cut off still opens where its index is at its front."""
    track = survey.track(stream["index"])
    duration = float(container.get("duration", 0))
    # the duration that a Matroska file says ends with its last packet, wherever its first one stands
    came = survey.end - min(0.0, survey.start)
    if "matroska" in container["format_name"] and came < duration - max(2.0, duration * 0.01):
        raise RejectedInputError(Reason.DAMAGED, DAMAGED, f"{came:.1f} of {duration:.1f} s came")
    announced = int(stream.get("nb_frames", 0))
    average = Fraction(stream["avg_frame_rate"]) if _is_rate(stream.get("avg_frame_rate")) else Fraction(25)
    # AVI counts frames that are only held longer, and have no packet
    lasts = (track.end - track.first) * float(average)
    return max(0, announced - max(track.all_packets, round(lasts))) if track.all_packets < announced - 2 else 0


def _cut_off(missing: int, video: Video) -> LessonWarning:
    """The warning of a film whose last frames are missing. Raises RejectedInputError if that is too many."""
    if too_much(missing, video.frames + missing):
        raise RejectedInputError(Reason.DAMAGED, DAMAGED, f"{missing} of {video.frames + missing} frames are missing")
    seconds = float(missing / video.rate)
    return LessonWarning(
        code="cut_off",
        text=f"The file ends {spoken_seconds(seconds)} too early: the end of the lesson is missing."
        " If that matters, upload the whole file again.",
    )


def _fields_of_frames(
    path: Path, folder: Path, ffmpeg: Ffmpeg, index: int, cancelled: Callable[[], bool]
) -> str | None:
    """Which field comes first in most of the first frames, for containers that do not say so (DV, AVI)."""
    orders: list[str] = []

    def keep(line: str) -> bool:
        interlaced, _, top_first = line.strip().strip(",").partition(",")
        orders.append(("tt" if top_first == "1" else "bb") if interlaced == "1" else "")
        return True

    shown = ["-show_entries", "frame=interlaced_frame,top_field_first", "-of", "csv=p=0"]
    picked = ["-select_streams", str(index), "-read_intervals", f"%+#{FIELD_FRAMES}"]
    call = ["-v", "error", *input_limits.INPUT, *picked, *shown, f"file:{path.absolute()}"]
    try:
        ffmpeg.probe(call, folder, reads=[path], on_line=keep, cancelled=cancelled)
    except RejectedInputError:
        return None
    order = max(("tt", "bb"), key=orders.count)
    return order if 2 * orders.count(order) > len(orders) else None


def check_bounds(source: Source) -> None:
    if source.duration_seconds > input_limits.MAX_SECONDS:
        hours = input_limits.MAX_SECONDS / 3600
        raise RejectedInputError(Reason.TOO_LONG, f"The video is longer than {hours:g} hours: cut it into lessons.")
    if source.video is None and not source.audio:
        raise RejectedInputError(Reason.DAMAGED, DAMAGED, "no track holds packets")
    if source.video and any(after - before > input_limits.MAX_HOLE_SECONDS for before, after in source.video.holes):
        raise RejectedInputError(Reason.DAMAGED, DAMAGED, "half an hour passes between two pictures")
