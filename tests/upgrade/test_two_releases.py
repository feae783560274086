"""Two releases side by side on one schema: migrate first, then replace process by process, or go back."""

import contextlib
import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from services.stats.sections.catalogue import REVISION
from shared.runtime.migrations import migrate
from tests.upgrade.previous_release import FIRST_NEW_MIGRATION, previous_release
from tests.waiting import wait_until
from tests.webhook_gateway.processes import NOUBA, Database, RunningGateway, RunningWorker, deliver, paid

pytestmark = pytest.mark.slow

USER = 7


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = previous_release(tmp_path_factory.mktemp("previous"))
    if found is None:
        pytest.fail("the history does not hold the previous release: git fetch --unshallow")
    assert not (found / "shared/schema/migrations/versions" / FIRST_NEW_MIGRATION).exists()
    return found


def nouba(database: Database, *arguments: str, release: Path | None = None) -> str:
    own = {name: value for name, value in os.environ.items() if "NOUBA_" not in name}
    environment = {**own, "NOUBA_DATABASE_URL": database.url, **({"PYTHONPATH": str(release)} if release else {})}
    done = subprocess.run([NOUBA, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def deliver_some(*gateways: RunningGateway) -> None:
    for gateway in gateways:
        with httpx.Client(base_url=gateway.url, timeout=10) as client:
            for _ in range(5):
                payment = paid(user_id=USER)
                # the other release knows it, too
                assert [deliver(client, payment).status_code for _ in range(2)] == [200, 200]


def are_settled(database: Database, count: int) -> bool:
    return database.rows("SELECT state, count(*) FROM webhook_events GROUP BY 1") == [("applied", count)]


def test_the_previous_release_runs_on_the_new_schema_beside_this_one(
    previous: Path, database_url: str, rabbitmq_url: str, tmp_path: Path
) -> None:
    database = Database(database_url)
    database.execute("INSERT INTO users (id) VALUES (%s)", USER)
    old = {"PYTHONPATH": str(previous)}
    with contextlib.ExitStack() as running:
        # Given the previous release, on a database that this one has migrated
        old_gateway = running.enter_context(RunningGateway(tmp_path / "old gateway", database.url, rabbitmq_url, **old))
        old_worker = running.enter_context(RunningWorker(tmp_path / "old worker", database.url, rabbitmq_url, **old))
        deliver_some(old_gateway)
        wait_until(lambda: are_settled(database, 5), 30, "the previous release does not settle")
        # a process imports its own release
        assert "retention" not in httpx.get(old_worker.metrics_url).text

        # When this release's processes start beside them, both serve and settle
        gateway = running.enter_context(RunningGateway(tmp_path / "gateway", database.url, rabbitmq_url))
        worker = running.enter_context(RunningWorker(tmp_path / "worker", database.url, rabbitmq_url))
        assert 'thread="retention"' in httpx.get(worker.metrics_url).text
        deliver_some(old_gateway, gateway)
        wait_until(lambda: are_settled(database, 15), 30, "the two do not settle together")

        # And each release alone does: forward with the old worker gone, back with the new one gone
        assert old_worker.stop() == 0
        deliver_some(old_gateway, gateway)
        wait_until(lambda: are_settled(database, 25), 30, "the new worker does not settle what the old gateway kept")
        running.enter_context(RunningWorker(tmp_path / "older worker", database.url, rabbitmq_url, **old))
        assert worker.stop() == 0
        deliver_some(gateway)
        wait_until(lambda: are_settled(database, 30), 30, "the old worker does not settle what the new gateway kept")

        # Then every webhook was booked once, by both releases' own judgement
        assert database.rows("SELECT balance_minor FROM users") == [(30 * 250_000,)]
        unsealed = """
            SELECT count(*) FROM webhook_events e
            WHERE NOT EXISTS (SELECT FROM seals WHERE what = 'event' AND row_id = e.id)
        """
        wait_until(lambda: database.rows(unsealed) == [(0,)], 30, "not sealed")
        for release in (None, previous):
            assert json.loads(nouba(database, "ledger", "verify", "--json", release=release))["faults"] == []
        for one in (old_gateway, gateway):
            assert "Traceback" not in one.log


def test_the_previous_release_counts_days_and_migrates_nothing_back(previous: Path, database_url: str) -> None:
    database = Database(database_url)
    database.execute("INSERT INTO users (created_at) VALUES ('2026-01-05T10:00Z')")

    # When both releases compute days in turn
    nouba(database, "stats", "backfill", "2026-01-05", "2026-01-06", release=previous)
    before = database.rows("SELECT day, etag FROM daily_stats ORDER BY version, day")
    ((definitions,),) = database.rows("SELECT DISTINCT payload -> 'definitions' FROM daily_stats")
    nouba(database, "stats", "compute", "2026-01-05", "2026-01-06")

    # Then they agree to the byte where their definitions are the same, and else this one adds a version of each day
    after = database.rows("SELECT day, etag FROM daily_stats ORDER BY version, day")
    assert len(before) == 2
    assert after[:2] == before
    assert len(after) == (2 if definitions == REVISION else 4)

    # And this release's migration finds nothing to do
    version = database.rows("SELECT version_num FROM alembic_version")
    migrate(database.url)
    assert database.rows("SELECT version_num FROM alembic_version") == version
