"""How each film of the corpus is made: a name, a writer, and its commands. Nothing is made here."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.transcoder.strangers.pattern import SECONDS, picture, sound

Command = Sequence[str]

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50")
AAC = ("-c:a", "aac", "-b:a", "96k")
#: Flat colours for encoders that would rather save bits.
FINE = ("-q:v", "3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One film. In `commands`, `{out}` is the film and `{base}` one that the writer reads."""

    name: str
    writer: str
    ending: str
    commands: tuple[Command, ...]
    #: The recipe of `{base}`.
    base: "Recipe | None" = None
    #: The recipe of `{base0}`, for films that are made of two.
    first: "Recipe | None" = None
    #: Whether plain ffmpeg shows the colours that a viewer should see: it maps no tones.
    colour: bool = True
    #: How exact sound and picture can be: AVI keeps no times of showing, and each reader guesses those of B-frames.
    sync_seconds: float = 0.02

    @property
    def bytes(self) -> bytes:
        """All that the film depends on, apart from the programs."""
        calls = [word for call in self.commands for word in call if word != sys.executable]
        return repr((self.ending, calls, *(one.bytes for one in (self.base, self.first) if one))).encode()


def of_ffmpeg(
    name: str,
    ending: str,
    *options: str,
    size: str = "320x180",
    rate: str = "25",
    seconds: float = SECONDS,
    filters: str = "",
    layout: str = "mono",
    sample_rate: int = 48_000,
    silent: bool = False,
    sound_first: float = 0.0,
    picture_first: float = 0.0,
    colour: bool = True,
) -> Recipe:
    """A film that ffmpeg makes by itself."""
    shown = picture(size, rate, seconds - picture_first, picture_first) + (f",{filters}" if filters else "")
    moved = ["-itsoffset", str(picture_first)] if picture_first else []
    call = ["ffmpeg", "-nostdin", "-v", "error", "-y", *moved, "-f", "lavfi", "-i", shown]
    if not silent:
        call += ["-itsoffset", str(sound_first)] if sound_first else []
        call += ["-f", "lavfi", "-i", sound(layout, seconds, sound_first, sample_rate)]
    call += ["-bitexact", *options, "{out}"]
    return Recipe(name=name, writer="ffmpeg", ending=ending, commands=(call,), colour=colour)


def of_sound(name: str, ending: str, *options: str, layout: str = "stereo") -> Recipe:
    """A film of sound alone that ffmpeg makes."""
    call = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", sound(layout), "-bitexact", *options]
    return Recipe(name=name, writer="ffmpeg", ending=ending, commands=((*call, "{out}"),))


def _h264(name: str, ending: str = "mp4", *options: str, **words: object) -> Recipe:
    return of_ffmpeg(name, ending, *X264, *AAC, *options, **words)  # type: ignore[arg-type]


def _x264(name: str, parameters: str, *options: str, ending: str = "mp4", **words: object) -> Recipe:
    return _h264(name, ending, *options, "-x264-params", parameters, **words)


def _turned(degrees: int) -> Recipe:
    """As phones film: the frames lie on their side, and the container says so."""
    lie = {90: "transpose=1", 180: "hflip,vflip", 270: "transpose=2"}[degrees]
    size = "320x180" if degrees == 180 else "180x320"
    made = _h264(f"turned by {degrees} degrees", "mp4", size=size, filters=lie)
    call = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", "{base}", "-c", "copy"]
    turn = (*call, "-metadata:s:v:0", f"rotate={degrees}", "{out}")
    return Recipe(name=made.name, writer="ffmpeg", ending="mp4", commands=(turn,), base=made)


_WEBM = ("-deadline", "realtime", "-cpu-used", "8", "-b:v", "400k")
_VP8 = ("-c:v", "libvpx", *_WEBM)
_VP9 = ("-c:v", "libvpx-vp9", *_WEBM)
_AV1 = ("-c:v", "libsvtav1", "-preset", "12")
_X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-x265-params")
_QUIET = "log-level=none"
_PCM = ("-c:a", "pcm_s16le")
_HDR = "format=yuv420p10le,setparams=color_primaries=bt2020:color_trc={}:colorspace=bt2020nc"
_BT709 = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-vf",
          "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p")  # fmt: skip
_VFR = "select='not(mod(n,3))+lt(mod(n,10),5)'"

#: Containers, and what phones, cameras and screen recorders put into them.
CONTAINERS: tuple[Recipe, ...] = (
    _h264("H.264 and AAC in MP4"),
    _h264("H.264 and AAC in QuickTime", "mov"),
    _h264("H.264 and AAC in Matroska", "mkv"),
    _h264("H.264 and AAC in MPEG-TS", "ts"),
    _h264("H.264 and AAC in M2TS", "m2ts", "-mpegts_m2ts_mode", "1", "-f", "mpegts"),
    _h264("H.264 and AAC in FLV", "flv"),
    _h264("H.264 and AAC in AVI", "avi"),
    _h264("H.264 and AAC in 3GPP", "3gp"),
    _h264("H.264 and AAC in F4V", "f4v"),
    _h264("Smooth Streaming MP4", "ismv"),
    _h264("MP4 with its index in front", "mp4", "-movflags", "+faststart"),
    _h264("fragmented MP4", "mp4", "-movflags", "frag_keyframe+empty_moov"),
    _h264("fragmented MP4, delayed moov", "mp4", "-movflags", "frag_keyframe+delay_moov+default_base_moof"),
    _h264("fragmented MP4, a fragment a frame", "mp4", "-movflags", "frag_every_frame+empty_moov"),
    _h264("MP4 with negative composition offsets", "mp4", "-movflags", "negative_cts_offsets", "-bf", "2"),
    _h264("MP4 without edit lists", "mp4", "-use_editlist", "0", "-bf", "2"),
    _h264("MP4 that starts at an hour", "mp4", "-output_ts_offset", "3600"),
    _h264("Matroska without cues", "mkv", "-cues_to_front", "0", "-live", "1"),
    _h264("MPEG-TS with a late first packet", "ts", "-muxdelay", "2", "-muxpreload", "2"),
    _h264("MPEG-TS from the middle of a day", "ts", "-output_ts_offset", "43000"),
    _h264("MPEG-TS with B-frames", "ts", "-bf", "3"),
    replace(_h264("AVI with B-frames", "avi", "-bf", "2"), sync_seconds=0.045),
    _h264("FLV with B-frames", "flv", "-bf", "2"),
)  # fmt: skip

