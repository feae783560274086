"""Builds ffmpeg's arguments for every step. Pure.

All output names are relative: ffmpeg runs inside the step's own scratch folder, so that no folder's name (a `%`,
a quote) can be taken for a pattern.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from services.transcoder.ffmpeg import filtergraphs, input_limits
from services.transcoder.planning.geometry import even
from services.transcoder.planning.loudness import Level
from services.transcoder.planning.plan import Chunk, Plan, Sound, audio_shift, picture_frames
from services.transcoder.planning.source import Source, Subtitles
from services.transcoder.planning.storyboard import Storyboard

_START = ("-nostdin", "-hide_banner", "-v", "error", "-xerror", "-y")
#: Goes on after a decoding error; the caller measures what is missing.
_TOLERANT_START = tuple(word for word in _START if word != "-xerror")
#: The same, with a message for each frame (`showinfo`) and each fault. ffmpeg's own limit of faults is off.
_MEASURED_START = ("-nostdin", "-hide_banner", "-nostats", "-v", "repeat+info", "-max_error_rate", "1", "-y")
_PLAIN = ("-bitexact", "-map_metadata", "-1", "-map_chapters", "-1", "-sn", "-dn")
#: Decoding with more takes memory for each thread and gains nothing beside the encoders.
_DECODER_THREADS = "2"
#: Both edit-list options are named: ffmpeg 5.1 and 9.0 mean different things by `cmaf` alone.
#: Never `frag_keyframe`: the HLS muxer then writes its first segment into the initialisation.
_CMAF = "movflags=+frag_discont+cmaf+negative_cts_offsets:use_editlist=0"
#: One time scale in every rendition, or hls.js moves the clock when it switches.
TIMESCALE = 90_000
DECODED_NAME = "sound.mkv"
MENDED_NAME = "mended.ts"
_HLS = (
    "-avoid_negative_ts", "disabled",
    "-f", "hls",
    "-hls_playlist_type", "vod",
    "-hls_segment_type", "fmp4",
    "-hls_flags", "independent_segments+temp_file",
)  # fmt: skip


def seek_of(plan: Plan, chunk: Chunk) -> Fraction:
    """Where in the film ffmpeg begins to decode for `chunk`, in seconds."""
    return (chunk.first_frame - _preroll(plan, chunk)) / plan.rate


def encode_chunk(plan: Plan, chunk: Chunk, source: Path, *, tolerant: bool = False) -> list[str]:
    """All renditions of `chunk` from one decode: `init_<rung>.mp4` and `<rung>_<group>.m4s`, one file a group.

    `tolerant` goes on after decoding errors, holds the last good frame, and reports each frame that is decoded.
    """
    preroll = _preroll(plan, chunk)
    start = seek_of(plan, chunk)
    # concealment differs from run to run with several threads
    threads = "1" if tolerant else _DECODER_THREADS
    words = [*(_MEASURED_START if tolerant else _START), *_input(plan.source, source, seek=start, threads=threads)]
    words += ["-filter_complex", filtergraphs.chunk_graph(plan, chunk, preroll, tolerant=tolerant)]
    for i, rung in enumerate(plan.rungs):
        words += ["-map", f"[v{i}]", f"-crf:v:{i}", str(rung.crf)]
        words += [f"-maxrate:v:{i}", f"{rung.max_kbps}k", f"-bufsize:v:{i}", f"{rung.max_kbps * 3 // 2}k"]
    group = str(plan.group_frames)
    words += ["-c:v", "libx264", "-preset", plan.recipe.preset, "-profile:v", "high"]
    words += ["-threads", str(plan.recipe.encoder_threads)]
    words += ["-g", group, "-keyint_min", group, "-sc_threshold", "0", "-flags", "+cgop"]
    words += ["-color_range", "tv", "-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709"]
    words += ["-fps_mode", "passthrough", *_PLAIN, "-output_ts_offset", _seconds(start), *_HLS]
    # half a frame less than a group: rounding must not skip a cut
    words += ["-hls_time", _seconds((plan.group_frames - Fraction(1, 2)) / plan.rate)]
    words += ["-hls_segment_options", f"{_CMAF}:video_track_timescale={TIMESCALE}"]
    words += ["-start_number", str(chunk.first_frame // plan.group_frames)]
    # with one rendition alone the muxer takes this name as it stands
    init = "init_%v.mp4" if len(plan.rungs) > 1 else f"init_{plan.rungs[0].name}.mp4"
    words += ["-hls_fmp4_init_filename", init, "-hls_segment_filename", "%v_%05d.m4s"]
    words += ["-var_stream_map", " ".join(f"v:{i},name:{rung.name}" for i, rung in enumerate(plan.rungs))]
    return [*words, "%v.m3u8"]


def encode_sample(plan: Plan, sample: Chunk, source: Path) -> list[str]:
    """The largest rendition of `sample` without loss, in `reference.mkv`."""
    seen = replace(plan, rungs=plan.rungs[:1])
    words = [*_START, *_input(plan.source, source, seek=seek_of(plan, sample))]
    words += ["-filter_complex", filtergraphs.chunk_graph(seen, sample, _preroll(plan, sample))]
    words += ["-map", "[v0]", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "0"]
    return [*words, "-fps_mode", "passthrough", *_PLAIN, "-f", "matroska", "reference.mkv"]


def encode_trials(plan: Plan, trials: Mapping[str, tuple[int, int]]) -> list[str]:
    """`reference.mkv` in other ways: by the name of its file, a constant rate factor and the frames of a group."""
    largest = plan.rungs[0]
    words = [*_START, "-threads", _DECODER_THREADS, "-i", "reference.mkv"]
    for name, (crf, group) in trials.items():
        words += ["-map", "0:v", "-c:v", "libx264", "-preset", plan.recipe.preset, "-profile:v", "high"]
        words += ["-threads", str(plan.recipe.encoder_threads), "-crf", str(crf), "-g", str(group)]
        words += ["-keyint_min", str(group), "-sc_threshold", "0", "-flags", "+cgop"]
        words += ["-maxrate", f"{largest.max_kbps}k", "-bufsize", f"{largest.max_kbps * 3 // 2}k"]
        words += ["-fps_mode", "passthrough", *_PLAIN, "-f", "matroska", name]
    return words


def compare(trial: str, metric: str) -> list[str]:
    """Reports how like `reference.mkv` a trial is, by `ssim` or `vmaf`."""
    words = ["-nostdin", "-hide_banner", "-nostats", "-v", "info", "-i", trial, "-i", "reference.mkv"]
    filters = {"ssim": "ssim", "vmaf": "libvmaf=n_threads=1"}
    return [*words, "-lavfi", f"[0:v][1:v]{filters[metric]}", "-f", "null", "-"]


def encode_audio(
    plan: Plan, sound: Sound, source: Path, *, decoded: bool = False, level: Level | None = None
) -> list[str]:
    """One track as AAC, stereo or 5.1, exactly as long as the picture: `init.mp4` and `<segment>.m4s`.

    `decoded` reads what `decode_audio` wrote; its times are those of the film.
    """
    chain = _sound_chain(plan, sound, level)
    words = [*_START, *_track(plan, sound, source, decoded), "-af", ",".join(chain)]
    # six channels need twice the bits of two: four of them hold little
    kbps = plan.recipe.audio_kbps * (2 if sound.channels > 2 else 1)
    words += ["-c:a", "aac", "-b:a", f"{kbps}k", "-ac", str(sound.channels)]
    # the encoder's priming packet would start the track before zero
    words += ["-bsf:a", r"noise=drop=lt(pts\,0)", *_PLAIN, *_HLS, "-hls_time", _seconds(plan.segment_seconds)]
    words += ["-hls_segment_options", _CMAF, "-hls_fmp4_init_filename", "init.mp4"]
    return [*words, "-hls_segment_filename", "%05d.m4s", "audio.m3u8"]


def measure_loudness(
    plan: Plan, sound: Sound, source: Path, *, decoded: bool = False, level: Level | None = None
) -> list[str]:
    """Reports the loudness of what `encode_audio` encodes; writes nothing."""
    # each moment's measures go to a level of messages that is not shown: the summary is enough
    chain = [
        *_sound_chain(plan, sound, level),
        filtergraphs.layout(sound.channels),
        "ebur128=peak=true:framelog=verbose",
    ]
    words = ["-nostdin", "-hide_banner", "-nostats", "-v", "info", "-xerror", "-y"]
    return [*words, *_track(plan, sound, source, decoded), "-af", ",".join(chain), "-f", "null", "-"]


def decode_audio(plan: Plan, sound: Sound, source: Path, upload: Path | None = None) -> list[str]:
    """One track, lossless, in `sound.mkv`, whatever changes or breaks on its way; reports each frame."""
    track = next(track for track in plan.source.audio if track.index == sound.stream)
    if upload is not None and plan.source.upload_container == "mpegts" and track.upload_index is not None:
        words = [*_MEASURED_START, *_open(plan.source.upload_container, upload)]
        # the film begins with the first of all its tracks, if all are read
        words += ["-map", "0:v", "-map", "0:a", "-c", "copy", "-f", "null", "-", "-map", f"0:{track.upload_index}"]
    else:
        words = [*_MEASURED_START, *_open(plan.source.container, source), "-map", f"0:{sound.stream}"]
    words += [
        "-af",
        "ashowinfo",
        "-ac",
        str(sound.channels),
        "-ar",
        "48000",
        "-c:a",
        "flac",
        "-bitexact",
        "-vn",
        "-sn",
        "-dn",
    ]
    return [*words, "-map_metadata", "-1", "-map_chapters", "-1", "-f", "matroska", DECODED_NAME]


def extract_subtitles(source: Source, track: Subtitles, upload: Path, name: str) -> list[str]:
    """One subtitle track of the upload as SubRip, by the clock of the film. ffmpeg's WebVTT escapes nothing."""
    words = [*_TOLERANT_START, *_open(source.upload_container or source.container, upload)]
    return [*words, "-map", f"0:{track.index}", "-c:s", "srt", "-bitexact", "-f", "srt", name]


