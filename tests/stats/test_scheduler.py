"""Real scheduler, worker and RabbitMQ over several midnights, killed at every step: every day is counted once."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg2
import pytest

from services.stats.days import midnight
from tests.waiting import wait_until

#: The clocks change in the night to the 29th; it has 23 hours.
PARIS = ZoneInfo("Europe/Paris")
FIRST = date(2026, 3, 27)

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def rows(database_url: str) -> Callable[..., list[tuple[Any, ...]]]:
    """`rows(query)` of the school, which has one user, registered in the morning of FIRST."""

    def ask(query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    ask("INSERT INTO users (created_at) VALUES (%s)", midnight(FIRST, PARIS) + timedelta(hours=9))
    return ask


@pytest.fixture
def start(database_url: str, rabbitmq_url: str, tmp_path: Path) -> Iterator[Start]:
    """`start("worker", at, **settings)` runs `nouba stats worker` as if it were `at`."""
    running: list[subprocess.Popen[bytes]] = []

    def run(command: str, at: datetime, **settings: str) -> "subprocess.Popen[bytes]":
        environment = {
            **os.environ,
            "NOUBA_DATABASE_URL": database_url,
            "NOUBA_RABBITMQ_URL": rabbitmq_url,
            "NOUBA_TIMEZONE": PARIS.key,
            # periodiq checks the zone of the process, which must be no matter
            "TZ": "America/New_York",
            "NOUBA_STATS_SCHEDULE": "* * * * *",
            **settings,
        }
        with (tmp_path / f"{command}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.stats.programs.at", at.isoformat(), "stats", command],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
            )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.wait()
    for log in tmp_path.glob("*.log"):
        print(log.name, log.read_text(), sep="\n")


def versions(rows: Callable[..., list[tuple[Any, ...]]]) -> dict[date, int]:
    return dict(rows("SELECT day, count(*) FROM daily_stats GROUP BY day"))


def before_midnight(days: int, seconds: float) -> datetime:
    """So many seconds before the midnight that ends FIRST and so many more `days`."""
    return midnight(FIRST + timedelta(days=days + 1), PARIS) - timedelta(seconds=seconds)


def test_periodiq_fires_at_midnight_in_the_schools_zone(start: Start, rows: Callable[..., Any]) -> None:
    scheduler = start("scheduler", before_midnight(0, 4))
    worker = start("worker", before_midnight(0, 4))
    wait_until(lambda: versions(rows) == {FIRST: 1}, 40)
    for process in (scheduler, worker):
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


#: At which step the scheduler and the worker of a night die.
NIGHTS = (
    ("sweep.before_scan", "stats.before_read"),
    ("sweep.before_commit", "stats.after_read"),
    ("sweep.after_commit", "stats.after_keep"),
    ("sweep.before_commit", "stats.before_commit"),
    ("sweep.after_commit", "stats.after_commit"),
)


@pytest.mark.slow
def test_every_day_is_counted_once_no_matter_who_is_killed_at_whichever_step(
    start: Start, rows: Callable[..., Any]
) -> None:
    for number, steps in enumerate(NIGHTS):
        # both run when midnight comes
        processes = {}
        for name, step in zip(("scheduler", "worker"), steps, strict=True):
            processes[name] = start(name, before_midnight(number, 3), NOUBA_FAILPOINTS=f"{step}=kill")
        # each is started again when it has died, as its supervisor would do
        for name, step in zip(("scheduler", "worker"), steps, strict=True):
            assert processes[name].wait(40) == -signal.SIGKILL, f"the {name} did not reach {step}"
            processes[name] = start(name, before_midnight(number, -1))
        expected = {FIRST + timedelta(days=each): 1 for each in range(number + 1)}
        wait_until(lambda: versions(rows) == expected, 40)  # noqa: B023
        for process in processes.values():
            process.kill()
            process.wait()
    assert rows("SELECT count(*) FROM daily_stats_newest WHERE version = 1 AND NOT failed") == [(len(NIGHTS),)]


def test_two_schedulers_and_a_week_of_sleep_give_each_day_once(
    start: Start, rows: Callable[..., Any], rabbitmq_url: str, queue_depths: Callable[[str], dict[str, int]]
) -> None:
    at = before_midnight(6, -60)
    for name in ("scheduler", "scheduler", "worker", "worker"):
        start(name, at)
    wait_until(lambda: len(versions(rows)) == 7, 40)
    wait_until(lambda: rows("SELECT count(*) FROM outbox") == [(0,)], 40)
    wait_until(lambda: set(queue_depths(rabbitmq_url).values()) == {0}, 40)
    assert versions(rows) == {FIRST + timedelta(days=number): 1 for number in range(7)}


def test_a_scheduler_without_rabbitmq_keeps_its_outbox_row_until_it_is_back(
    start: Start, rows: Callable[..., Any], rabbitmq_url: str
) -> None:
    at = datetime.combine(FIRST + timedelta(days=1), datetime.min.time(), tzinfo=PARIS).astimezone(UTC)
    scheduler = start("scheduler", at, NOUBA_RABBITMQ_URL="amqp://nobody:nothing@127.0.0.1:1/")
    wait_until(lambda: rows("SELECT count(*) FROM outbox") != [(0,)], 40)
    assert scheduler.poll() is None
    scheduler.send_signal(signal.SIGTERM)
    assert scheduler.wait(30) == 0
    # the worker carries what a scheduler left behind
    start("worker", at)
    wait_until(lambda: versions(rows) == {FIRST: 1}, 40)