#: What encoders of H.264 may do.
H264: tuple[Recipe, ...] = (
    _x264("eight B-frames and a pyramid", "bframes=8:b-pyramid=normal:b-adapt=0"),
    _x264("open groups of pictures", "open-gop=1:bframes=3:keyint=30"),
    _x264("open groups of pictures in MPEG-TS", "open-gop=1:bframes=3:keyint=30", ending="ts"),
    _x264("intra refresh", "intra-refresh=1:keyint=30"),
    _x264("one key frame", "keyint=9999"),
    _x264("key frames alone", "keyint=1"),
    _x264("eight slices", "slices=8"),
    _x264("HRD and access unit delimiters", "nal-hrd=vbr:vbv-maxrate=800:vbv-bufsize=800:aud=1"),
    _x264("sixteen reference frames", "ref=16:bframes=3"),
    _h264("Baseline profile", "mp4", "-profile:v", "baseline"),
    _h264("lossless H.264", "mp4", "-qp", "0"),
    _h264("10-bit H.264", "mp4", "-pix_fmt", "yuv420p10le"),
    _h264("4:2:2 H.264", "mp4", "-pix_fmt", "yuv422p"),
    _h264("4:4:4 H.264", "mp4", "-pix_fmt", "yuv444p"),
    _h264("full range H.264", "mp4", "-pix_fmt", "yuvj420p"),
    _h264("H.264 in BT.709", "mp4", *_BT709),
    of_ffmpeg("RGB H.264", "mkv", "-c:v", "libx264rgb", "-preset", "ultrafast", "-pix_fmt", "rgb24", *AAC),
    _x264("interlaced, top field first", "tff=1", rate="50", filters="tinterlace=interleave_top,fieldorder=tff"),
    _x264("interlaced, bottom field first", "bff=1", rate="50", filters="tinterlace=interleave_bottom,fieldorder=bff"),
    _x264("interlaced in MPEG-TS", "tff=1", ending="ts", rate="50", filters="tinterlace=interleave_top,fieldorder=tff"),
    _x264("telecined film", "keyint=50", rate="24000/1001", filters="telecine"),
)

#: Rates and clocks.
RATES: tuple[Recipe, ...] = (
    *(_h264(f"{name} frames a second", "mp4", rate=rate) for name, rate in
      (("23.976", "24000/1001"), ("24", "24"), ("29.97", "30000/1001"), ("30", "30"), ("50", "50"),
       ("59.94", "60000/1001"), ("60", "60"), ("12.5", "25/2"), ("15", "15"), ("10", "10"), ("5", "5"),
       ("29.833", "179/6"), ("14.985", "15000/1001"))),
    _h264("120 frames a second", "mp4", rate="120", seconds=3),
    _h264("variable rate in MP4", "mp4", "-fps_mode", "vfr", rate="30", filters=_VFR),
    _h264("variable rate in Matroska", "mkv", "-fps_mode", "vfr", rate="30", filters=_VFR),
    _h264("variable rate in FLV", "flv", "-fps_mode", "vfr", rate="30", filters=_VFR),
    _h264("a hole of half a second", "mp4", "-fps_mode", "vfr", filters="select='not(between(t,3.3,3.9))'"),
    _h264("a rough clock in milliseconds", "mkv", "-fps_mode", "vfr", rate="30",
          filters="setpts='PTS+0.004*(mod(N\\,3)-1)/TB'"),
)  # fmt: skip

#: Sizes and shapes.
SHAPES: tuple[Recipe, ...] = (
    _turned(90), _turned(180), _turned(270),
    _h264("portrait", "mp4", size="180x320"),
    _h264("square", "mp4", size="240x240"),
    _h264("very wide", "mp4", size="640x272"),
    _h264("very high", "mp4", size="180x640"),
    _h264("three monitors", "mp4", size="1728x324", seconds=3),
    _h264("high definition", "mp4", *_BT709, size="1280x720", seconds=3),
    # a viewer's browser takes it for BT.709, plain ffmpeg for BT.601
    _h264("high definition without tags", "mp4", size="1280x720", seconds=3, colour=False),
    _h264("anamorphic, wide pixels", "mp4", size="320x180", filters="scale=240:180,setsar=4/3"),
    _h264("anamorphic, narrow pixels", "mp4", size="320x240", filters="scale=360:240,setsar=8/9"),
    _h264("pixels twice as high", "mp4", size="320x180", filters="scale=320:90,setsar=1/2"),
    _h264("anamorphic in MPEG-TS", "ts", size="320x180", filters="scale=240:180,setsar=4/3"),
    _h264("anamorphic in Matroska", "mkv", size="320x180", filters="scale=240:180,setsar=4/3"),
    _h264("PAL, 16:9", "mp4", size="1024x576", seconds=3, filters="scale=720:576,setsar=64/45"),
    of_ffmpeg("odd width and height", "mkv", "-c:v", "ffv1", *AAC, size="322x182",
              filters="format=yuv444p,crop=321:181"),
    _h264("sixteen pixels more", "mp4", size="336x196"),
)  # fmt: skip

