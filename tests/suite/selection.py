"""Which tests run in which command, and which of them have to run in the same process."""

import os
from collections import Counter
from typing import Any, Final

import pytest
from hypothesis import settings

from local.free_port import port_range
from tests.suite.budget import read_budget
from tests.suite.durations import read_durations

#: Where `make test` leaves tests out, and the command that runs them.
LEFT_TO: Final = {"slow": "make test-all", "nightly": "make test-nightly", "lint": "make check"}
#: A file that takes less is not worth distributing test by test.
SHORT_SECONDS: Final = 8.0
_left: Counter[tuple[str, str]] = Counter()
#: What `make test` runs: a fifth of the examples that `make test-all` runs, where a test does not say how many.
settings.register_profile("quick", max_examples=20)


def folder_of(nodeid: str) -> str:
    """The folder of a test, such as `tests/stats/api`."""
    return nodeid.partition("::")[0].rpartition("/")[0]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "slow: a proof that takes long; `make test` leaves it to `make test-all`, which .ci/run runs"
    )
    config.addinivalue_line("markers", "nightly: more of what another test proves; `make test-nightly` runs it")
    config.addinivalue_line("markers", "lint: reads files and starts nothing; `make check` runs it")
    if worker := getattr(config, "workerinput", None):
        _use_own_ports(int(worker["workerid"].removeprefix("gw")), int(worker["workercount"]))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # before xdist, which reads the groups
    if not hasattr(config, "workerinput"):
        return
    expected = {row.file: row.wall_seconds for row in read_budget()}
    groups = {}
    for item in items:
        short = expected.get(_file_of(item), SHORT_SECONDS) < SHORT_SECONDS
        groups[item.nodeid] = _group(item, short=short)
        item.add_marker(pytest.mark.xdist_group(groups[item.nodeid]))
    seconds = read_durations()
    # the longest first, so that no process begins a long test when the others are at the end
    items.sort(key=lambda item: (-seconds.get(groups[item.nodeid], 0.0), _file_of(item)))


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        for marker in LEFT_TO:
            if item.get_closest_marker(marker):
                _left[marker, folder_of(item.nodeid)] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["left"] = [[*key, count] for key, count in _left.items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # every worker collects everything, so each says the same
    for marker, folder, count in getattr(node, "workeroutput", {}).get("left", ()):
        _left[marker, folder] = count


def left_out() -> dict[str, dict[str, int]]:
    """How many tests were left to another command: by marker, then by folder."""
    return {
        marker: {folder: count for (name, folder), count in sorted(_left.items()) if name == marker}
        for marker in LEFT_TO
    }


def _group(item: pytest.Item, *, short: bool) -> str:
    """Tests of one group run in one process: those that share a fixture of their module or package, or a short file."""
    fixtures: dict[str, Any] = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    scopes = {definitions[-1].scope for definitions in fixtures.values() if definitions}
    if "package" in scopes:
        return folder_of(item.nodeid)
    return _file_of(item) if short or "module" in scopes else item.nodeid


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _use_own_ports(number: int, count: int) -> None:
    # two processes that search for a free port at the same time must not find the same one
    lowest, highest = port_range()
    size = (highest - lowest + 1) // count
    os.environ["NOUBA_LOCAL_PORTS"] = f"{lowest + number * size}-{lowest + (number + 1) * size - 1}"
