"""What every test has: servers on demand, and an environment without the caller's settings."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings
from sqlalchemy import Engine

pytest_plugins = (
    "tests.suite.start_up",
    "tests.suite.run_folder",
    "tests.suite.servers",
    "tests.mail_server",
    "tests.suite.budget",
    "tests.suite.selection",
    "tests.suite.summary",
)

# how long an example takes is the machine's matter, and what else runs on it
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes have their argument's name: gzip writes the second into them, and workers must collect the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def without_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test must neither fail for what the caller has set, nor touch the server it names."""
    for name in list(os.environ):
        if name.startswith("NOUBA_") and not name.startswith("NOUBA_LOCAL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Connections to a database of one test."""
    from shared.runtime.database import build_engine

    engine = build_engine(database_url)
    yield engine
    engine.dispose()