#: Other codecs of pictures.
CODECS: tuple[Recipe, ...] = (
    of_ffmpeg("HEVC in MP4, hvc1", "mp4", *_X265, _QUIET, "-tag:v", "hvc1", *AAC),
    of_ffmpeg("HEVC in MP4, hev1", "mp4", *_X265, _QUIET, "-tag:v", "hev1", *AAC),
    of_ffmpeg("HEVC in MPEG-TS", "ts", *_X265, _QUIET, *AAC),
    of_ffmpeg("HEVC in Matroska, open groups", "mkv", *_X265, f"{_QUIET}:open-gop=1:keyint=30:bframes=4", *AAC),
    of_ffmpeg("10-bit HEVC", "mp4", *_X265, _QUIET, "-pix_fmt", "yuv420p10le", *AAC),
    of_ffmpeg("12-bit 4:2:2 HEVC", "mkv", *_X265, _QUIET, "-pix_fmt", "yuv422p12le", *AAC),
    of_ffmpeg("HEVC in PQ", "mp4", *_X265, f"{_QUIET}:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc",
              "-pix_fmt", "yuv420p10le", *AAC, filters=_HDR.format("smpte2084"), colour=False),
    of_ffmpeg("HEVC in HLG", "mp4", *_X265, f"{_QUIET}:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc",
              "-pix_fmt", "yuv420p10le", *AAC, filters=_HDR.format("arib-std-b67"), colour=False),
    of_ffmpeg("AV1 by SVT in MP4", "mp4", *_AV1, *AAC),
    of_ffmpeg("AV1 by SVT and Opus in WebM", "webm", *_AV1, "-c:a", "libopus"),
    of_ffmpeg("10-bit AV1 by SVT", "mkv", *_AV1, "-pix_fmt", "yuv420p10le", *AAC),
    of_ffmpeg("AV1 by libaom", "mkv", "-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", *AAC, seconds=3),
    of_ffmpeg("VP8 and Vorbis in WebM", "webm", *_VP8, "-c:a", "libvorbis"),
    of_ffmpeg("VP8 with hidden frames", "webm", "-c:v", "libvpx", "-cpu-used", "5", "-auto-alt-ref", "1",
              "-lag-in-frames", "16", "-b:v", "400k", "-c:a", "libvorbis"),
    of_ffmpeg("VP9 and Opus in WebM", "webm", *_VP9, "-c:a", "libopus"),
    of_ffmpeg("VP9 in MP4", "mp4", *_VP9, *AAC),
    of_ffmpeg("10-bit VP9", "webm", *_VP9, "-pix_fmt", "yuv420p10le", "-c:a", "libopus"),
    of_ffmpeg("4:4:4 VP9", "webm", *_VP9, "-pix_fmt", "yuv444p", "-c:a", "libopus"),
    of_ffmpeg("MPEG-2 and MP2 in MPEG-PS", "mpg", "-c:v", "mpeg2video", *FINE, "-bf", "2", "-c:a", "mp2"),
    of_ffmpeg("MPEG-2 and AC-3 in VOB", "vob", "-c:v", "mpeg2video", *FINE, "-c:a", "ac3"),
    of_ffmpeg("MPEG-2 and MP2 in MPEG-TS", "ts", "-c:v", "mpeg2video", *FINE, "-bf", "2", "-c:a", "mp2"),
    of_ffmpeg("MPEG-2 and PCM in MXF", "mxf", "-c:v", "mpeg2video", *FINE, *_PCM),
    of_ffmpeg("MPEG-1 and MP2 in MPEG-PS", "mpg", "-c:v", "mpeg1video", *FINE, "-c:a", "mp2"),
    of_ffmpeg("MPEG-4 and MP3 in AVI", "avi", "-c:v", "mpeg4", *FINE, "-c:a", "libmp3lame"),
    of_ffmpeg("MPEG-4 with B-frames in AVI", "avi", "-c:v", "mpeg4", *FINE, "-bf", "2", "-c:a", "libmp3lame"),
    of_ffmpeg("MPEG-4 and AAC in MP4", "mp4", "-c:v", "mpeg4", *FINE, *AAC),
    of_ffmpeg("Xvid and MP3 in AVI", "avi", "-c:v", "libxvid", *FINE, "-c:a", "libmp3lame"),
    of_ffmpeg("MS-MPEG-4 version 2 in AVI", "avi", "-c:v", "msmpeg4v2", *FINE, "-c:a", "libmp3lame"),
    of_ffmpeg("MS-MPEG-4 version 3 in AVI", "avi", "-c:v", "msmpeg4", *FINE, "-c:a", "adpcm_ms"),
    of_ffmpeg("Windows Media 7", "asf", "-c:v", "wmv1", *FINE, "-c:a", "wmav1"),
    of_ffmpeg("Windows Media 8", "wmv", "-c:v", "wmv2", *FINE, "-c:a", "wmav2"),
    of_ffmpeg("H.263 and AAC in 3GPP", "3gp", "-c:v", "h263", *FINE, *AAC, size="352x288"),
    of_ffmpeg("Sorenson H.263 and MP3 in FLV", "flv", "-c:v", "flv", *FINE, "-c:a", "libmp3lame",
              "-ar", "44100"),
    of_ffmpeg("Screen Video in FLV", "flv", "-c:v", "flashsv", "-c:a", "libmp3lame", "-ar", "44100"),
    of_ffmpeg("Sorenson Video in QuickTime", "mov", "-c:v", "svq1", *FINE, *_PCM),
    of_ffmpeg("Theora and Vorbis in Ogg", "ogv", "-c:v", "libtheora", "-q:v", "9", "-c:a", "libvorbis"),
    of_ffmpeg("Theora and FLAC in Matroska", "mkv", "-c:v", "libtheora", "-q:v", "9", "-c:a", "flac"),
    of_ffmpeg("ProRes 422 HQ", "mov", "-c:v", "prores_ks", "-profile:v", "3", *_PCM, seconds=3),
    of_ffmpeg("ProRes 4444", "mov", "-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le",
              *_PCM, seconds=3),
    of_ffmpeg("DNxHR in QuickTime", "mov", "-c:v", "dnxhd", "-profile:v", "dnxhr_sq", "-pix_fmt", "yuv422p", *_PCM,
              seconds=3),
    of_ffmpeg("DNxHR in MXF", "mxf", "-c:v", "dnxhd", "-profile:v", "dnxhr_sq", "-pix_fmt", "yuv422p", *_PCM,
              seconds=3),
    of_ffmpeg("CineForm", "mov", "-c:v", "cfhd", "-pix_fmt", "yuv422p10le", *_PCM, size="320x192", seconds=3),
    of_ffmpeg("DV in AVI", "avi", "-target", "pal-dv", "-f", "avi", size="768x576", seconds=3),
    of_ffmpeg("DV in QuickTime", "mov", "-c:v", "dvvideo", "-pix_fmt", "yuv420p", *_PCM, size="768x576", seconds=3,
              filters="scale=720:576,setsar=16/15"),
    of_ffmpeg("raw DV", "dv", "-target", "pal-dv", size="768x576", seconds=3),
    of_ffmpeg("FFV1 and FLAC in Matroska", "mkv", "-c:v", "ffv1", "-level", "3", "-c:a", "flac"),
    of_ffmpeg("HuffYUV in AVI", "avi", "-c:v", "huffyuv", *_PCM),
    of_ffmpeg("Ut Video in AVI", "avi", "-c:v", "utvideo", *_PCM),
    of_ffmpeg("MagicYUV in AVI", "avi", "-c:v", "magicyuv", "-pix_fmt", "gbrp", *_PCM),
    of_ffmpeg("Motion JPEG in AVI", "avi", "-c:v", "mjpeg", *FINE, *_PCM),
    of_ffmpeg("Motion JPEG in QuickTime", "mov", "-c:v", "mjpeg", *FINE, *_PCM),
    of_ffmpeg("JPEG 2000 in QuickTime", "mov", "-c:v", "jpeg2000", "-pix_fmt", "yuv422p", *_PCM, seconds=3),
    of_ffmpeg("QuickTime Animation", "mov", "-c:v", "qtrle", *_PCM),
    of_ffmpeg("PNG in QuickTime", "mov", "-c:v", "png", *_PCM, seconds=3),
    of_ffmpeg("Cinepak in AVI", "avi", "-c:v", "cinepak", *_PCM, size="160x96", seconds=3),
    of_ffmpeg("ZMBV in AVI", "avi", "-c:v", "zmbv", *_PCM),
    of_ffmpeg("raw RGB in AVI", "avi", "-c:v", "rawvideo", "-pix_fmt", "bgr24", *_PCM, seconds=3),
    of_ffmpeg("raw 4:2:0 in AVI", "avi", "-c:v", "rawvideo", "-pix_fmt", "yuv420p", *_PCM, seconds=3),
    of_ffmpeg("raw 4:2:2 in QuickTime", "mov", "-c:v", "v210", *_PCM, seconds=3),
    of_ffmpeg("Dirac in Matroska", "mkv", "-c:v", "vc2", "-pix_fmt", "yuv420p", "-b:v", "20M", *_PCM, seconds=3),
    of_ffmpeg("grey FFV1", "mkv", "-c:v", "ffv1", "-pix_fmt", "gray", "-c:a", "flac"),
    of_ffmpeg("palette PNG in Matroska", "mkv", "-c:v", "png", "-pix_fmt", "rgba", "-c:a", "flac", seconds=3),
)  # fmt: skip

