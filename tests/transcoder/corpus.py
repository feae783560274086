"""Makes small films of every kind that schools upload, with ffmpeg's own sources; each is made once and cached."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.transcoder import film_cache

SECONDS = 7
_FAST = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
_AAC = ("-c:a", "aac", "-b:a", "64k")


def _picture(size: str = "160x90", rate: str = "25", seconds: float = SECONDS, filters: str = "") -> list[str]:
    chain = f"testsrc2=size={size}:rate={rate}:duration={seconds}" + (f",{filters}" if filters else "")
    return ["-f", "lavfi", "-i", chain]


def _tone(seconds: float = SECONDS, rate: int = 48_000, extra: str = "") -> list[str]:
    return ["-f", "lavfi", "-i", f"sine=frequency=440:sample_rate={rate}:duration={seconds}{extra}"]


def _film(
    *options: str, size: str = "160x90", rate: str = "25", seconds: float = SECONDS, filters: str = ""
) -> list[str]:
    return [*_picture(size, rate, seconds, filters), *_tone(seconds), *_FAST, *_AAC, *options]


def _codec(video: str, *options: str, audio: tuple[str, ...] = _AAC, size: str = "160x90", pixels: str = "yuv420p",
           seconds: float = SECONDS, rate: str = "25") -> list[str]:  # fmt: skip
    return [*_picture(size, rate, seconds), *_tone(seconds), "-c:v", video, "-pix_fmt", pixels, *audio, *options]


def _hdr(transfer: str) -> list[str]:
    tags = f"colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:log-level=none"
    setparams = f"format=yuv420p10le,setparams=color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc"
    options = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", tags, "-pix_fmt", "yuv420p10le")
    return [*_picture(seconds=3, filters=setparams), *_tone(3), *options, *_AAC]


_LANGUAGES = [
    *_picture(), *_tone(), *_tone(extra=",volume=0.5"), *_tone(),
    "-map", "0:v", "-map", "1:a", "-map", "2:a", "-map", "3:a", *_FAST, *_AAC,
    "-metadata:s:a:0", "language=ara", "-metadata:s:a:1", "language=fra", "-metadata:s:a:2", "language=ara",
]  # fmt: skip
_VFR = "select='not(mod(n,3))+lt(mod(n,10),5)'"
_HOLE = "select='not(between(t,2.2,2.75))'"

#: Name: the file's ending, and the arguments that make it.
KINDS: dict[str, tuple[str, list[str]]] = {
    "plain 25 pictures a second": ("mp4", _film()),
    "film 23.976": ("mp4", _film(rate="24000/1001")),
    "film 24": ("mp4", _film(rate="24")),
    "NTSC 29.97": ("mp4", _film(rate="30000/1001")),
    "30 pictures a second": ("mp4", _film(rate="30")),
    "50 pictures a second": ("mp4", _film(rate="50")),
    "59.94 pictures a second": ("mp4", _film(rate="60000/1001")),
    "120 pictures a second": ("mp4", _film(rate="120", seconds=3)),
    "12.5 pictures a second": ("mp4", _film(rate="25/2")),
    "10 pictures a second": ("mp4", _film(rate="10")),
    "one picture a second": ("mp4", _film(rate="1")),
    "a picture every five seconds": ("mp4", _film(rate="1/5", seconds=20)),
    "an odd rate of 179/6": ("mp4", _film(rate="179/6")),
    "variable rate": ("mp4", _film("-fps_mode", "vfr", rate="30", filters=_VFR)),
    "variable rate with a hole": ("mp4", _film("-fps_mode", "vfr", rate="30", filters=_HOLE)),
    "variable rate in Matroska": ("mkv", _film("-fps_mode", "vfr", rate="30", filters=_VFR)),
    "portrait": ("mp4", _film(size="90x160")),
    "square": ("mp4", _film(size="120x120")),
    "very wide": ("mp4", _film(size="640x272")),
    "three renditions": ("mp4", _film(size="640x480", seconds=3)),
    "odd size": ("mkv", [*_picture("322x182", seconds=3, filters="format=yuv444p,crop=321:181"), *_tone(3),
                         "-c:v", "ffv1", *_AAC]),
    "smallest": ("mp4", _film(size="16x16")),
    "pixels that are wide": ("mp4", _film(filters="setsar=128/117", size="176x144")),
    "pixels that are tall": ("mp4", _film(filters="setsar=1/2", size="320x90")),
    "10-bit H.264": ("mp4", _film("-pix_fmt", "yuv420p10le")),
    "10-bit HEVC": ("mp4", _codec("libx265", "-preset", "ultrafast", "-x265-params", "log-level=none",
                                  pixels="yuv420p10le", seconds=3)),
    "4:2:2": ("mp4", _film("-pix_fmt", "yuv422p")),
    "4:4:4": ("mp4", _film("-pix_fmt", "yuv444p")),
    "full range": ("mp4", _film("-pix_fmt", "yuvj420p")),
    "RGB": ("mkv", _codec("libx264rgb", "-preset", "ultrafast", pixels="rgb24", seconds=3)),
    "grey": ("mkv", _codec("ffv1", pixels="gray", seconds=3)),
    "transparency": ("mov", _codec("prores_ks", "-profile:v", "4444", pixels="yuva444p10le", seconds=2)),
    "HDR, PQ": ("mp4", _hdr("smpte2084")),
    "HDR, HLG": ("mp4", _hdr("arib-std-b67")),
    "interlaced, top first": ("mp4", _film("-flags", "+ildct+ilme", "-top", "1", rate="50", size="160x96",
                                           filters="tinterlace=interleave_top,fieldorder=tff")),
    "interlaced MPEG-2, bottom first": ("mpg", _codec("mpeg2video", "-flags", "+ildct+ilme", "-top", "0", "-vf",
                                                      "fieldorder=bff", audio=("-c:a", "mp2"), size="160x96")),
    "no sound": ("mp4", [*_picture(), *_FAST]),
    "sound alone": ("m4a", [*_tone(), *_AAC]),
    "sound alone, MP3": ("mp3", [*_tone(), "-c:a", "libmp3lame"]),
    "5.1 sound": ("mp4", _film("-ac", "6")),
    "mono, 8 kHz": ("mp4", _film("-ac", "1", "-ar", "8000")),
    "44.1 kHz": ("mp4", _film("-ar", "44100")),
    "three languages": ("mkv", _LANGUAGES),
    "sound starts late": ("mp4", [*_picture(), "-itsoffset", "3", *_tone(SECONDS - 3), *_FAST, *_AAC]),
    "sound starts early": ("mp4", ["-itsoffset", "0.52", *_picture(seconds=6.48), *_tone(), *_FAST, *_AAC]),
    "sound ends late": ("mp4", [*_picture(seconds=5), *_tone(9), *_FAST, *_AAC]),
    "sound ends early": ("mp4", [*_picture(), *_tone(2), *_FAST, *_AAC]),
    "negative start": ("mp4", _film("-output_ts_offset", "-0.5", "-avoid_negative_ts", "disabled")),
    "start at an hour": ("mp4", _film("-output_ts_offset", "3600")),
    "MPEG-TS": ("ts", _film("-g", "50")),
    "MPEG-TS, clock wraps": ("ts", _film("-g", "50", "-output_ts_offset", "95440", "-muxdelay", "0")),
    "AVI, MPEG-4 and MP3": ("avi", _codec("mpeg4", audio=("-c:a", "libmp3lame"))),
    "AVI, MPEG-4 with reordering": ("avi", _codec("mpeg4", "-bf", "2", audio=("-c:a", "libmp3lame"))),
    "AVI, motion JPEG": ("avi", _codec("mjpeg", pixels="yuvj420p", audio=("-c:a", "pcm_s16le"))),
    "WebM, VP9 and Opus": ("webm", _codec("libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", seconds=3,
                                          audio=("-c:a", "libopus"))),
    "WebM, VP8 and Vorbis": ("webm", _codec("libvpx", "-deadline", "realtime", "-cpu-used", "8",
                                            audio=("-c:a", "libvorbis"))),
    "WebM without length": ("webm", _codec("libvpx", "-deadline", "realtime", "-cpu-used", "8", "-live", "1",
                                           audio=("-c:a", "libopus"))),
    "AV1": ("mkv", _codec("libsvtav1", "-preset", "12", seconds=2)),
    "fragmented MP4": ("mp4", _film("-movflags", "frag_keyframe+empty_moov", "-g", "25")),
    # without B-pictures its first picture is stretched, and one picture is alone in the last group
    "fragmented MP4, one fragment": ("mp4", _film("-movflags", "frag_keyframe+empty_moov", seconds=6)),
    "fragmented MP4, reordered": ("mp4", _film("-bf", "2", "-movflags", "frag_keyframe+empty_moov", seconds=6)),
    "fragmented MP4 with its index behind": ("mp4", _film("-movflags", "frag_keyframe+delay_moov", seconds=6)),
    "fragments of CMAF": ("mp4", _film("-movflags", "cmaf", "-g", "25", seconds=6)),
    "a fragment a picture": ("mp4", _film("-movflags", "frag_every_frame+empty_moov", seconds=6)),
    "MPEG-TS, one key frame": ("ts", _film("-g", "9999", seconds=6)),
    "Matroska without length": ("mkv", _film("-live", "1", seconds=6)),
    "AVI, H.264": ("avi", _film("-bf", "0", seconds=6)),
    "index in front": ("mp4", _film("-movflags", "+faststart")),
    "Flash video": ("flv", _codec("flv1", audio=("-c:a", "libmp3lame", "-ar", "44100"))),
    "Ogg, Theora": ("ogv", _codec("libtheora", audio=("-c:a", "libvorbis"), size="160x96")),
    "Windows Media": ("wmv", _codec("wmv2", audio=("-c:a", "wmav2"))),
    "3GP, H.263": ("3gp", _codec("h263", size="176x144", audio=("-c:a", "aac", "-ar", "16000"))),
    "ProRes": ("mov", _codec("prores_ks", pixels="yuv422p10le", audio=("-c:a", "pcm_s16le"), seconds=2)),
    "one key frame": ("mp4", _film("-g", "9999")),
    "open groups": ("mp4", [*_film("-preset", "veryfast", "-bf", "3", "-g", "25"), "-x264-params", "open-gop=1"]),
    "half a second": ("mp4", _film(seconds=0.5)),
    "one picture under sound": ("mp4", [*_picture(rate="1", seconds=1), *_tone(4), *_FAST, *_AAC]),
    "two pictures tracks": ("mkv", [*_picture("64x48"), *_picture("160x90"), *_tone(), "-map", "0:v", "-map", "1:v",
                                    "-map", "2:a", *_FAST, *_AAC, "-disposition:v:0", "0",
                                    "-disposition:v:1", "default"]),
    "untagged 4:3 in standard definition": ("mp4", _film(size="320x240", seconds=3)),
}  # fmt: skip


def build(name: str) -> Path:
    """The film of kind `name`, made unless the cache has it."""
    folder = film_cache.folder_for(Path(__file__).read_bytes())
    return _build_special(name, folder) if name in SPECIAL else _build(name, folder)


def _build(name: str, folder: Path) -> Path:
    ending, arguments = KINDS[name]
    return film_cache.make(["-bitexact", *arguments], folder / f"{re.sub('[^a-z0-9]+', '_', name.lower())}.{ending}")


def _build_special(name: str, folder: Path) -> Path:
    # a kind that takes more than one step
    path = folder / f"{name.replace(' ', '_')}.mp4"
    if not path.exists():
        SPECIAL[name](folder, path)
    return path


def _make(arguments: list[str], path: Path) -> None:
    film_cache.make(["-bitexact", *arguments], path)


def _rotated(degrees: int) -> Callable[[Path, Path], None]:
    def make(folder: Path, path: Path) -> None:
        plain = _build("plain 25 pictures a second", folder)
        _make(["-i", str(plain), "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}"], path)

    return make


def _cut_in_front(folder: Path, path: Path) -> None:
    plain = _build("plain 25 pictures a second", folder)
    _make(["-ss", "1.3", "-i", str(plain), "-c", "copy"], path)


def _with_cover(folder: Path, path: Path) -> None:
    cover = folder / "cover.png"
    _make(["-f", "lavfi", "-i", "testsrc2=size=300x300", "-frames:v", "1"], cover)
    sound = _build("sound alone", folder)
    both = ["-i", str(sound), "-i", str(cover), "-map", "0", "-map", "1"]
    _make([*both, "-c", "copy", "-disposition:v:0", "attached_pic"], path)


def _changing_size(folder: Path, path: Path) -> None:
    pieces = [(folder / "small.h264", "160x90"), (folder / "large.h264", "320x180")]
    for piece, size in pieces:
        _make([*_picture(size, seconds=3), *_FAST], piece)
    joined = folder / f"joined_{os.getpid()}.h264"
    joined.write_bytes(b"".join(piece.read_bytes() for piece, _ in pieces))
    _make(["-r", "25", "-i", str(joined), "-c", "copy", "-f", "mpegts"], path)


def _hostile_name(folder: Path, path: Path) -> None:
    draft = folder / f"copy_{os.getpid()}.mp4"
    shutil.copy(_build("plain 25 pictures a second", folder), draft)
    draft.rename(path)


SPECIAL: dict[str, Callable[[Path, Path], None]] = {
    "turned by 90": _rotated(90),
    "turned by 180": _rotated(180),
    "turned by 270": _rotated(270),
    "cut in front by an edit list": _cut_in_front,
    "sound with a cover": _with_cover,
    "size changes midway": _changing_size,
    "name with % and 'quotes' and\nnewline": _hostile_name,
}
