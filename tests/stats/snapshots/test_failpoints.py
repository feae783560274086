"""A scheduler or worker that is killed, fails or is slow at any step leaves each day counted once."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from tests.failpoint_places import ACTIONS, KILL, STATISTICS, every
from tests.stats.programs import due

DAYS = 3


def ask(database_url: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall() if cursor.description else []


def compute(database_url: str, failpoints: str) -> "subprocess.CompletedProcess[str]":
    settings = {"NOUBA_DATABASE_URL": database_url, "NOUBA_FAILPOINTS": failpoints}
    command = [sys.executable, "-m", "tests.stats.programs.due"]
    return subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("place", "action"), every(STATISTICS, *ACTIONS))
def test_every_day_is_counted_once_whatever_happens_there(
    place: str, action: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(database_url, "INSERT INTO users (created_at) VALUES (%s)", datetime.now(UTC) - timedelta(days=DAYS))

    broken = compute(database_url, f"{place}={action}")
    assert f"failpoint {place}: " in broken.stderr
    assert broken.returncode == (-signal.SIGKILL if action == KILL else 0), broken.stderr
    # the next sweep
    monkeypatch.setenv("NOUBA_DATABASE_URL", database_url)
    due.main()

    assert ask(database_url, "SELECT count(*), max(version) FROM daily_stats") == [(DAYS, 1)]
    assert ask(database_url, "SELECT count(*) FROM daily_stats_newest WHERE version = 1 AND NOT failed") == [(DAYS,)]
    assert ask(database_url, "SELECT count(*) FROM changed_days") == [(0,)]