#: Sound: codecs, channels, rates and starts.
SOUNDS: tuple[Recipe, ...] = (
    *(of_ffmpeg(f"{name} in {ending}", ending, *X264, "-c:a", *codec) for name, ending, codec in (
        ("ALAC", "mp4", ("alac",)), ("AC-3", "mp4", ("ac3",)), ("E-AC-3", "mp4", ("eac3",)),
        ("MP3", "mp4", ("libmp3lame",)), ("Opus", "mp4", ("libopus", "-strict", "-2")), ("FLAC", "mkv", ("flac",)),
        ("DTS", "mkv", ("dca", "-strict", "-2")), ("Vorbis", "mkv", ("libvorbis",)), ("MP2", "ts", ("mp2",)),
        ("AC-3", "ts", ("ac3",)), ("24-bit PCM", "mov", ("pcm_s24le",)), ("big-endian PCM", "mov", ("pcm_s16be",)),
        ("u-law", "mov", ("pcm_mulaw",)), ("IMA ADPCM", "mov", ("adpcm_ima_qt",)), ("float PCM", "mkv", ("pcm_f32le",)),
        ("TrueHD", "mkv", ("truehd", "-strict", "-2")), ("Speex", "flv", ("libspeex", "-ar", "16000")),
    )),
    _h264("stereo", "mp4", layout="stereo"),
    _h264("5.1 sound", "mp4", layout="5.1"),
    of_ffmpeg("7.1 sound", "mkv", *X264, "-c:a", "flac", layout="7.1"),
    _h264("sound of 8 kHz", "mp4", sample_rate=8000),
    _h264("sound of 44.1 kHz", "mp4", sample_rate=44_100),
    _h264("sound of 96 kHz", "mp4", sample_rate=96_000),
    _h264("sound that starts late", "mp4", sound_first=0.7),
    _h264("sound that starts late in Matroska", "mkv", sound_first=0.7),
    _h264("sound that starts late in MPEG-TS", "ts", sound_first=0.7),
    _h264("sound that starts late in FLV", "flv", sound_first=0.7),
    _h264("sound that starts late in AVI", "avi", sound_first=0.7),
    _h264("a picture that starts late", "mp4", picture_first=0.44),
    _h264("a picture that starts late in Matroska", "mkv", picture_first=0.44),
    _h264("a picture that starts late in MPEG-TS", "ts", picture_first=0.44),
    of_ffmpeg("no sound", "mp4", *X264, silent=True),
    of_sound("AAC alone", "m4a", *AAC),
    of_sound("MP3 alone", "mp3", "-c:a", "libmp3lame"),
    of_sound("Opus alone", "opus", "-c:a", "libopus"),
    of_sound("FLAC alone", "flac"),
    of_sound("WAV alone", "wav"),
    of_sound("Windows Media sound alone", "wma", "-c:a", "wmav2"),
    of_sound("ADTS alone", "aac", *AAC),
)  # fmt: skip

