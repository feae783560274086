"""Which groups of tests take long, so that a run begins with them: a long one that begins last leaves a core idle.

A group is what runs in one process: a test, or a file or folder whose tests share a fixture. Every green run of several
processes writes its long groups to `.nouba/suite`: copy those of a `make test-all` here. A line that is out of date
costs seconds at the end of a run and nothing else.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_name("durations.tsv")
#: What takes less fills the gaps at the end.
LONG_SECONDS: Final = 10.0


def read_durations(path: Path = _FILE) -> dict[str, float]:
    """Seconds by group."""
    lines = path.read_text().splitlines()[1:] if path.exists() else []
    return {group: float(seconds) for seconds, group in (line.split("\t") for line in lines)}


def write_durations(seconds: Mapping[str, float], path: Path) -> None:
    """Write the long ones of the groups that ran, the longest first."""
    found = sorted(((spent, group) for group, spent in seconds.items() if spent >= LONG_SECONDS), reverse=True)
    path.write_text("seconds\tgroup\n" + "".join(f"{spent:.0f}\t{group}\n" for spent, group in found))