def decode_speech(path: Path, name: str) -> list[str]:
    """Segments of a published lesson as samples for speech recognition: 16 kHz, one channel, 16 bits, no header."""
    words = [*_TOLERANT_START, *_open("mov", path), "-map", "0:a:0", "-ac", "1", "-ar", "16000"]
    return [*words, "-f", "s16le", name]


def mend_clock(source: Source, path: Path, shifts: Mapping[int, Sequence[tuple[int, float]]]) -> list[str]:
    """The same packets in `mended.ts` by a clock that does not jump; without it ffmpeg guesses, track by track.

    The container has the time base of the upload, in which the filter counts.
    """
    # a program stream has no time of showing for each frame: what has none cannot be moved
    made_up = ["-fflags", "+genpts"] if source.container == "mpeg" else []
    words = [*_TOLERANT_START, "-copyts", *made_up, *_open(source.container, path)]
    for number, stream in enumerate(_streams(source)):
        words += ["-map", f"0:{stream}", f"-bsf:{number}", _shifted(shifts[stream])]
    words += ["-c", "copy", "-bitexact", "-muxdelay", "0", "-muxpreload", "0", "-mpegts_copyts", "1"]
    return [*words, "-f", "mpegts", MENDED_NAME]


def rewrap(source: Source, path: Path, *, whole_alone: bool = False, decode_sound: bool = False) -> list[str]:
    """The same packets in `source.mkv`: formats without an index (MPEG-TS) cannot be cut exactly.

    `whole_alone` leaves out packets of which a part is missing: a filter on the way into Matroska may end at one.
    `decode_sound` keeps sound as FLAC, for codecs that Matroska has no name for.
    """
    # a missing packet is the decoder's business; what arrives is measured
    # AVI has no times of showing; made up for frames that are in order, they would be a frame late
    flags = "+genpts" if source.video is None or source.video.reordered else ""
    flags += "+discardcorrupt" if whole_alone else ""
    words = [*_TOLERANT_START, *(["-fflags", flags] if flags else []), *_open(source.container, path)]
    for stream in _streams(source):
        words += ["-map", f"0:{stream}"]
    words += [
        "-c",
        "copy",
        *(["-c:a", "flac", "-sample_fmt", "s16"] if decode_sound else []),
        "-bitexact",
        "-sn",
        "-dn",
        "-max_interleave_delta",
        "0",
    ]
    return [*words, "-f", "matroska", "source.mkv"]


