"""Use case: plan a lesson; with the ladder `auto`, from samples of it that are encoded and compared."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from services.transcoder.errors import EncoderFailedError, RejectedInputError, WrongOutputError
from services.transcoder.ffmpeg import arguments
from services.transcoder.ffmpeg.process import Ffmpeg, never
from services.transcoder.ffmpeg.untrusted_outputs import MATROSKA, check_output
from services.transcoder.inspection.inspect_and_rewrap import Prepared
from services.transcoder.planning.auto_ladder import TRIALS, Outcome, chosen, samples_of
from services.transcoder.planning.plan import Chunk, Plan, make_plan
from services.transcoder.planning.profile import EncodingProfile

#: Encoders of the largest rendition in one ffmpeg: all at once take more memory than one process may use at 1080p.
AT_ONCE = 2
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
    trials = {
        f"{i}.mkv": (crf + trial.crf_offset, segment // trial.groups_per_segment) for i, trial in enumerate(TRIALS)
    }
    try:
        ffmpeg.encode(arguments.encode_sample(plan, sample, source), work, reads=[source], cancelled=cancelled)
        names = list(trials)
        for first in range(0, len(names), AT_ONCE):
            batch = {name: trials[name] for name in names[first : first + AT_ONCE]}
            ffmpeg.encode(arguments.encode_trials(plan, batch), work, cancelled=cancelled)
        outcomes = []
        for name in trials:
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