_MP4 = _h264("H.264 with B-frames", "mp4", "-bf", "2")


def _after(name: str, ending: str, options: str, *commands: str, base: Recipe, colour: bool = True) -> Recipe:
    """A film that ffmpeg makes of another one."""
    call = f"ffmpeg -nostdin -v error -y {options} {{out}}"
    calls = tuple(tuple(command.split()) for command in (*commands, call))
    return Recipe(name=name, writer="ffmpeg", ending=ending, commands=calls, base=base, colour=colour)


def _joined(name: str, ending: str, one: Recipe, other: Recipe) -> Recipe:
    """Two films as one file, byte by byte, as recorders that begin anew write."""
    other_of = Recipe(name="first", writer="ffmpeg", ending=ending, commands=(("cp", "{base}", "{out}"),), base=one)
    call = ("sh", "-c", 'cat "$1" "$2" > "$3"', "join", "{base0}", "{base}", "{out}")
    return Recipe(name=name, writer="ffmpeg", ending=ending, commands=(call,), base=other, first=other_of)


def _cut_off(name: str, ending: str, percent: int, base: Recipe) -> Recipe:
    """The first part of a file, as a program or a machine that stopped leaves it."""
    call = ("sh", "-c", f'head -c $(($(stat -c %s "$1") * {percent} / 100)) "$1" > "$2"', "cut", "{base}", "{out}")
    return Recipe(name=name, writer="ffmpeg", ending=ending, commands=(call,), base=base)


def _unknown_sound(name: str, ending: str, base: Recipe) -> Recipe:
    """The last track of sound is of a kind that ffmpeg does not know: the spatial sound of newer phones."""
    read, write = "open(sys.argv[1], 'rb').read()", "open(sys.argv[2], 'wb').write(data[:at] + b'apac' + data[at + 4:])"
    code = f"import sys; data = {read}; at = data.rindex(b'mp4a'); {write}"
    call = ("python3", "-c", code, "{base}", "{out}")
    return Recipe(name=name, writer="ffmpeg", ending=ending, commands=(call,), base=base)


def _tagged(matrix: str, full: bool = False) -> Recipe:
    """What was drawn, in the numbers of another standard, and said so."""
    level, pixels = ("pc", "yuvj420p") if full else ("tv", "yuv420p")
    chain = f"scale=out_color_matrix={matrix.replace('bt470bg', 'bt470').replace('2020nc', '2020')}:out_range={level}"
    primaries = {"bt2020nc": "bt2020"}.get(matrix, matrix)
    tags = ("-colorspace", matrix, "-color_primaries", primaries, "-color_range", level)
    words = (*tags, "-vf", f"{chain},format={pixels}", "-pix_fmt", pixels)
    return _h264(f"{matrix}{' in full range' if full else ''}", "mp4", *words)


_STEREO_TS = _h264("stereo", "ts", "-muxdelay", "0", layout="stereo")
_LATER_TS = _h264("later", "ts", "-muxdelay", "0", "-output_ts_offset", "777", layout="stereo")
_FIVE_TS = _h264("5.1", "ts", "-muxdelay", "0", "-output_ts_offset", "6.04", layout="5.1")
_COPY = "-i {base} -c copy"

#: What happens to films after they were recorded.
ODD: tuple[Recipe, ...] = (
    *(_tagged(matrix) for matrix in ("bt709", "bt470bg", "smpte170m", "smpte240m", "bt2020nc")),
    _tagged("bt709", full=True),
    _h264("48 frames a second", "mp4", rate="48"),
    _h264("100 frames a second", "mp4", rate="100", seconds=3),
    _h264("240 frames a second", "mp4", rate="240", seconds=3),
    _h264("cropped macroblocks", "mp4", size="354x202"),
    _h264("grey H.264", "mp4", "-pix_fmt", "gray"),
    of_ffmpeg("VP8 with transparency", "webm", *_VP8, "-auto-alt-ref", "0", "-pix_fmt", "yuva420p",
              "-c:a", "libvorbis"),
    of_ffmpeg("16-bit RGB", "mkv", "-c:v", "ffv1", "-pix_fmt", "rgb48le", "-strict", "-2", "-c:a", "flac", seconds=3),
    of_ffmpeg("16-bit grey", "mkv", "-c:v", "ffv1", "-pix_fmt", "gray16le", "-strict", "-2", "-c:a", "flac", seconds=3),
    of_ffmpeg("Video 1 in AVI", "avi", "-c:v", "msvideo1", "-pix_fmt", "rgb555le", *_PCM, seconds=3),
    of_ffmpeg("DV of NTSC in AVI", "avi", "-target", "ntsc-dv", "-f", "avi", size="640x480", rate="30000/1001",
              seconds=3),
    _h264("gaps in the sound", "mkv", "-af", "aselect=not(between(t\\,2.5\\,3))"),
    _h264("sound by a rough clock", "mkv", "-af", "asetpts=PTS+0.012*(mod(N\\,3)-1)/TB"),
    _h264("sound that lags more and more", "mkv", "-af", "asetpts=PTS*1.01"),
    _h264("a timecode track", "mov", "-timecode", "01:00:00:00"),
    _after("cut in the middle of a group", "mp4", "-ss 1.3 -i {base} -c copy", base=_MP4),
    _after("cut in the middle of a group, Matroska", "mkv", "-ss 1.3 -i {base} -c copy", base=_MP4),
    _after("cut in the middle of a group, MPEG-TS", "ts", "-ss 1.3 -i {base} -c copy", base=_MP4),
    _after("cut at its end", "mp4", "-i {base} -t 4.33 -c copy", base=_MP4),
    _after("sound of another track first", "mkv", "-i {base} -map 0:a -map 0:v -c copy", base=_MP4),
    _after("two tracks of sound", "mp4", "-i {base} -map 0 -map 0:a -c copy -metadata:s:a:1 language=fra", base=_MP4),
    _after("a title", "mkv", "-i {base} -c copy -metadata title=Lesson -disposition:a:0 default", base=_MP4),
    _after("sound moved by the player's clock", "mp4", "-i {base} -itsoffset 0.25 -i {base} -map 0:v -map 1:a -c copy",
           base=_MP4),
    _after("picture moved by the player's clock", "mov", "-itsoffset 0.4 -i {base} -i {base} -map 0:v -map 1:a -c copy",
           base=_MP4),
    _after("twice as slow", "mp4", "-itsscale 2 -i {base} -c copy", base=_MP4),
    _after("an MP4 of an MPEG-TS", "mp4", "-i {base} -c copy", base=_h264("base", "ts", "-bf", "2")),
    _after("an MPEG-TS of an FLV", "ts", "-i {base} -c copy", base=_h264("base", "flv", "-bf", "2")),
    _after("a Matroska of an AVI", "mkv", "-fflags +genpts -i {base} -c copy",
           base=of_ffmpeg("base", "avi", "-c:v", "mpeg4", *FINE, "-c:a", "libmp3lame")),
    _after("joined by a list", "mp4", "-f concat -safe 0 -i {out}.txt -c copy",
           "python3 -c open('{out}.txt','w').write('file\\x20{base}\\n'*2)", base=_MP4),
    _joined("a recorder that began anew", "ts", _STEREO_TS, _LATER_TS),
    _joined("a recorder that began anew with 5.1 sound", "ts", _STEREO_TS, _FIVE_TS),
    _joined("other pixels from the middle on", "ts", _STEREO_TS,
            _h264("other", "ts", "-muxdelay", "0", "-output_ts_offset", "6.04", size="320x180", layout="stereo",
                  filters="scale=240:180,setsar=4/3")),
    _joined("another size from the middle on", "ts", _STEREO_TS,
            _h264("other", "ts", "-muxdelay", "0", "-output_ts_offset", "6.04", size="480x270", layout="stereo")),
    _joined("another rate of sound from the middle on", "ts", _STEREO_TS,
            _h264("other", "ts", "-muxdelay", "0", "-output_ts_offset", "6.04", layout="stereo", sample_rate=44_100)),
)  # fmt: skip