def poster(plan: Plan, source: Path, *, key_frames: bool = True, tolerant: bool = False) -> list[str]:
    """`poster.jpg`: the most typical of twenty key frames from a tenth of the way in."""
    # without an index a seek may end where no key frame comes any more
    seek = min(plan.duration_seconds / 10, Fraction(60)) if plan.source.seekable else Fraction(0)
    chain = ["thumbnail=20", *_still(plan, min(720, plan.rungs[0].short_side))]
    # not accurate: the key frame before that moment is as good, and there may be none after it
    start = _TOLERANT_START if tolerant else _START
    words = [*start, "-noaccurate_seek", *_decoded(key_frames), *_input(plan.source, source, seek=seek)]
    return [*words, *_pictures(plan, chain), "-frames:v", "1", "-update", "1", "-q:v", "3", "poster.jpg"]


def storyboard(
    plan: Plan, source: Path, board: Storyboard, *, key_frames: bool = True, tolerant: bool = False
) -> list[str]:
    """`storyboard_<n>.jpg`: sheets of small pictures, from key frames alone where the source has any."""
    rate = f"fps=1/{board.interval_seconds}:start_time=0:round=up"
    chain = [rate, f"tpad=stop={board.pictures}:stop_mode=clone", f"trim=end_frame={board.pictures}"]
    chain += [*_still(plan, board.height), f"tile={board.columns}x{board.rows}"]
    start = _TOLERANT_START if tolerant else _START
    words = [*start, *_decoded(key_frames), *_input(plan.source, source), *_pictures(plan, chain)]
    return [*words, "-q:v", "5", "-start_number", "0", "storyboard_%03d.jpg"]


