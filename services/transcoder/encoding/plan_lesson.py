"""Use case: plan a lesson; with the ladder `auto`, from samples of it that are encoded and compared."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from services.transcoder.errors import EncoderFailedError, RejectedInputError, WrongOutputError
from services.transcoder.ffmpeg import arguments
from services.transcoder.ffmpeg.outputs import MATROSKA, check_output
from services.transcoder.ffmpeg.process import Ffmpeg, never
from services.transcoder.inspection.prepare import Prepared
from services.transcoder.planning.auto_ladder import TRIALS, Outcome, chosen, samples_of
from services.transcoder.planning.plan import Chunk, Plan, make_plan
from services.transcoder.planning.profile import EncodingProfile

_SCORES = {
    "vmaf": re.compile(r"VMAF score: ([0-9.]+)"),
    "ssim": re.compile(r"SSIM .*All:([0-9.]+)"),
}


def plan_lesson(
    prepared: Prepared,
    recipe: EncodingProfile,
    folder: Path,
    ffmpeg: Ffmpeg,
    *,
    cancelled: Callable[[], bool] = never,
) -> Plan:
    """How `prepared` becomes a lesson. Measuring again gives the same plan: each encoder has one thread."""
    fixed = make_plan(prepared.source, prepared.sha256, ffmpeg.build, recipe)
    if recipe.ladder != "auto" or not fixed.rungs:
        return fixed
    try:
        measured, metric = [], "vmaf"
        for sample in samples_of(fixed):
            outcomes, metric = _measure(fixed, sample, prepared.path, folder, ffmpeg, metric, cancelled)
            measured.append(outcomes)
    except (RejectedInputError, EncoderFailedError, WrongOutputError):
        # a sample that does not decode says nothing about the rest
        return fixed
    return make_plan(prepared.source, prepared.sha256, ffmpeg.build, chosen(recipe, metric, measured))


def _measure(
    plan: Plan, sample: Chunk, source: Path, folder: Path, ffmpeg: Ffmpeg, metric: str, cancelled: Callable[[], bool]
) -> tuple[list[Outcome], str]:
    work = folder / ".sample"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    crf, segment = plan.rungs[0].crf, plan.segment_frames
    trials = [(crf + trial.crf_offset, segment // trial.groups_per_segment) for trial in TRIALS]
    try:
        words = arguments.encode_sample(plan, sample, source, trials)
        ffmpeg.encode(words, work, reads=[source], cancelled=cancelled)
        outcomes = []
        for name in (f"{i}.mkv" for i in range(len(trials))):
            check_output(work / name, MATROSKA)
            quality = _compare(name, metric, work, ffmpeg, cancelled)
            if quality is None:
                # Debian's ffmpeg has no libvmaf
                metric = "ssim"
                quality = _compare(name, metric, work, ffmpeg, cancelled)
            if quality is None:
                raise WrongOutputError("ffmpeg measured no quality.")
            outcomes.append(Outcome((work / name).stat().st_size, quality))
        return outcomes, metric
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _compare(name: str, metric: str, work: Path, ffmpeg: Ffmpeg, cancelled: Callable[[], bool]) -> float | None:
    """The score, None where this build of ffmpeg does not have the metric."""
    found: list[float] = []

    def keep(line: str) -> None:
        if score := _SCORES[metric].search(line):
            found.append(float(score[1]))

    try:
        ffmpeg.encode(arguments.compare(name, metric), work, cancelled=cancelled, on_message=keep)
    except (RejectedInputError, EncoderFailedError):
        if metric == "vmaf":
            return None
        raise
    return found[-1] if found else None