_RAW = of_ffmpeg("raw", "avi", "-c:v", "rawvideo", "-pix_fmt", "yuv420p", *_PCM)
_Y4M = of_ffmpeg("raw", "y4m", "-pix_fmt", "yuv420p", silent=True)


def _by(writer: str, name: str, ending: str, *commands: str, base: Recipe = _RAW) -> Recipe:
    """A film that another program writes from `base`; each command is one line."""
    calls = tuple(tuple(command.split()) for command in commands)
    return Recipe(name=f"{name} by {writer}", writer=writer, ending=ending, commands=calls, base=base)


def _mkvmerge(name: str, options: str, base: Recipe = _MP4, ending: str = "mkv") -> Recipe:
    return _by("mkvmerge", name, ending, f"mkvmerge -q -o {{out}} {options}", base=base)


def _gstreamer(name: str, ending: str, video: str, audio: str, muxer: str) -> Recipe:
    source = "filesrc location={base} ! avidemux name=film"
    picture_way = f"film. ! queue max-size-time=0 max-size-bytes=0 ! videoconvert ! {video} ! queue ! mux."
    sound_way = (
        f"film. ! queue max-size-time=0 max-size-bytes=0 ! audioconvert ! audioresample ! {audio} ! queue ! mux."
    )
    end = f"{muxer} name=mux ! filesink location={{out}}"
    return _by("GStreamer", name, ending, f"gst-launch-1.0 -q {source} {picture_way} {sound_way} {end}")


def _mencoder(name: str, ending: str, options: str) -> Recipe:
    return _by("MEncoder", name, ending, f"mencoder {{base}} -really-quiet -o {{out}} {options}")


def _handbrake(name: str, ending: str, options: str) -> Recipe:
    return _by("HandBrake", name, ending, f"HandBrakeCLI -i {{base}} -o {{out}} {options}")


def _chromium(name: str, ending: str, mime: str) -> Recipe:
    call = f"{sys.executable} -m tests.transcoder.strangers.chromium {mime} {{out}}"
    return replace(_by("Chromium", name, ending, call), base=None)


_GST264 = "x264enc speed-preset=ultrafast key-int-max=50 ! h264parse"
_LAVC = "-ovc lavc -lavcopts vcodec={}:vqscale=3"

