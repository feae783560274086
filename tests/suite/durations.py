"""Which tests take long, so that a run begins with them: a long test that begins last leaves a core idle.

Every green run writes its long tests to `.nouba/suite`: copy those of a `make test-all` here. A line that is out of
date costs seconds at the end of a run and nothing else.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_name("durations.tsv")
#: What takes less fills the gaps at the end.
LONG_SECONDS: Final = 10.0


def read_durations(path: Path = _FILE) -> dict[str, float]:
    """Seconds by test, as pytest names it."""
    lines = path.read_text().splitlines()[1:] if path.exists() else []
    return {test: float(seconds) for seconds, test in (line.split("\t") for line in lines)}


def write_durations(seconds: Mapping[str, float], path: Path) -> None:
    """Write the long ones of the tests that ran, the longest first."""
    found = sorted(((spent, test) for test, spent in seconds.items() if spent >= LONG_SECONDS), reverse=True)
    path.write_text("seconds\ttest\n" + "".join(f"{spent:.0f}\t{test}\n" for spent, test in found))
