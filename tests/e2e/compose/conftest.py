"""The whole system in containers, once for all of these tests: up from nothing, down with all it kept."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.compose.containers import Containers, engine_or_reason

#: The images are built within it too, which takes a few minutes the first time.
UP_SECONDS = 1200
#: These break things, and what they broke is reported for minutes: they come after those that want all to be well.
LAST = ("test_alerts", "test_faults")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "compose: needs a Docker engine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem in LAST)
    for item in items:
        if "containers" in getattr(item, "fixturenames", ()):
            item.add_marker("compose")
            # whichever test is first waits for everything to be built and up
            item.add_marker(pytest.mark.timeout(UP_SECONDS + 300))


@pytest.fixture(scope="session")
def containers() -> Iterator[Containers]:
    """The running system; use it, but leave it whole."""
    if reason := engine_or_reason():
        pytest.fail(reason)
    stack = Containers()
    began = time.monotonic()
    try:
        stack.up(UP_SECONDS)
        print(f"\ndocker compose build, and up --wait: {time.monotonic() - began:.0f} s")
        yield stack
    finally:
        stack.down()
        print(f"\nfrom up to down: {time.monotonic() - began:.0f} s")
