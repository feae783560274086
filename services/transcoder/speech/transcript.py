"""Words of a lesson, from tasks of its sound to cues. Pure."""

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from services.transcoder.planning.plan import Plan
from shared.runtime.webvtt import MAX_CUES, Cue

#: Sound of one task: what a killed worker loses.
SPEECH_TASK_SECONDS = 120
#: Heard before and after a task, so that no word is cut at its border.
MARGIN_SECONDS = 5
#: Two lines of 42 characters, as broadcasters have them.
_LINE_CHARACTERS = 42
_MAX_CUE_MS = 6_000
_MIN_CUE_MS = 1_000
_PAUSE_MS = 800
_SENTENCE_ENDS = (".", "?", "!", "؟", "…")


class Word(NamedTuple):
    """One word by the clock of the lesson; `text` begins with a space where the language has spaces."""

    start_ms: int
    end_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in one task."""

    language: str
    words: Sequence[Word]


def speech_track(plan: Plan) -> int | None:
    """The number of the sound that is transcribed; None for a silent film."""
    numbers = range(len(plan.sounds))
    return min(numbers, key=lambda number: (not plan.sounds[number].default, number), default=None)


def task_count(plan: Plan) -> int:
    """How many tasks the sound of a lesson has."""
    return 0 if speech_track(plan) is None else ceil(plan.duration_seconds / SPEECH_TASK_SECONDS)


def window(number: int) -> tuple[Fraction, Fraction]:
    """What is heard of task `number`, in seconds."""
    start = Fraction(number * SPEECH_TASK_SECONDS)
    return max(Fraction(0), start - MARGIN_SECONDS), start + SPEECH_TASK_SECONDS + MARGIN_SECONDS


def words_of_task(words: Iterable[Word], number: int) -> list[Word]:
    """The words whose middle is in task `number`: each word is in one task, though two heard it."""
    start_ms, end_ms = number * SPEECH_TASK_SECONDS * 1000, (number + 1) * SPEECH_TASK_SECONDS * 1000
    return [word for word in words if start_ms <= (word.start_ms + word.end_ms) // 2 < end_ms]


def joined(tasks: Sequence[Transcript]) -> Transcript | None:
    """All words, in the language that most of them are in; None where nothing was said."""
    counts = Counter({task.language: 0 for task in tasks})
    for task in tasks:
        counts[task.language] += len(task.words)
    words = [word for task in tasks for word in task.words]
    return Transcript(counts.most_common(1)[0][0], words) if words else None


def cues_of(words: Sequence[Word]) -> list[Cue]:
    """Words as cues of two lines at most: cut at pauses, ends of sentences, and where a cue is full."""
    cues: list[Cue] = []
    for group in _groups([word for word in words if word.text.strip() and word.end_ms > word.start_ms]):
        start_ms = max(group[0].start_ms, cues[-1].end_ms if cues else 0)
        end_ms = max(group[-1].end_ms, start_ms + 1)
        text = "".join(word.text for word in group)
        cues.append(Cue(start_ms, end_ms, _lines(" ".join(text.split()))))
    # a short one stays until it can be read, or the next one comes
    nexts = [*(cue.start_ms for cue in cues[1:]), 1 << 62]
    return [
        Cue(cue.start_ms, max(cue.end_ms, min(cue.start_ms + _MIN_CUE_MS, following)), cue.text)
        for cue, following in zip(cues, nexts, strict=False)
    ][:MAX_CUES]


def _groups(words: Sequence[Word]) -> Iterable[list[Word]]:
    group: list[Word] = []
    for word in words:
        length = sum(len(one.text) for one in group)
        if group and (
            word.start_ms - group[-1].end_ms > _PAUSE_MS
            or length + len(word.text) > 2 * _LINE_CHARACTERS
            or word.end_ms - group[0].start_ms > _MAX_CUE_MS
            or (group[-1].text.strip().endswith(_SENTENCE_ENDS) and length > _LINE_CHARACTERS)
        ):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _lines(text: str) -> str:
    """`text` on one line, or on two of about the same length; what WebVTT would take for a tag is escaped."""
    if len(text) > _LINE_CHARACTERS:
        spaces = [place for place, letter in enumerate(text) if letter == " "]
        if spaces:
            middle = min(spaces, key=lambda place: abs(place - len(text) / 2))
            text = f"{text[:middle]}\n{text[middle + 1 :]}"
    return html.escape(text, quote=False)
