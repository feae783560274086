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


TRIALS = (Trial(0, 3), *(Trial(offset, 1) for offset in (-4, -2, 0, 2, 4, 6)))
_LONGER = TRIALS.index(Trial(0, 1))


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
    sizes = [sum(one.size_bytes for one in column) for column in columns]
    # later frames of a long group are a little worse: a lower rate factor makes up for it, at less than they save
    longer = _last_same(columns[0], columns[1:], metric)
    if longer is not None and sizes[1 + longer] <= WORTH_LONGER_GROUPS * sizes[0]:
        return replace(recipe, groups_per_segment=1, crf_offset=TRIALS[1 + longer].crf_offset or None)
    # the same rate factor loses as much in groups of any length
    kept = _last_same(columns[_LONGER], columns[_LONGER:], metric)
    return replace(recipe, crf_offset=TRIALS[_LONGER + (kept or 0)].crf_offset or None)


def _last_same(reference: Sequence[Outcome], columns: Sequence[Sequence[Outcome]], metric: str) -> int | None:
    """The last of `columns` before the first that loses too much; None where that is the first one."""
    kept = None
    for number, column in enumerate(columns):
        if not _same(reference, column, metric):
            break
        kept = number
    return kept


def _same(reference: Sequence[Outcome], other: Sequence[Outcome], metric: str) -> bool:
    """Whether no sample loses more than is allowed: the worst counts, not the mean."""
    return all(a.quality - b.quality <= LOSS[metric] for a, b in zip(reference, other, strict=True))