def remux(source: Source, path: Path, *, segment_seconds: int) -> list[str]:
    """The source's own H.264 as it is, cut at its key frames: `init.mp4` and `<segment>.m4s`."""
    assert source.video is not None
    words = [*_START, *_open(source.container, path), "-map", f"0:{source.video.index}", "-c", "copy", *_PLAIN, *_HLS]
    words += ["-hls_time", str(segment_seconds), "-hls_segment_options", f"{_CMAF}:video_track_timescale={TIMESCALE}"]
    return [*words, "-hls_fmp4_init_filename", "init.mp4", "-hls_segment_filename", "%05d.m4s", "video.m3u8"]


def remux_audio(source: Source, path: Path, *, segment_seconds: int) -> list[str]:
    """The source's own AAC as it is; packets before zero are dropped, as in `encode_audio`."""
    words = [*_START, *_open(source.container, path), "-map", f"0:{source.audio[0].index}", "-c", "copy"]
    words += ["-bsf:a", r"noise=drop=lt(pts\,0)", *_PLAIN, *_HLS, "-hls_time", str(segment_seconds)]
    words += ["-hls_segment_options", _CMAF, "-hls_fmp4_init_filename", "init.mp4"]
    return [*words, "-hls_segment_filename", "%05d.m4s", "audio.m3u8"]


def _streams(source: Source) -> list[int]:
    return ([source.video.index] if source.video else []) + [track.index for track in source.audio]


def _shifted(shifts: Sequence[tuple[int, float]]) -> str:
    """The filter that moves packets from each number on by as many seconds as it says."""
    steps = [(number, after - before) for (_, before), (number, after) in itertools.pairwise(shifts)]
    moved = "+".join(f"gte(N,{number})*({round(step * TIMESCALE)})" for number, step in steps)
    return f"setts=pts=PTS+{moved}:dts=DTS+{moved}".replace(",", r"\,")


def _sound_chain(plan: Plan, sound: Sound, level: Level | None) -> list[str]:
    duration = _seconds(plan.duration_seconds)
    return [
        f"asetpts=PTS-({_seconds(audio_shift(plan))})/TB",
        # silence where sound starts late or has gaps
        f"aresample=48000:async=1:first_pts=0:min_hard_comp={_hard_compensation(plan, sound)}",
        *(filtergraphs.levelled(level, sound.channels) if level else []),
        f"apad=whole_dur={duration}",
        f"atrim=end={duration}",
    ]


