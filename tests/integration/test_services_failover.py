"""A real standby is promoted: settlement, lessons and days flow again, and nothing is restarted."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg2
import pytest

from local.postgres import Postgres
from local.s3 import S3
from services.transcoder.jobs.model import State
from shared.contracts.stats import ComputeDay
from shared.messaging import outbox
from shared.runtime.database import build_engine
from tests.standby import port_of, start_standby
from tests.transcoder.conftest import s3_keys as s3_keys  # a fixture
from tests.transcoder.jobs.conftest import film as film  # a fixture
from tests.transcoder.jobs.harness import Bench
from tests.waiting import wait_until
from tests.webhook_gateway.processes import NOUBA, Database, RunningGateway, RunningWorker, deliver, paid

pytestmark = pytest.mark.slow

USER = 7
#: From the promotion until everything flows.
RECOVERY_SECONDS = 20
DAY = "2026-03-27"


class Pair:
    """A primary and its standby, behind one address that names both."""

    def __init__(self, primary: Postgres, standby: Postgres) -> None:
        self.primary, self.standby = primary, standby
        host, both = f"127.0.0.1:{port_of(primary)}", f"127.0.0.1:{port_of(primary)},127.0.0.1:{port_of(standby)}"
        self.url = primary.url.replace(host, both)
        assert urlsplit(self.url).netloc.count(",") == 1

    def fail_over(self) -> float:
        """Kill the primary once the standby has everything, and promote the standby; the time of it."""
        with contextlib.closing(psycopg2.connect(self.primary.url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_wal_flush_lsn()")
            (position,) = cursor.fetchone() or (None,)
        behind = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        wait_until(lambda: Database(self.standby.url).rows(behind, position) == [(True,)], 20)
        self.primary.kill()
        assert Database(self.standby.url).rows("SELECT pg_promote(true, 30)") == [(True,)]
        return time.monotonic()


@pytest.fixture
def pair(own_postgres: Postgres, tmp_path: Path) -> Iterator[Pair]:
    standby = start_standby(own_postgres, tmp_path / "standby")
    yield Pair(own_postgres, standby)
    standby.destroy()


@contextlib.contextmanager
def statistics(command: str, pair: Pair, rabbitmq_url: str, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {**os.environ, "NOUBA_DATABASE_URL": pair.url, "NOUBA_RABBITMQ_URL": rabbitmq_url}
    with log.open("ab") as output:
        process = subprocess.Popen([NOUBA, "stats", command], env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_settlement_and_lessons_go_on_at_the_promoted_standby(
    pair: Pair,
    rabbitmq_url: str,
    s3_keys: S3,
    film: Path,
    queue_depths: Callable[[str], dict[str, int]],
    tmp_path: Path,
) -> None:
    after = Database(pair.standby.url)
    Database(pair.primary.url).execute("INSERT INTO users (id) VALUES (%s)", USER)
    bench = Bench(pair.url, rabbitmq_url, s3_keys.url, tmp_path, partial(queue_depths, rabbitmq_url))
    spool = {"NOUBA_GATEWAY_SPOOL_DIR": str(tmp_path / "spool")}
    with (
        RunningGateway(tmp_path / "gateway", pair.url, rabbitmq_url, **spool) as gateway,
        RunningWorker(tmp_path / "worker", pair.url, rabbitmq_url) as worker,
        bench.worker() as transcoder,
        httpx.Client(base_url=gateway.url, timeout=10) as client,
    ):
        # Given payments, and a film of which a part is made
        course_id, _ = bench.submit(film)
        assert [deliver(client, paid(user_id=USER)).status_code for _ in range(10)] == [200] * 10
        made = "SELECT count(*) FROM transcode_chunks WHERE kind = 'video' AND state = 'done'"
        wait_until(lambda: Database(pair.primary.url).rows(made)[0][0] >= 1, 60, "no part is made")

        # When the primary dies
        promoted_at = pair.fail_over()

        # Then webhooks are answered, and settled soon
        assert [deliver(client, paid(user_id=USER)).status_code for _ in range(10)] == [200] * 10
        query = "SELECT state, count(*) FROM webhook_events GROUP BY 1"
        wait_until(lambda: after.rows(query) == [("applied", 20)], RECOVERY_SECONDS, "settlement does not go on")
        print(f"settled {time.monotonic() - promoted_at:.1f} s after the promotion")
        assert after.rows("SELECT balance_minor FROM users") == [(20 * 250_000,)]

        # And the lesson is whole, without a part made twice
        bench.wait_for(course_id, State.COMPLETED, 90)
        print(f"the lesson was whole {time.monotonic() - promoted_at:.1f} s after the promotion")
        assert bench.course(course_id)[0] == "completed"
        wait_until(lambda: httpx.get(f"{gateway.url}/readyz").json()["status"] == "ready", 20)
        for process in (gateway.process, worker.process, transcoder):
            assert process.poll() is None
        assert "Traceback" not in gateway.log + worker.log
    bench.storage.remove("")
    bench.engine.dispose()


def test_days_are_computed_at_the_promoted_standby(pair: Pair, rabbitmq_url: str, tmp_path: Path) -> None:
    before, after = Database(pair.primary.url), Database(pair.standby.url)
    before.execute("INSERT INTO users (created_at) VALUES (%s)", f"{DAY}T10:00Z")
    versions = "SELECT max(version) FROM daily_stats WHERE day = '2026-03-27'"
    with (
        statistics("worker", pair, rabbitmq_url, tmp_path / "stats worker") as worker,
        statistics("scheduler", pair, rabbitmq_url, tmp_path / "stats scheduler") as scheduler,
    ):
        compute(pair.primary, rabbitmq_url)
        wait_until(lambda: before.rows(versions) == [(1,)], 60, "the day is not computed")

        # When the primary dies, and a fact of that day changes on the promoted standby
        promoted_at = pair.fail_over()
        after.execute("INSERT INTO users (created_at) VALUES (%s)", f"{DAY}T11:00Z")
        compute(pair.standby, rabbitmq_url)

        # Then the day has another version, and both processes live
        wait_until(lambda: after.rows(versions) == [(2,)], RECOVERY_SECONDS, "the day is not computed again")
        print(f"a day was computed {time.monotonic() - promoted_at:.1f} s after the promotion")
        assert worker.poll() is None
        assert scheduler.poll() is None


def compute(server: Postgres, rabbitmq_url: str) -> None:
    """Mark the day, and enqueue its message as the scheduler's sweep does."""
    environment = {**os.environ, "NOUBA_DATABASE_URL": server.url, "NOUBA_RABBITMQ_URL": rabbitmq_url}
    subprocess.run([NOUBA, "stats", "invalidate", DAY], env=environment, check=True, capture_output=True)
    engine = build_engine(server.url, pool_size=1)
    with engine.begin() as connection:
        outbox.enqueue(connection, "stats", ComputeDay(day=date.fromisoformat(DAY)))
    engine.dispose()
