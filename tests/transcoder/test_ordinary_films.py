"""Films that players show without a complaint become lessons: as long, in sync, and of the right shape.

Each lesson is compared with what plain ffmpeg makes of the whole film (`oracle`).
"""

import subprocess
import time
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import Lesson, make_lesson
from services.transcoder.errors import Reason, RejectedInputError
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.lint.check import check
from services.transcoder.inspection.probe import inspect
from services.transcoder.planning.ladder import rungs
from tests.transcoder import edit_lists, ivf, oracle
from tests.transcoder.films import QUICK, further
from tests.transcoder.strangers.makers import require

FAST = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
AAC = ["-c:a", "aac", "-b:a", "96k"]
SYNC_SECONDS = 0.020


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films that several tests begin with."""
    return tmp_path_factory.mktemp("ordinary")


def run(*arguments: str | Path) -> None:
    call = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-bitexact", *map(str, arguments)]
    subprocess.run(call, check=True, capture_output=True, timeout=120)


def once(path: Path, *arguments: str | Path) -> Path:
    if not path.exists():
        run(*arguments, path)
    return path


def lesson_of(film: Path, folder: Path, ffmpeg: Ffmpeg) -> Lesson:
    """The lesson that is made of `film`, which keeps every MUST rule."""
    lesson = make_lesson(film, folder / "lesson", ffmpeg, recipe=QUICK, jobs=2)
    report = check(str(lesson.folder / "master.m3u8"))
    assert [finding.message for finding in report.errors] == []
    return lesson


def assert_same(film: Path, lesson: Lesson, folder: Path, slack: float = SYNC_SECONDS) -> None:
    """The lesson flashes when the film does, beeps when it does, and is as long."""
    seen = oracle.film(film, folder)
    rate = float(lesson.plan.rate)
    assert seen.frames == 0 or abs(float(lesson.plan.duration_seconds) - seen.seconds) <= 1.5 / rate + 0.001
    for rung in lesson.plan.rungs:
        flashes, frames = oracle.rendition(lesson.folder / rung.name, rate)
        assert frames == lesson.plan.frames
        assert len(flashes) == len(seen.flashes)
        assert all(abs(a - b) <= 1 / rate + 0.011 for a, b in zip(flashes, seen.flashes, strict=True))
        if seen.beeps:
            beeps = oracle.beeps(lesson.folder / lesson.plan.sounds[0].name)
            assert_in_sync(seen, flashes, beeps, 0.5 / rate, slack)


def assert_flashes_beep(lesson: Lesson, count: int) -> None:
    """The lesson has `count` flashes, each with its beep: a flash is found to a frame."""
    rate = float(lesson.plan.rate)
    beeps = oracle.beeps(lesson.folder / lesson.plan.sounds[0].name)
    for rung in lesson.plan.rungs:
        flashes, frames = oracle.rendition(lesson.folder / rung.name, rate)
        assert frames == lesson.plan.frames
        steps = [_offset(flash, beeps) for flash in flashes]
        assert len(steps) == count
        assert all(abs(step) <= SYNC_SECONDS + 0.5 / rate for step in steps), steps
        assert abs(sorted(steps)[len(steps) // 2]) <= SYNC_SECONDS, steps


def assert_in_sync(
    seen: oracle.Seen, flashes: list[float], beeps: list[float], half_frame: float, slack: float
) -> None:
    expected = [_offset(flash, seen.beeps) for flash in seen.flashes]
    made = [_offset(flash, beeps) for flash in flashes]
    steps = [now - then for now, then in zip(made, expected, strict=True) if abs(then) < 0.3]
    assert len(steps) >= 3
    # a flash is found to a frame in the lesson and to a hundredth of a second in the film
    assert all(abs(step) <= slack + half_frame for step in steps), steps
    assert abs(sorted(steps)[len(steps) // 2]) <= slack + 0.001, steps


def _offset(flash: float, beeps: list[float]) -> float:
    return min((beep - flash for beep in beeps), key=abs)


def plain(cache: Path) -> Path:
    return once(cache / "plain.mp4", *oracle.picture(20), *oracle.sound(20), *FAST, "-g", "50", *AAC)


@pytest.mark.parametrize(
    "trim",
    [further(["-ss", "10"]), further(["-ss", "9.3"]), further(["-t", "10"]), ["-ss", "4.1", "-t", "7"]],
    ids=["the last 10 s", "not at a key frame", "the first 10 s", "the middle"],
)
def test_a_film_trimmed_by_an_edit_list_is_as_long_as_players_show_it(
    trim: list[str], cache: Path, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    film = tmp_path / "trimmed.mp4"
    edit_lists.trim(plain(cache), film, *_span(trim))

    assert_same(film, lesson_of(film, tmp_path, ffmpeg), tmp_path)


def _span(trim: list[str]) -> tuple[float, float | None]:
    given = dict(zip(trim[::2], trim[1::2], strict=True))
    return float(given.get("-ss", 0)), float(given["-t"]) if "-t" in given else None


_TS = ("ts", ["-f", "mpegts", "-muxdelay", "0"])
_PS = ("mpg", ["-f", "mpeg"])


def test_sound_of_a_short_avi_stays_on_its_picture(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    film = tmp_path / "film.avi"
    run(*oracle.picture(10), *oracle.sound(10), *FAST, "-g", "50", *AAC, film)

    assert_same(film, lesson_of(film, tmp_path, ffmpeg), tmp_path)


@pytest.mark.parametrize("first", [further(0.0), 0.98], ids=["sound at once", "sound 0.98 s late"])
@pytest.mark.parametrize(
    ("ending", "container", "start"),
    [
        further(*_TS, 0),
        (*_TS, 95441),
        further(*_TS, 95443.0),
        further(*_TS, -3),
        further(*_PS, 0),
        further(*_PS, 95435),
    ],
    ids=["TS", "TS, clock wraps", "TS, wraps before the sound", "TS, negative", "PS", "PS, late clock"],
)
def test_sound_stays_on_its_picture_in_containers_without_an_index(
    ending: str, container: list[str], start: float, first: float, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    film = tmp_path / f"film.{ending}"
    video = ["-c:v", "mpeg2video", "-g", "12", "-bf", "2"] if ending == "mpg" else [*FAST, "-g", "50"]
    audio = ["-c:a", "mp2" if ending == "mpg" else "aac", "-b:a", "128k"]
    # the clock of both is 90 kHz and 33 bits: it wraps after 95443.7 s
    moved = ["-output_ts_offset", str(start)] if start else []
    late = ["-itsoffset", str(first)] if first else []
    run(*oracle.picture(10), *late, *oracle.sound(10, first), *video, *audio, *moved, *container, film)

    assert_same(film, lesson_of(film, tmp_path, ffmpeg), tmp_path)


@pytest.mark.parametrize("starts", [further((0, 5000)), further((0, 0)), further((5000, 20)), (0, 30, 3)], ids=str)
def test_a_transport_stream_whose_clock_jumps_keeps_its_sound(
    starts: tuple[int, ...], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    pieces = []
    for number, start in enumerate(starts):
        piece = tmp_path / f"{number}.ts"
        moved = ["-output_ts_offset", str(start)]
        run(*oracle.picture(6), *oracle.sound(6), *FAST, "-g", "50", *AAC, *moved, "-muxdelay", "0", piece)
        pieces.append(piece.read_bytes())
    film = tmp_path / "film.ts"
    film.write_bytes(b"".join(pieces))

    # plain ffmpeg guesses where the next piece begins, to within a frame; the pieces themselves are in sync
    lesson = lesson_of(film, tmp_path, ffmpeg)
    assert_flashes_beep(lesson, len(starts) * 4)
    assert abs(float(lesson.plan.duration_seconds) - 6 * len(starts)) <= 0.1


@pytest.mark.parametrize(
    "layouts",
    [("mono", "stereo"), further(("stereo", "mono")), further(("stereo", "5.1")), further(("5.1", "mono"))],
    ids="-".join,
)
def test_sound_whose_channels_change_on_the_way_stays_whole(
    layouts: tuple[str, str], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    pieces = []
    for number, layout in enumerate(layouts):
        piece = tmp_path / f"{number}.ts"
        moved = ["-output_ts_offset", str(6 * number)]
        marked = oracle.sound(6, layout=layout)
        run(*oracle.picture(6), *marked, *FAST, "-g", "50", *AAC, *moved, "-muxdelay", "0", piece)
        pieces.append(piece.read_bytes())
    film = tmp_path / "film.ts"
    film.write_bytes(b"".join(pieces))

    # plain ffmpeg fills in six seconds of silence where its filters begin anew
    lesson = lesson_of(film, tmp_path, ffmpeg)
    assert_flashes_beep(lesson, 8)
    assert lesson.warnings == ()


@pytest.mark.parametrize(
    ("size", "largest"),
    [
        ((5760, 1080), (3840, 720)),
        ((1080, 5760), (720, 3840)),
        ((8192, 512), (3840, 240)),
        ((4096, 2160), (2048, 1080)),
    ],
)
def test_every_rendition_has_the_shape_of_the_film(size: tuple[int, int], largest: tuple[int, int]) -> None:
    ladder = rungs(*size)

    assert (ladder[0].width, ladder[0].height) == largest
    for rung in ladder:
        assert max(rung.width, rung.height) <= 4096
        assert abs(rung.width * size[1] / size[0] - rung.height) <= 1 + size[1] / size[0]


def test_three_monitors_side_by_side_become_a_lesson_of_their_shape(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    film = tmp_path / "wide.mp4"
    run("-f", "lavfi", "-i", "testsrc2=size=5760x1080:rate=5:duration=0.6", *FAST, film)

    lesson = lesson_of(film, tmp_path, ffmpeg)

    sizes = {tuple(map(int, oracle.size_of(lesson.folder / rung.name))) for rung in lesson.plan.rungs}
    assert sizes == {(3840, 720), (2560, 480), (1920, 360), (1280, 240)}


def test_a_film_that_changes_its_size_is_padded_and_never_stretched(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    # VP8 carries its size in each key frame
    halves = []
    for width, height in ((640, 360), (480, 640)):
        half = tmp_path / f"{width}.ivf"
        box = f"drawbox=x={width // 2 - 100}:y={height // 2 - 100}:w=200:h=200:t=fill:color=white"
        picture = f"color=black:s={width}x{height}:r=25:d=2,{box}"
        coder = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0"]
        run("-f", "lavfi", "-i", picture, *coder, half)
        halves.append(half)
    joined, film = tmp_path / "joined.ivf", tmp_path / "film.webm"
    ivf.join(halves, joined)
    run("-i", joined, "-c", "copy", film)

    lesson = lesson_of(film, tmp_path, ffmpeg)

    for rung in lesson.plan.rungs:
        folder = lesson.folder / rung.name
        for frame, scale in ((10, rung.height / 360), (60, rung.height / 640), (99, rung.height / 640)):
            across, down = oracle.white_box(folder, rung.width, rung.height, frame)
            assert abs(across - down) <= 2, (rung.name, frame, across, down)
            assert abs(down - 200 * scale) <= 2


@pytest.mark.parametrize("ending", ["mkv", further("mp4"), further("avi")])
def test_two_frames_twelve_hours_apart_are_refused_at_once_with_one_sentence(
    ending: str, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    film = tmp_path / f"gap.{ending}"
    frames = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=1:duration=2", "-vf", "setpts=N*43200/TB"]
    codec = "libx264" if ending != "avi" else "mjpeg"
    run(*frames, "-fps_mode", "passthrough", "-c:v", codec, "-enc_time_base", "1/1", film)
    began = time.monotonic()

    with pytest.raises(RejectedInputError) as caught:
        make_lesson(film, tmp_path / "lesson", ffmpeg, recipe=QUICK)

    assert str(caught.value) == "The video is longer than 8 hours: cut it into lessons."
    assert time.monotonic() - began < 10


def test_a_picture_of_too_many_pixels_is_refused_with_the_true_sentence(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    film = tmp_path / "huge.mp4"
    run("-f", "lavfi", "-i", "color=black:s=9216x4352:r=1:d=1", "-c:v", "libx264", "-preset", "ultrafast",
        "-threads", "1", "-pix_fmt", "yuv420p", film)  # fmt: skip

    with pytest.raises(RejectedInputError) as caught:
        make_lesson(film, tmp_path / "lesson", ffmpeg, recipe=QUICK)

    assert caught.value.reason is Reason.TOO_LARGE
    assert "at most 8192 x 4320 pixels" in str(caught.value)


@pytest.mark.parametrize("ending", ["mp4", *map(further, ("mkv", "webm", "ts", "avi", "mov"))])
def test_one_single_frame_is_a_lesson(ending: str, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    film = tmp_path / f"one.{ending}"
    codec = {"webm": ["-c:v", "libvpx"], "avi": ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"]}.get(ending, FAST)
    run("-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25", "-frames:v", "1", *codec, film)

    lesson = lesson_of(film, tmp_path, ffmpeg)

    assert lesson.plan.frames == 1
    assert lesson.plan.rungs


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("ac3", "ac3"), further("eac3", "eac3"), ("aiff", "pcm_s16be"), further("caf", "alac"), further("au", "pcm_s16be"),
     further("w64", "pcm_s16le"), further("wv", "wavpack"), further("dts", "dca")],
)  # fmt: skip
def test_sound_files_of_other_kinds_are_lessons(ending: str, codec: str, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    film = tmp_path / f"sound.{ending}"
    run(*oracle.sound(7, layout="stereo"), "-c:a", codec, "-strict", "-2", film)

    lesson = lesson_of(film, tmp_path, ffmpeg)

    seen, made = oracle.film(film, tmp_path), oracle.beeps(lesson.folder / "audio0")
    assert len(made) == len(seen.beeps) == 5
    assert all(abs(a - b) < SYNC_SECONDS for a, b in zip(made, seen.beeps, strict=True))


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ("h264", [*FAST, "-bf", "2"]),
        further("hevc", ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"]),
        further("m2v", ["-c:v", "mpeg2video", "-bf", "2"]),
        further("obu", ["-c:v", "libsvtav1", "-preset", "12"]),
    ],
    ids=["H.264", "H.265", "MPEG-2", "AV1"],
)
def test_bare_video_is_refused_and_becomes_a_lesson_in_the_way_that_the_sentence_names(
    ending: str, options: list[str], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    # Given video without a container, as cameras of single-board computers write it
    bare, wrapped = tmp_path / f"film.{ending}", tmp_path / "film.mkv"
    run(*oracle.picture(7), *options, bare)

    # Then no rate is guessed
    with pytest.raises(RejectedInputError, match=r"^This file is bare video without a container.*MKVToolNix") as caught:
        make_lesson(bare, tmp_path / "lesson", ffmpeg, recipe=QUICK)
    assert caught.value.reason is Reason.UNSUPPORTED

    # And when it is put into a container, then the lesson flashes when it was drawn to
    require("mkvmerge")
    subprocess.run(["mkvmerge", "-q", "-o", wrapped, "--default-duration", "0:25p", bare], check=True, timeout=60)
    lesson = lesson_of(wrapped, tmp_path, ffmpeg)
    flashes, frames = oracle.rendition(lesson.folder / lesson.plan.rungs[0].name, 25)
    assert frames == 175
    assert flashes == pytest.approx(oracle.MARKS[:5], abs=0.04)


@pytest.mark.parametrize("ending", ["m4v", "mjpeg", "m1v", "h263"])
def test_bare_video_of_older_kinds_is_refused_alike(ending: str, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    codec = {"m4v": "mpeg4", "mjpeg": "mjpeg", "m1v": "mpeg1video", "h263": "h263"}[ending]
    bare = tmp_path / f"film.{ending}"
    run(*oracle.picture(2, size="352x288"), "-c:v", codec, *(["-f", "m4v"] if ending == "m4v" else []), bare)

    with pytest.raises(RejectedInputError, match=r"^This file is bare video without a container"):
        inspect(bare, tmp_path, ffmpeg)


@pytest.mark.parametrize(
    ("ending", "codec"), [("dv", "dv"), further("avi", "dv"), further("avi", "mpeg4"), ("mxf", "mpeg2video")]
)
def test_interlaced_films_whose_container_does_not_say_so_are_deinterlaced(
    ending: str, codec: str, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    film = tmp_path / f"film.{ending}"
    if codec == "dv":
        # each field shows another moment: a bar that moves by 8 pixels from field to field
        moving = "color=black:s=720x576:r=50:d=1,drawbox=x='mod(t*400,600)':y=0:w=40:h=576:t=fill:color=white"
        run("-f", "lavfi", "-i", f"{moving},tinterlace=interleave_bottom", "-target", "pal-dv", film)
    else:
        flags = ["-flags", "+ildct+ilme", "-top", "1", "-b:v", "2M"]
        source = "testsrc2=size=720x576:rate=50:duration=1,tinterlace=interleave_top"
        run("-f", "lavfi", "-i", source, "-c:v", codec, *flags, film)

    lesson = lesson_of(film, tmp_path, ffmpeg)

    assert lesson.plan.rate == 50
    if codec == "dv":
        rung = lesson.plan.rungs[0]
        # combed, the bar of 40 pixels would be 48 wide
        across, _ = oracle.white_box(lesson.folder / rung.name, rung.width, rung.height, 20)
        assert abs(across - 40 * rung.width / 720) <= 5
