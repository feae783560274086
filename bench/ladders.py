"""Bytes and quality of the ladder `auto` beside the fixed ladder, and bare ffmpeg with the target of the fixed one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from bench import films
from bench.films import PICTURES_PER_SECOND
from bench.measures import Measure, Options, Show
from bench.quality import find_meter
from bench.rivals import bare_ffmpeg
from bench.running import NOUBA, run

GOALS = {
    "slides of text": "at least 30 % fewer bytes than fixed, at equal quality",
    "screen recording": "at least 30 % fewer bytes than fixed, at equal quality",
    "natural": "quality at most 1 VMAF below fixed",
    "Big Buck Bunny": "quality at most 1 VMAF below fixed",
}
#: The kinds of `--quick`.
QUICK = ("slides of text",)


def measure(part: str, options: Options, show: Show) -> Iterator[Measure]:
    """Two measures for each kind of film: the bytes of all renditions, and the quality of the largest."""
    meter = find_meter()
    height, seconds = (360, 6) if options.quick else (1080, 24)
    for kind in QUICK if options.quick else GOALS:
        goal = GOALS[kind]
        show(f"making the {kind} film", 0, 1)
        film = options.folder / "ladders.mp4"
        if kind == "Big Buck Bunny":
            shutil.copy(films.big_buck_bunny(), film)
            size, title = films.BIG_BUCK_BUNNY_HEIGHT, kind
        else:
            films.make(kind, film, height=height, seconds=seconds)
            size, title = height, f"{kind} {height}p, {seconds} s"
        megabytes, scores = {}, {}
        for number, who in enumerate(("ladder auto", "ladder fixed", "bare ffmpeg")):
            show(f"{kind}: {who}", number, 3)
            lesson = options.folder / "ladder"
            lesson.mkdir()
            made, largest = _make(who, film, size, lesson)
            megabytes[who] = [sum(file.stat().st_size for file in made) / 1e6]
            scores[who] = [meter.compare(largest, film)]
            shutil.rmtree(lesson)
        yield Measure(
            part=part, name=f"bytes of the picture, {title}", unit="MB", samples=megabytes, goal=goal, digits=3
        )
        name = f"{meter.metric} of the largest rendition, {title}"
        yield Measure(part=part, name=name, unit="", samples=scores, goal="as fixed", digits=meter.digits)


def _make(who: str, film: Path, height: int, lesson: Path) -> tuple[list[Path], Path]:
    """The segments of the picture, and the playlist of the largest rendition."""
    if who == "bare ffmpeg":
        run(bare_ffmpeg.one_process(str(film), height, PICTURES_PER_SECOND), {}, folder=lesson)
        return list(lesson.glob("*p_*.m4s")), lesson / f"{height}p.m3u8"
    settings = {"NOUBA_TRANSCODER_LADDER": who.removeprefix("ladder ")}
    run([NOUBA, "transcoder", "run", film, "--out", lesson / "made", "--json"], settings)
    return list((lesson / "made").glob("*p/*.m4s")), lesson / "made" / f"{height}p" / "media.m3u8"
