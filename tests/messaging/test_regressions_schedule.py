"""Faults that periodiq showed with a real RabbitMQ, each as a test of ours that must never show it again.

| reproduced fault | kept away by |
|---|---|
| per: the retry of a periodic job is dropped for its age | `test_a_computation_that_fails_is_tried_again_...` here |
| per: two schedulers send every message twice | `stats/test_midnights.py`: `test_two_schedulers_and_a_week_...` |
| per: a scheduler ends when it cannot publish | `stats/test_midnights.py`: `test_a_scheduler_without_rabbitmq_...` |
| per: SIGTERM does not stop it | `stats/test_midnights.py`: `test_periodiq_fires_at_midnight_...` |
| t_periodiq: Sundays never come | `test_every_midnight_of_a_week_...`, `test_periodiq_still_has_...` here |
| t_periodiq: an hour that the clocks leave out | the same: no midnight is asked for by its wall clock |
"""

import json
import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import periodiq
import psycopg2
import pytest

from services.stats.settings import StatsSettings
from shared.contracts.stats import ComputeDay
from shared.messaging.actors import encode_message
from shared.messaging.broker import build_broker
from tests.messaging.rabbitmq import VirtualHost
from tests.waiting import wait_until

NOUBA = Path(sys.executable).with_name("nouba")


def test_a_computation_that_fails_is_tried_again_however_old(
    vhost: VirtualHost, database_url: str, tmp_path: Path
) -> None:
    """periodiq's middleware skips, and so acknowledges, a message that is half a minute old, retries included."""
    day = datetime.now(UTC).date() - timedelta(days=3)
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO users (created_at) VALUES (%s)", (day - timedelta(days=1),))
    old = {**encode_message(ComputeDay(day=day)), "options": {"scheduled_at": "2020-01-01T00:00:00+00:00"}}
    build_broker(vhost.url).declare_queue("default", ensure=True)
    vhost.publish("default", json.dumps(old).encode())
    settings = {
        "NOUBA_DATABASE_URL": database_url,
        "NOUBA_RABBITMQ_URL": vhost.url,
        "NOUBA_FAILPOINTS": "stats.before_read=raise*2",
    }
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [NOUBA, "stats", "worker"], env={**os.environ, **settings}, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: _kept(database_url) >= 1, 30)
    finally:
        worker.kill()
        worker.wait()
    assert log.read_text().count("failpoint stats.before_read: raise") == 2


@pytest.mark.parametrize("zone", ["Africa/Algiers", "Europe/Paris", "Asia/Kathmandu", "America/St_Johns", "UTC"])
def test_every_midnight_of_a_week_is_a_time_to_check_in_every_zone(zone: str) -> None:
    schedule = periodiq.cron(StatsSettings.model_fields["stats_schedule"].default)
    for start in (datetime(2026, 3, 23), datetime(2026, 10, 19)):  # noqa: DTZ001 clocks change in both weeks
        for number in range(7):
            midnight = (start + timedelta(days=number)).replace(tzinfo=ZoneInfo(zone))
            # whatever the zone of the process is
            for process_zone in ("UTC", "America/New_York", "Asia/Kathmandu"):
                assert schedule.validate(midnight.astimezone(ZoneInfo(process_zone))), (midnight, process_zone)


@pytest.mark.parametrize("never_on_sunday", ["0 0 * * 0", "0 0 * * sun", "@weekly"])
def test_periodiq_still_has_its_fault_with_sundays(never_on_sunday: str) -> None:
    """The day this fails, our schedule may name weekdays; until then it must not."""
    sunday = datetime(2026, 11, 29, tzinfo=UTC)
    assert not periodiq.cron(never_on_sunday).validate(sunday)
    assert periodiq.cron("0 0 * * 7").validate(sunday)
    assert StatsSettings.model_fields["stats_schedule"].default.split()[4] == "*"


def _kept(database_url: str) -> int:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM daily_stats")
        (count,) = cursor.fetchone() or (0,)
    return int(count)
