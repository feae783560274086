"""Yesterday is mailed once, when it is late enough and the day is kept; a mail server that is away costs no mail."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from services.stats.morning_mail.enqueue_due import enqueue_due
from services.stats.settings import StatsSettings
from shared.runtime.database import build_engine
from shared.runtime.settings import SettingsError, read_settings
from tests.mail_server import MailServer
from tests.stats.api.snapshots import keep
from tests.waiting import wait_until

ALGIERS = ZoneInfo("Africa/Algiers")
DAY = date(2026, 11, 28)
#: Seven in Algiers, which is an hour before UTC.
SEVEN = datetime(2026, 11, 29, 6, 0, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url, pool_size=8)
    yield engine
    engine.dispose()


def enqueued(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        messages = connection.scalars(text("SELECT message FROM outbox ORDER BY id")).all()
    assert all(message["actor_name"] == "stats.mail_day.v1" for message in messages)
    return [message["kwargs"]["day"] for message in messages]


def test_a_day_is_due_once_from_the_hour_on(engine: Engine, database_url: str) -> None:
    due = partial(enqueue_due, engine, ALGIERS, send_at=time(7))
    assert due(now=SEVEN) is None, "the day is not kept yet"
    keep(database_url, DAY - timedelta(days=3), DAY)
    assert due(now=SEVEN - timedelta(seconds=1)) is None, "it is too early"
    with ThreadPoolExecutor(8) as schedulers:
        found = list(schedulers.map(lambda _: due(now=SEVEN), range(16)))
    assert sorted(found, key=str) == [DAY, *[None] * 15]
    assert enqueued(engine) == [DAY.isoformat()], "no earlier day is made up for"


@pytest.mark.parametrize(
    "settings",
    [
        {"NOUBA_STATS_MAIL_TO": "nobody"},
        {"NOUBA_STATS_MAIL_TO": "head@school.example\r\nBcc: other@example.com"},
        {"NOUBA_MAIL_URL": "mx.school.example"},
        {"NOUBA_MAIL_URL": "smtp://mail.school.example:port"},
        {"NOUBA_STATS_MAIL_LANGUAGE": "de"},
        {"NOUBA_STATS_MAIL_AT": "25:00"},
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"NOUBA_DATABASE_URL": "postgresql://here/nouba", "NOUBA_RABBITMQ_URL": "amqp://here", **settings}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    (name, value), *_ = settings.items()
    with pytest.raises(SettingsError, match=name) as caught:
        read_settings(StatsSettings)
    assert value not in str(caught.value)


@pytest.mark.parametrize("given", ["a@school.example\n", " a@school.example,\r\n", "\na@school.example\x0b"])
def test_no_line_break_around_an_address_gets_into_a_header(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOUBA_MAIL_FROM", "NOUBA_STATS_MAIL_TO"):
        monkeypatch.setenv(name, given)
    monkeypatch.setenv("NOUBA_DATABASE_URL", "postgresql://here/nouba")
    monkeypatch.setenv("NOUBA_RABBITMQ_URL", "amqp://here")
    settings = read_settings(StatsSettings)
    assert (settings.mail_from, settings.stats_mail_to) == ("a@school.example", "a@school.example")


def test_recipients_without_a_mail_server_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUBA_DATABASE_URL", "postgresql://here/nouba")
    monkeypatch.setenv("NOUBA_RABBITMQ_URL", "amqp://here")
    monkeypatch.setenv("NOUBA_STATS_MAIL_TO", "head@school.example, deputy@school.example")
    with pytest.raises(SettingsError, match="set NOUBA_MAIL_URL and NOUBA_MAIL_FROM"):
        read_settings(StatsSettings).mail_recipients()
    monkeypatch.setenv("NOUBA_MAIL_URL", "smtp://127.0.0.1")
    monkeypatch.setenv("NOUBA_MAIL_FROM", "Nouba <nouba@school.example>")
    assert read_settings(StatsSettings).mail_recipients() == ("head@school.example", "deputy@school.example")


def test_scheduler_and_worker_mail_the_day_and_wait_for_a_mail_server_that_is_away(
    engine: Engine, database_url: str, rabbitmq_url: str, plain_server: MailServer, tmp_path: Path
) -> None:
    keep(database_url, DAY - timedelta(days=8), DAY)
    plain_server.stop()
    environment = {
        **os.environ,
        "NOUBA_DATABASE_URL": database_url,
        "NOUBA_RABBITMQ_URL": rabbitmq_url,
        "NOUBA_STATS_SCHEDULE": "* * * * *",
        "NOUBA_MAIL_URL": f"smtp://127.0.0.1:{plain_server.port}",
        "NOUBA_MAIL_FROM": "nouba@school.example",
        "NOUBA_STATS_MAIL_TO": "head@school.example",
    }
    log = tmp_path / "stats.log"
    running = []
    with log.open("ab") as stream:
        for command in ("scheduler", "worker"):
            # two seconds before seven
            at = (SEVEN - timedelta(seconds=2)).isoformat()
            line = [sys.executable, "-m", "tests.stats.programs.at", at, "stats", command]
            running.append(subprocess.Popen(line, env=environment, stdout=stream, stderr=stream))
    again = None
    try:
        wait_until(lambda: "127.0.0.1 did not take the mail" in log.read_text(), 60)
        again = MailServer(None, plain_server.port)
        wait_until(lambda: again.mails, 60)
        with engine.connect() as connection:
            wait_until(lambda: connection.scalar(text("SELECT sent_at FROM mailed_days")), 20)
        for process in running:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        assert [mail["Message-ID"] for mail in again.mails] == ["<nouba-statistics-2026-11-28@school.example>"]
        assert "head@school.example" not in log.read_text(), "no address of a person is logged"
    finally:
        print(log.read_text())
        for process in running:
            process.kill()
            process.wait()
        if again:
            again.stop()