#: Films of other writers.
STRANGERS: tuple[Recipe, ...] = (
    _mkvmerge("H.264 and AAC", "{base}"),
    _mkvmerge("zlib headers", "--compression 0:zlib --compression 1:zlib {base}"),
    _mkvmerge("late sound", "--sync 1:300 {base}"),
    _mkvmerge("early sound", "--sync 1:-200 {base}"),
    _mkvmerge("two films one after the other", "{base} + {base}"),
    _mkvmerge("no lacing, no cues", "--disable-lacing --no-cues {base}"),
    _mkvmerge("half a second clusters", "--cluster-length 500ms {base}"),
    _mkvmerge("another aspect", "--aspect-ratio 0:4/3 {base}"),
    _mkvmerge("VP9 and Opus in WebM", "-w {base}", ending="webm",
              base=of_ffmpeg("base", "webm", *_VP9, "-c:a", "libopus")),
    _mkvmerge("MPEG-4 and MP3 of an AVI", "{base}",
              base=of_ffmpeg("base", "avi", "-c:v", "mpeg4", *FINE, "-c:a", "libmp3lame")),
    _mkvmerge("H.264 and AAC of a transport stream", "{base}", base=_h264("base", "ts", "-bf", "2")),
    _gstreamer("H.264 and MP3 in MP4", "mp4", _GST264, "lamemp3enc ! mpegaudioparse", "mp4mux"),
    _gstreamer("H.264 and Opus in MP4", "mp4", _GST264, "opusenc", "mp4mux"),
    _gstreamer("fragmented QuickTime", "mov", _GST264, "lamemp3enc ! mpegaudioparse",
               "qtmux fragment-duration=1000"),
    _gstreamer("H.264 and Vorbis in Matroska", "mkv", _GST264, "vorbisenc", "matroskamux"),
    _gstreamer("H.264 and MP3 in MPEG-TS", "ts", _GST264, "lamemp3enc ! mpegaudioparse", "mpegtsmux"),
    _gstreamer("H.264 and MP3 in FLV", "flv", _GST264, "lamemp3enc ! audio/mpeg,rate=44100 ! mpegaudioparse",
               "flvmux"),
    _gstreamer("VP8 and Vorbis in WebM", "webm", "vp8enc deadline=1 target-bitrate=600000", "vorbisenc",
               "webmmux streamable=true"),
    _gstreamer("VP9 and Opus in WebM", "webm", "vp9enc deadline=1 target-bitrate=600000", "opusenc", "webmmux"),
    _gstreamer("Theora and Vorbis in Ogg", "ogg", "theoraenc quality=60", "vorbisenc", "oggmux"),
    _gstreamer("Motion JPEG and PCM in AVI", "avi", "jpegenc", "audio/x-raw,format=S16LE", "avimux"),
    _gstreamer("H.265 and FLAC in Matroska", "mkv", "x265enc speed-preset=ultrafast ! h265parse", "flacenc",
               "matroskamux"),
    _mencoder("MPEG-4 and MP3 in AVI", "avi", f"{_LAVC.format('mpeg4')} -oac mp3lame"),
    _mencoder("MPEG-4 with B-frames in AVI", "avi", f"{_LAVC.format('mpeg4')}:vmax_b_frames=2 -oac mp3lame"),
    _mencoder("Xvid and PCM in AVI", "avi", "-ovc xvid -xvidencopts fixed_quant=3 -oac pcm"),
    _mencoder("H.264 and MP3 in AVI", "avi", "-ovc x264 -x264encopts preset=ultrafast:crf=20 -oac mp3lame"),
    _mencoder("MPEG-2 and MP2 in MPEG-PS", "mpg",
              f"-of mpeg -mpegopts format=mpeg2 {_LAVC.format('mpeg2video')} -oac twolame"),
    _handbrake("H.264 and AAC in MP4", "mp4", "-f av_mp4 -e x264 --encoder-preset ultrafast -q 22 -E av_aac"),
    _handbrake("web-optimised MP4 with variable rate", "mp4",
               "-f av_mp4 -O --vfr -e x264 --encoder-preset ultrafast -q 22 -E av_aac --align-av"),
    _handbrake("H.265 and AC-3 in Matroska", "mkv",
               "-f av_mkv -e x265 --encoder-preset ultrafast -q 24 -E ac3"),
    _handbrake("VP8 and Vorbis in WebM", "webm", "-f av_webm -e VP8 -q 20 -E vorbis"),
    _by("x264", "H.264 in Matroska", "mkv", "x264 --quiet --preset ultrafast -o {out} {base}", base=_Y4M),
    _by("x264", "H.264 in FLV", "flv", "x264 --quiet --preset ultrafast --bframes 3 -o {out} {base}", base=_Y4M),
    _by("vpxenc", "VP9 in WebM", "webm", "vpxenc -q --codec=vp9 --rt --cpu-used=8 -o {out} {base}", base=_Y4M),
    _by("vpxenc", "VP8 in IVF", "ivf", "vpxenc -q --codec=vp8 --rt --ivf -o {out} {base}", base=_Y4M),
    _by("SVT-AV1", "AV1 in IVF", "ivf", "SvtAv1EncApp --preset 12 -i {base} -b {out}", base=_Y4M),
    _by("x265", "H.265 by x265, wrapped by mkvmerge", "mkv",
        "x265 --log-level none --preset ultrafast --y4m {base} -o {out}.hevc",
        "mkvmerge -q -o {out} --default-duration 0:25p {out}.hevc", "rm {out}.hevc", base=_Y4M),
    _chromium("VP8 and Opus in WebM", "webm", "video/webm;codecs=vp8,opus"),
    _chromium("VP9 and Opus in WebM", "webm", "video/webm;codecs=vp9,opus"),
    _chromium("AV1 and Opus in WebM", "webm", "video/webm;codecs=av01,opus"),
    _chromium("H.264 and Opus in Matroska", "mkv", "video/x-matroska;codecs=avc1,opus"),
    _chromium("H.264 and Opus in MP4", "mp4", "video/mp4;codecs=avc1.42E01E,opus"),
    _chromium("VP9 and Opus in MP4", "mp4", "video/mp4;codecs=vp9,opus"),
)  # fmt: skip

_PROGRAM = ("-c:v", "mpeg2video", *FINE, "-bf", "2", "-c:a", "mp2")
#: One field after the other, the upper one first, as the file says.
_FIELDS = {"rate": "50", "filters": "tinterlace=interleave_top,fieldorder=tff"}
_MPEG2_FIELDS = ("-c:v", "mpeg2video", *FINE, "-flags", "+ilme+ildct", "-top", "1")
_GAP = {"rate": "30", "seconds": 16, "filters": "select='lt(t,6)+gte(t,15.9)'"}
_RED = "ffmpeg -nostdin -v error -y -f lavfi -i color=red:s=300x300 -frames:v 1 {out}.png"
_COVER = "-i {base} -i {out}.png -map 0:a -map 1 -c:a copy -c:v png -disposition:v:0 attached_pic"


def _made(name: str, ending: str, *options: str, **words: object) -> Recipe:
    return of_ffmpeg(name, ending, *options, **words)  # type: ignore[arg-type]


def _as_filmed(name: str, ending: str, base: Recipe) -> Recipe:
    return _after(name, ending, "-i {base} -c copy -metadata:s:v:0 rotate=90", base=base)


