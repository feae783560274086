"""The figures of one film of the corpus: the film is made, a lesson is made of it, and both are judged."""

from dataclasses import dataclass
from pathlib import Path

from services.transcoder.encoding.local_pipeline import make_lesson
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.lint.check import check
from services.transcoder.planning.profile import EncodingProfile
from tests.transcoder.strangers import judge, makers
from tests.transcoder.strangers.recipes import Recipe

#: Cheap to encode, with a border of segments and chunks every two seconds.
PROFILE = EncodingProfile(
    preset="ultrafast", segment_seconds=2, groups_per_segment=1, chunk_seconds=2, least_chunk_seconds=2
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the judge and the linter say of one film; times in milliseconds."""

    name: str
    writer: str
    ending: str
    frames: int
    seconds: float
    renditions: int
    lesson_frames: int
    longer_ms: int
    moved_ms: int
    shape: float
    colour: int
    faults: list[str]


def figures_of(recipe: Recipe, ffmpeg: Ffmpeg, folder: Path, made_of: Recipe | None = None) -> Figures:
    """The figures of `recipe`'s film beside the lesson that is made of it, or of another film."""
    film = makers.film(recipe)
    seen = judge.film(film, folder)
    lesson = make_lesson(makers.film(made_of or recipe), folder / "lesson", ffmpeg, recipe=PROFILE, jobs=2)
    made, rate = judge.lesson(lesson.folder)
    verdict = judge.compare(recipe, seen, made, rate)
    report = check(str(lesson.folder / "master.m3u8"))
    rules = [f"{finding.rule.source}: {finding.message}" for finding in report.errors]
    return Figures(
        name=recipe.name,
        writer=recipe.writer,
        ending=recipe.ending,
        frames=seen.frames,
        seconds=seen.seconds,
        renditions=len(made),
        lesson_frames=max((one.frames for one in made.values()), default=0),
        longer_ms=round(verdict.longer * 1000),
        moved_ms=round(verdict.moved * 1000),
        shape=verdict.shape,
        colour=verdict.colour,
        faults=[*verdict.faults, *rules, *report.unreadable, *(warning.text for warning in lesson.warnings)],
    )
