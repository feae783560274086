"""What ran, what was left to another command, and what took longest: the last lines of every run."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

import pytest

from tests.suite.budget import Row, cpu_seconds_of, grown, read_budget, write_budget
from tests.suite.durations import write_durations
from tests.suite.selection import LEFT_TO, folder_of, left_out

SLOWEST_SHOWN: Final = 10


class Summary:
    """Collects the reports of all processes in the one that the user started."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._began = time.monotonic()
        self._wall: dict[str, float] = defaultdict(float)
        self._cpu: dict[str, float] = defaultdict(float)
        #: Seconds of what runs in one process.
        self.groups: dict[str, float] = defaultdict(float)
        self.over_budget: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # xdist adds the group
        nodeid, _, group = report.nodeid.rpartition("@tests/")
        self.groups[f"tests/{group}" if nodeid else report.nodeid] += report.duration
        nodeid = nodeid or report.nodeid
        self._wall[nodeid] += report.duration
        self._cpu[nodeid] += cpu_seconds_of(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        # of `make test` and its like; a run of one process may be of one test, or of the containers beside
        if session.exitstatus == pytest.ExitCode.OK and self._config.pluginmanager.hasplugin("dsession"):
            folder = self._config.rootpath / ".nouba" / "suite"
            folder.mkdir(parents=True, exist_ok=True)
            write_budget(self._rows(), folder / "budget.tsv")
            write_durations(self.groups, folder / "durations.tsv")
        if self._config.getoption("--budget"):
            self.over_budget = grown(self._rows(), read_budget())
            if self.over_budget and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self._lines() if self._wall else ():
            terminalreporter.write_line(line)

    def _lines(self) -> Iterator[str]:
        minutes, seconds = divmod(round(time.monotonic() - self._began), 60)
        yield f"Ran {len(self._wall):,} tests in {minutes} min {seconds} s, {sum(self._cpu.values()):.0f} s of CPU:"
        counts = Counter(folder_of(nodeid) for nodeid in self._wall)
        for folder, count in sorted(counts.items()):
            cost = sum(spent for nodeid, spent in self._cpu.items() if folder_of(nodeid) == folder)
            yield f"  {folder:<40} {count:>5} tests {cost:>6.0f} s of CPU"
        for marker, folders in left_out().items():
            if folders:
                yield f"Left to `{LEFT_TO[marker]}`: {sum(folders.values()):,} tests:"
                yield from (f"  {folder:<40} {count:>5} tests" for folder, count in folders.items())
        yield "The slowest:"
        for nodeid, spent in sorted(self._wall.items(), key=lambda one: -one[1])[:SLOWEST_SHOWN]:
            yield f"  {spent:>6.1f} s {nodeid}"
        if self.over_budget:
            yield "Folders that cost more than a fifth above their budget (tests/suite/budget.py says what to do):"
            yield from (f"  {line}" for line in self.over_budget)

    def _rows(self) -> list[Row]:
        files = {nodeid.partition("::")[0] for nodeid in self._wall}
        return [Row(file, _sum(self._cpu, file), _sum(self._wall, file)) for file in files]


def pytest_addoption(parser: pytest.Parser) -> None:
    meaning = "fail when a folder costs a fifth more than its budget"
    parser.getgroup("nouba").addoption("--budget", action="store_true", help=meaning)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Summary(config), "nouba-summary")


def _sum(spent: dict[str, float], file: str) -> float:
    return sum(seconds for nodeid, seconds in spent.items() if nodeid.partition("::")[0] == file)
