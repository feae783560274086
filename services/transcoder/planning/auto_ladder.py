"""Chooses bits for one lesson from measured samples: fewer where quality stays the same. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.transcoder.planning.plan import Chunk, Plan
from services.transcoder.planning.profile import EncodingProfile

#: How many parts of a lesson are measured, each one segment long.
SAMPLES = 3
#: Key frames make up most of a slide's bytes. Fewer of them are worth it from this share on: scanning gets coarser.
WORTH_LONGER_GROUPS = 0.85
#: The most that a sample may lose against the fixed ladder. On slides 0.0006 of SSIM were 2 points of VMAF, and on a
#: natural film 0.001 were 0.3: the smaller one counts.
LOSS = {"vmaf": 0.5, "ssim": 0.0003}


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to encode the samples. The first is the fixed ladder's."""

    crf_offset: int
    groups_per_segment: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial made of one sample. `quality` is of the metric that this ffmpeg has."""

    size_bytes: int
    quality: float


TRIALS = (Trial(0, 3), Trial(0, 1), Trial(2, 1), Trial(4, 1), Trial(6, 1))


def samples_of(plan: Plan) -> list[Chunk]:
    """Segments spread over the lesson; without its beginning and end, where titles are."""
    whole = max(1, plan.frames // plan.segment_frames)
    places = sorted({whole * (2 * i + 1) // (2 * SAMPLES) for i in range(SAMPLES)})
    size = plan.segment_frames
    return [
        Chunk(index=i, first_frame=place * size, end_frame=min((place + 1) * size, plan.frames))
        for i, place in enumerate(places)
    ]


def chosen(recipe: EncodingProfile, metric: str, measured: Sequence[Sequence[Outcome]]) -> EncodingProfile:
    """`recipe` as the lesson is to be encoded; `measured` has the outcomes of `TRIALS` for each sample."""
    columns = list(zip(*measured, strict=True))
    fixed, longer = columns[0], columns[1]
    sizes = [sum(one.size_bytes for one in column) for column in columns]
    if sizes[1] <= WORTH_LONGER_GROUPS * sizes[0] and _same(fixed, longer, metric):
        recipe = replace(recipe, groups_per_segment=1)
    kept = 0
    for trial, column in zip(TRIALS[2:], columns[2:], strict=True):
        # against the fixed ladder where groups are longer too, so that both losses together are bounded
        reference = fixed if recipe.groups_per_segment == 1 else longer
        if not _same(reference, column, metric):
            break
        kept = trial.crf_offset
    return replace(recipe, crf_offset=kept or None)


def _same(reference: Sequence[Outcome], other: Sequence[Outcome], metric: str) -> bool:
    """Whether no sample loses more than is allowed: the worst counts, not the mean."""
    return all(a.quality - b.quality <= LOSS[metric] for a, b in zip(reference, other, strict=True))
