"""The transcoder's rival: a script with bare ffmpeg, same renditions and encoder settings, and no checks.

No checks, no poster, no storyboard, no playlists by measured sizes: only what cannot be left out.
"""

from services.transcoder.planning.ladder import LadderRung, rungs
from services.transcoder.planning.profile import EncodingProfile

Words = list[str]


def one_process(film: str, height: int, rate: int, *, threads: int | None = None) -> Words:
    """All renditions from one decode. `threads` of each encoder; None for the transcoder's own choice."""
    recipe, chosen = EncodingProfile(), _rungs(height)
    split = f"[0:v]split={len(chosen)}" + "".join(f"[s{i}]" for i in range(len(chosen)))
    scaled = [f"[s{i}]scale={rung.width}:{rung.height}:flags=bicubic[v{i}]" for i, rung in enumerate(chosen)]
    words = [*_start(film), "-filter_complex", ";".join([split, *scaled])]
    for i, rung in enumerate(chosen):
        words += ["-map", f"[v{i}]", f"-crf:v:{i}", str(rung.crf)]
        words += [f"-maxrate:v:{i}", f"{rung.max_kbps}k", f"-bufsize:v:{i}", f"{rung.max_kbps * 3 // 2}k"]
    words += ["-map", "0:a", *_encoders(recipe, rate, threads)]
    streams = [f"v:{i},name:{rung.name},agroup:sound" for i, rung in enumerate(chosen)]
    words += [*_hls(recipe), "-master_pl_name", "master.m3u8", "-hls_fmp4_init_filename", "init_%v.mp4"]
    words += [
        "-hls_segment_filename",
        "%v_%05d.m4s",
        "-var_stream_map",
        " ".join([*streams, "a:0,name:a,agroup:sound"]),
    ]
    return [*words, "%v.m3u8"]


def process_each(film: str, height: int, rate: int) -> list[Words]:
    """A process for each rendition, and one for the sound: each decodes the film again."""
    recipe = EncodingProfile()
    calls = []
    for rung in _rungs(height):
        words = [*_start(film), "-an", "-vf", f"scale={rung.width}:{rung.height}:flags=bicubic", "-crf", str(rung.crf)]
        words += ["-maxrate", f"{rung.max_kbps}k", "-bufsize", f"{rung.max_kbps * 3 // 2}k"]
        words += [*_encoders(recipe, rate, None), *_hls(recipe), "-hls_fmp4_init_filename", f"init_{rung.name}.mp4"]
        calls.append([*words, "-hls_segment_filename", f"{rung.name}_%05d.m4s", f"{rung.name}.m3u8"])
    sound = [*_start(film), "-vn", "-c:a", "aac", "-b:a", f"{recipe.audio_kbps}k", *_hls(recipe)]
    return [*calls, [*sound, "-hls_fmp4_init_filename", "init_a.mp4", "-hls_segment_filename", "a_%05d.m4s", "a.m3u8"]]


def _rungs(height: int) -> tuple[LadderRung, ...]:
    return rungs(height * 16 // 9, height)


def _start(film: str) -> Words:
    return ["ffmpeg", "-nostdin", "-v", "error", "-y", "-threads", "2", "-i", film]


def _encoders(recipe: EncodingProfile, rate: int, threads: int | None) -> Words:
    # key frames where the transcoder has them: a group is a third of a segment
    group = str(rate * recipe.segment_seconds // recipe.groups_per_segment)
    words = ["-c:v", "libx264", "-preset", recipe.preset, "-profile:v", "high", "-pix_fmt", "yuv420p"]
    words += ["-threads", str(recipe.encoder_threads if threads is None else threads)]
    words += ["-g", group, "-keyint_min", group, "-sc_threshold", "0"]
    return [*words, "-c:a", "aac", "-b:a", f"{recipe.audio_kbps}k", "-ac", "2"]


def _hls(recipe: EncodingProfile) -> Words:
    return [
        *("-f", "hls", "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4"),
        *("-hls_flags", "independent_segments", "-hls_time", str(recipe.segment_seconds)),
    ]
