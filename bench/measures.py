"""The model of a measurement: samples of the subject and of its rivals, taken in turn, and their percentiles."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

#: Called with what is being done now, and how many steps of how many are over.
Show = Callable[[str, int, int], None]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a part is to be run. `folder` is empty, and removed afterwards."""

    folder: Path
    #: Seconds rather than minutes: shows that all of it works, and nothing about speed.
    quick: bool
    rounds: int
    #: How large the school of the part `stats` is; None for the largest that fits.
    stats_size: str | None = None
    #: Where the schools of `stats` and `day1000` and their server are kept; None where they are removed afterwards.
    kept_folder: Path | None = None
    #: How large the school of the part `day1000` is, as a share of its whole.
    scale: float | None = None
    #: Which of its reads are timed: those that have this in their names.
    only: str = ""
    #: Whether its old data is erased then, and everything timed again.
    prune: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One thing that was measured. The first of `samples` is the subject, the others are its rivals."""

    part: str
    name: str
    unit: str
    samples: Mapping[str, Sequence[float]]
    #: What the subject is meant to reach, in words.
    goal: str = ""
    digits: int = 2
    #: What the numbers are of that the samples' names begin with, where it is measured how a cost grows with them.
    grows_with: str = ""
    #: The samples are of different things, and not rounds of one.
    is_of_many: bool = False

    @property
    def rows(self) -> list["Row"]:
        """One for the subject, one for each rival."""
        subject, *_ = self.samples
        own = median(self.samples[subject])
        return [
            Row(
                part=self.part,
                measure=self.name,
                who=who,
                unit=self.unit,
                median=median(found),
                least=min(found),
                most=max(found),
                ratio=None if who == subject or not median(found) else own / median(found),
                goal=self.goal if who == subject else "",
                digits=self.digits,
            )
            for who, found in self.samples.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """All of it, with every sample, for a program."""
        return {
            "part": self.part,
            "measure": self.name,
            "unit": self.unit,
            "goal": self.goal,
            "samples": {who: list(found) for who, found in self.samples.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. `ratio` is the subject's median divided by this one's."""

    part: str
    measure: str
    who: str
    unit: str
    median: float
    least: float
    most: float
    ratio: float | None
    goal: str
    digits: int

    @property
    def cells(self) -> tuple[str, ...]:
        """As text, in the order of `COLUMNS`."""
        number = f",.{self.digits}f"
        spread = f"{self.least:{number}} to {self.most:{number}}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return self.part, self.measure, self.who, f"{self.median:{number}} {self.unit}", spread, ratio, self.goal


COLUMNS = ("part", "measured", "who", "median", "spread", "ratio", "goal")


def alternate(rounds: int, contenders: Mapping[str, Callable[[], T]], show: Show) -> dict[str, list[T]]:
    """Run all contenders in turn, `rounds` times. Every second round is in reverse order.

    What slows the machine for a while then slows all of them.
    """
    found: dict[str, list[T]] = {who: [] for who in contenders}
    steps, done = rounds * len(contenders), 0
    for number in range(rounds):
        order = list(contenders) if number % 2 == 0 else list(contenders)[::-1]
        for who in order:
            show(who, done, steps)
            found[who].append(contenders[who]())
            done += 1
    show("done", steps, steps)
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share (0 to 1) of all does not exceed."""
    if not values:
        raise ValueError("There is no percentile of nothing: no request was answered.")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
