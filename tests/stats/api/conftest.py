"""One API over two months of days for the tests that only read, and a way to start others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from local.postgres import Postgres
from services.stats.days import yesterday
from tests.stats.api.processes import RunningApi
from tests.stats.api.snapshots import keep
from tests.webhook_gateway.processes import new_database

#: The last day that is over, as a running API sees it.
LAST = yesterday(datetime.now(UTC), ZoneInfo("Africa/Algiers"))
FIRST = LAST - timedelta(days=59)
#: A day between them that is not kept.
GAP = LAST - timedelta(days=40)
#: A day of which every version failed in a section.
FAILED = LAST - timedelta(days=41)


@dataclass(frozen=True, slots=True)
class Library:
    """A running API, and the tags of the days behind it."""

    api: RunningApi
    client: httpx.Client
    etags: dict[date, str]


@pytest.fixture(scope="package")
def library(migrated_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with new_database(migrated_server) as database:
        etags = keep(database.url, FIRST, FAILED - timedelta(days=1)) | keep(
            database.url, GAP + timedelta(days=1), LAST
        )
        keep(database.url, FAILED, FAILED, complete=False)
        api = RunningApi(tmp_path_factory.mktemp("stats") / "log", database.url)
        with httpx.Client(base_url=api.url) as client:
            yield Library(api, client, etags)
        api.kill()
        assert "Traceback" not in api.log
        assert '"at":' not in api.log


Start = Callable[..., RunningApi]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(database_url, **settings)`: an API of the test's own."""
    started: list[RunningApi] = []

    def start(database_url: str, **settings: str) -> RunningApi:
        started.append(RunningApi(tmp_path / f"log {len(started)}", database_url, **settings))
        return started[-1]

    yield start
    for api in started:
        api.kill()