#: What phones, recorders and streams leave behind.
LEFTOVERS: tuple[Recipe, ...] = (
    _h264("a picture that stands for ten seconds", "mp4", "-fps_mode", "vfr", **_GAP),
    _made("a picture that stands for ten seconds in WebM", "webm", *_VP8, "-c:a", "libopus", "-fps_mode", "vfr",
              **_GAP),
    _as_filmed("turned and cropped", "mp4", _h264("base", "mp4", size="202x354", filters="transpose=1")),
    _as_filmed("turned HEVC in QuickTime", "mov",
               of_ffmpeg("base", "mov", *_X265, _QUIET, "-tag:v", "hvc1", *AAC, size="180x320", filters="transpose=1")),
    _as_filmed("turned wide pixels", "mp4", _h264("base", "mp4", filters="scale=240:180,setsar=4/3,transpose=1")),
    of_ffmpeg("10-bit AV1 in PQ", "mkv", *_AV1, "-pix_fmt", "yuv420p10le", *AAC, filters=_HDR.format("smpte2084"),
              colour=False),
    of_ffmpeg("10-bit VP9 in HLG", "webm", *_VP9, "-pix_fmt", "yuv420p10le", "-c:a", "libopus",
              filters=_HDR.format("arib-std-b67"), colour=False),
    of_ffmpeg("VP9 with transparency", "webm", *_VP9, "-auto-alt-ref", "0", "-pix_fmt", "yuva420p", "-c:a", "libopus"),
    of_ffmpeg("5.1 Opus in WebM", "webm", *_VP9, "-c:a", "libopus", layout="5.1"),
    _h264("CMAF", "mp4", "-movflags", "cmaf+frag_keyframe"),
    _h264("DASH with one index", "mp4", "-movflags", "dash+global_sidx+frag_keyframe"),
    _after("an attachment, three languages, Arabic titles", "mkv",
           "-i {base} -map 0:v -map 0:a -map 0:a -map 0:a -c copy -attach README.md -metadata:s:t:0 mimetype=font/ttf"
           " -metadata:s:a:0 language=eng -metadata:s:a:1 language=ara -metadata:s:a:2 language=fra"
           " -metadata:s:a:1 title=العربية -disposition:a:0 0 -disposition:a:1 default -metadata title=الدرس",
           base=_MP4),
    _after("M4A with a cover", "m4a", _COVER, _RED, base=of_sound("base", "m4a", *AAC)),
    _after("FLAC with a cover", "flac", _COVER, _RED, base=of_sound("base", "flac")),
    _after("a cover before the picture", "mp4",
           "-i {out}.png -i {base} -map 0 -map 1 -c copy -c:v:0 png -disposition:v:0 attached_pic", _RED, base=_MP4),
    of_ffmpeg("odd width and height in VP9", "webm", *_VP9, "-c:a", "libopus", size="322x182",
              filters="format=yuv444p,crop=321:181,format=yuv420p"),
    _made("interlaced MPEG-2 in MPEG-TS", "ts", *_MPEG2_FIELDS, "-c:a", "mp2", **_FIELDS),
    _made("interlaced MPEG-2 in MXF", "mxf", *_MPEG2_FIELDS, "-pix_fmt", "yuv422p", *_PCM,
              **_FIELDS),
    _h264("sound that ends early", "mp4", "-af", "atrim=0:3.5"),
    _after("two programs", "ts", "-i {base} -map 0:v -map 0:a -map 0:v -map 0:a -c copy"
           " -program title=one:st=0:st=1 -program title=two:st=2:st=3", base=_MP4),
    _made("ADPCM in FLV", "flv", "-c:v", "flv", *FINE, "-c:a", "adpcm_swf", "-ar", "22050"),
    _made("PCM of a Blu-ray that starts late", "m2ts", *X264, "-bf", "2", "-c:a", "pcm_bluray",
          "-mpegts_m2ts_mode", "1", "-f", "mpegts", layout="stereo", sound_first=0.7),
    _made("A-law of a camera in AVI", "avi", *X264, "-c:a", "pcm_alaw", sample_rate=8000),
    _made("PCM in MP4", "mp4", *X264, "-c:a", "pcm_s16be", "-f", "mov"),
    _made("AVCHD", "m2ts", *X264, "-x264-params", "tff=1:bframes=2", "-c:a", "ac3", "-mpegts_m2ts_mode", "1",
          "-f", "mpegts", layout="5.1", **_FIELDS),
    _made("AV1 with film grain", "mp4", *_AV1, "-svtav1-params", "film-grain=20", *AAC),
    _h264("new pictures alone", "mp4", "-fps_mode", "vfr", filters="mpdecimate=max=0"),
    _h264("sound that starts four seconds late in MPEG-TS", "ts", sound_first=4.0),
    _cut_off("a screen recorder that crashed", "mkv", 70,
             _h264("base", "mkv", "-live", "1", "-fps_mode", "vfr", rate="30", filters=_VFR)),
    _unknown_sound("spatial sound beside stereo", "mov",
                   _after("base", "mov", "-i {base} -map 0:v -map 0:a -map 0:a -c copy", base=_MP4)),
    _joined("a program stream that began anew", "mpg", of_ffmpeg("one", "mpg", *_PROGRAM),
            of_ffmpeg("one", "mpg", *_PROGRAM)),
    _joined("a program stream that went on in another phase", "mpg", of_ffmpeg("one", "mpg", *_PROGRAM),
            of_ffmpeg("other", "mpg", *_PROGRAM, "-output_ts_offset", "2.333")),
    _joined("a transport stream with B-frames that began anew", "ts", _h264("one", "ts", "-bf", "2"),
            _h264("one", "ts", "-bf", "2")),
)  # fmt: skip

RECIPES: tuple[Recipe, ...] = (*CONTAINERS, *H264, *RATES, *SHAPES, *CODECS, *SOUNDS, *ODD, *LEFTOVERS, *STRANGERS)