def _track(plan: Plan, sound: Sound, source: Path, decoded: bool) -> list[str]:
    if decoded:
        return ["-copyts", *_open("matroska", source), "-map", "0:0"]
    return [*_input(plan.source, source), "-map", f"0:{sound.stream}"]


def _hard_compensation(plan: Plan, sound: Sound) -> float:
    """From which difference in seconds sound is cut or filled. Where cuts are rare, none may shift what follows."""
    jitters = any(track.index == sound.stream and track.jitters for track in plan.source.audio)
    return 0.1 if jitters else 0.01


def signals(
    source: Source,
    path: Path,
    container: str,
    fitted: Sequence[str],
    *,
    seconds: int,
    steps: int,
    moving_side: int,
    names: tuple[str, str, str],
) -> list[str]:
    """Grey frames around the middle of each second, tiny ones and loudness for each of `steps` a second.

    Both tracks are read at once, so that they share one clock.
    """
    pictures, movement, loudness = names
    words = [*_TOLERANT_START, *_open(container, path)]
    raw = ["-t", str(seconds), "-f", "rawvideo"]
    if source.video:
        middle = "+".join(f"eq(mod(n\\,{steps})\\,{steps // 2 + apart})" for apart in (-4, 0, 4))
        chain = [f"fps={steps}:start_time=0", f"select={middle}", *fitted, "setsar=1", "format=gray"]
        words += ["-map", f"0:{source.video.index}", "-vf", ",".join(chain), "-fps_mode", "passthrough", *raw, pictures]
        small = f"fps={steps}:start_time=0,scale={moving_side}:{moving_side}:flags=area,format=gray"
        words += ["-map", f"0:{source.video.index}", "-vf", small, *raw, movement]
    if source.audio:
        heard = ["aresample=48000:async=1:first_pts=0:min_hard_comp=0.01", "aformat=channel_layouts=mono"]
        heard += ["aeval=abs(val(0))", f"aresample={steps}"]
        words += ["-map", f"0:{source.audio[0].index}", "-af", ",".join(heard), "-t", str(seconds)]
        words += ["-f", "s16le", loudness]
    return words


def _preroll(plan: Plan, chunk: Chunk) -> int:
    """Frames to decode before the chunk. A second heals timestamps off the grid; what is held has to be found first."""
    video = plan.source.video
    assert video is not None
    if not plan.source.seekable:
        return chunk.first_frame
    start = max(0, min(chunk.first_frame, picture_frames(video, plan.rate)) - round(plan.rate))
    for before, after in video.holes:
        if before < start / plan.rate <= after:
            # the picture that is shown through the hole stands at its beginning
            start = max(0, math.floor(Fraction(before) * plan.rate) - 1)
    return chunk.first_frame - start


def _input(source: Source, path: Path, seek: Fraction = Fraction(0), threads: str = _DECODER_THREADS) -> list[str]:
    found = ["-ss", _seconds(seek)] if seek > 0 else []
    return ["-threads", threads, "-reinit_filter", "0", *found, *_open(source.container, path)]


def _decoded(key_frames: bool) -> list[str]:
    return ["-skip_frame", "nokey"] if key_frames else []


def _open(container: str, path: Path) -> list[str]:
    """The demuxer is named, so that nothing in the file chooses another one."""
    return [*input_limits.INPUT, "-f", container, "-i", f"file:{path.absolute()}"]


def still_size(plan: Plan, short_side: int) -> tuple[int, int]:
    """Width and height of a still whose short side is at most `short_side`."""
    largest = plan.rungs[0]
    scale = Fraction(min(short_side, largest.short_side), largest.short_side)
    return even(largest.width * scale), even(largest.height * scale)


def _still(plan: Plan, short_side: int) -> list[str]:
    assert plan.source.video is not None
    width, height = still_size(plan, short_side)
    return filtergraphs.still(plan.source.video, width, height)


def _pictures(plan: Plan, chain: list[str]) -> list[str]:
    assert plan.source.video is not None
    words = ["-map", f"0:{plan.source.video.index}", "-vf", ",".join(chain), *_PLAIN, "-an"]
    return [*words, "-fps_mode", "passthrough", "-f", "image2"]


def _seconds(value: Fraction) -> str:
    return f"{float(value):.6f}"
