"""What each folder of tests may cost: CI fails when one has grown by a fifth.

The measure is CPU time of the test processes and of the children they waited for, not wall time: wall time doubles when
something else runs on the machine, CPU time hardly changes. A slower machine needs more of it in every folder, so each
folder is compared with the median of all folders, within limits: a suite that becomes slower everywhere fails too.
Servers that outlive a test are not counted, and waiting costs no CPU time: the summary's ten slowest tests show it.

Every green run of several processes writes what it measured to `.nouba/suite`: copy that of a `make test-all` here with
the reason.
"""

import resource
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

_FILE: Final = Path(__file__).with_name("budget.tsv")
GROWTH: Final = 1.2
#: Below this many seconds more, a fifth is noise.
FLOOR_SECONDS: Final = 10.0
#: How much slower or faster than the machine of the budget a machine may be.
SLOWEST, FASTEST = 2.0, 0.5
_PROPERTY: Final = "cpu_seconds"
_started = pytest.StashKey[float]()


@dataclass(frozen=True, slots=True)
class Row:
    """One file of tests: what it may cost, and how long it took when that was measured."""

    file: str
    cpu_seconds: float
    wall_seconds: float

    @property
    def folder(self) -> str:
        return self.file.rpartition("/")[0]


def read_budget(path: Path = _FILE) -> list[Row]:
    """The committed budget; empty where there is none."""
    lines = path.read_text().splitlines()[1:] if path.exists() else []
    rows = [line.split("\t") for line in lines]
    return [Row(file, float(cpu), float(wall)) for file, cpu, wall in rows]


def write_budget(rows: Iterable[Row], path: Path) -> None:
    """Write what was measured, as a budget."""
    lines = ["file\tcpu_seconds\twall_seconds"]
    lines += [
        f"{row.file}\t{row.cpu_seconds:.1f}\t{row.wall_seconds:.1f}" for row in sorted(rows, key=lambda r: r.file)
    ]
    path.write_text("\n".join(lines) + "\n")


def grown(measured: Iterable[Row], budget: Iterable[Row]) -> list[str]:
    """A sentence for each folder that costs more than it may."""
    now, allowed = _by_folder(measured), _by_folder(budget)
    both = sorted(now.keys() & allowed.keys())
    # folders that cost next to nothing say nothing about the machine
    ratios = [now[folder] / allowed[folder] for folder in both if allowed[folder] > 1]
    machine = min(max(statistics.median(ratios), FASTEST), SLOWEST) if ratios else 1.0
    return [
        f"{folder}: {now[folder]:.0f} s of CPU, budget {allowed[folder] * machine:.0f} s on this machine"
        for folder in sorted(now)
        if now[folder] > allowed.get(folder, 0.0) * machine * GROWTH + FLOOR_SECONDS
    ]


def cpu_seconds_of(report: pytest.TestReport) -> float:
    """What the test of `report` cost; 0 until it is torn down."""
    return sum(float(str(value)) for name, value in report.user_properties if name == _PROPERTY)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    item.stash[_started] = _cpu_seconds()
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> None:
    if call.when == "teardown":
        item.user_properties.append((_PROPERTY, _cpu_seconds() - item.stash[_started]))


def _by_folder(rows: Iterable[Row]) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in rows:
        found[row.folder] += row.cpu_seconds  # type: ignore[assignment]
    return found


def _cpu_seconds() -> float:
    used: Any = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return float(sum(one.ru_utime + one.ru_stime for one in used))
