"""Every reader sees that a month is closed, and what is corrected: JSON, CSV, ranges, rows, the page, the shell."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import text

from local.postgres import Postgres
from services.stats.api.dashboard.i18n import words_of
from services.stats.settings import CountSettings
from services.stats.snapshots.closing import close
from services.stats.snapshots.wiring import build_computation
from shared.runtime.database import build_engine
from shared.runtime.languages import LANGUAGES
from tests.command_line import nouba
from tests.stats.api.processes import RunningApi
from tests.webhook_gateway.processes import new_database

MONTH = {"en": "January 2026", "fr": "janvier 2026", "ar": "جانفي 2026"}
FIRST, LAST = date(2026, 1, 25), date(2026, 2, 3)
CLOSED, OPEN = date(2026, 1, 30), date(2026, 2, 1)


@pytest.fixture(scope="module")
def database_of_months(migrated_server: Postgres) -> Iterator[str]:
    """January is closed, and two payments of its 30th came later, one of them without a method."""
    with new_database(migrated_server) as database:
        _close_january(database.url)
        yield database.url


def _close_january(database_url: str) -> None:
    engine = build_engine(database_url)
    settings = CountSettings(database_url=database_url)
    computation = build_computation(engine, settings, now=lambda: datetime(2026, 2, 20, tzinfo=UTC))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users (created_at) VALUES (:at)"), {"at": f"{FIRST} 11:00+00"})
    computation.compute(FIRST, LAST)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM late_days"))
    close(engine, date(2026, 1, 1), "test", LAST)
    with engine.begin() as connection:
        late = text(
            "INSERT INTO payments (provider, user_id, amount_minor, method, created_at) VALUES "
            "('satim', 1, 100, 'cib', :at), ('satim', 1, 100, NULL, :at)"
        )
        connection.execute(late, {"at": f"{CLOSED} 11:00+00"})
    computation.compute(FIRST, LAST)
    engine.dispose()


@pytest.fixture(scope="module")
def api(database_of_months: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    api = RunningApi(tmp_path_factory.mktemp("months") / "log", database_of_months)
    yield api
    api.kill()


def test_a_day_and_a_range_say_what_is_closed_and_what_is_corrected(api: RunningApi) -> None:
    closed, opened = (api.get(f"/api/stats/{day}").json() for day in (CLOSED, OPEN))
    assert (closed["closed"], closed["sections"]["payments"]["numbers"]["started"]) == (True, 0)
    assert (opened["closed"], opened["corrections"]["payments.started"]) == (False, 2)
    assert opened["corrections"]["payments.started_by_method"] == {"cib": 1, "~none": 1}
    assert opened["corrected_months"]["payments.started"] == ["2026-01"]
    assert opened["corrected_months"]["payments.started_by_method"] == {"cib": ["2026-01"], "~none": ["2026-01"]}
    assert "corrected_months" not in closed

    days = api.get(f"/api/stats?from={CLOSED}&to={OPEN}").json()
    assert days["closed_until"] == "2026-01-31"
    assert days["corrections"]["payments.started"] == [0, 0, 2]
    assert days["corrections"]["payments.started_by_method"] == {"cib": [0, 0, 1], "~none": [0, 0, 1]}

    computed_at = api.get(f"/api/stats/{OPEN}").headers["Nouba-Computed-At"]
    assert days["generated_at"] == datetime.fromisoformat(computed_at).astimezone(UTC).isoformat()
    months = api.get(f"/api/stats?from={FIRST}&to={LAST}&step=month").json()
    assert [period["closed"] for period in months["periods"]] == [True, False]
    assert months["sections"]["payments"]["numbers"]["started"] == [0, 0]
    assert months["corrections"]["payments.started"] == [0, 2]
    assert months["corrections"]["payments.started_by_method"] == {"cib": [0, 1], "~none": [0, 1]}


def test_csv_has_a_column_for_it_and_a_line_a_correction(api: RunningApi) -> None:
    lines = list(csv.DictReader(io.StringIO(api.get(f"/api/stats?from={CLOSED}&to={OPEN}&format=csv").text)))
    assert {line["day"] for line in lines if line["closed"] == "true"} == {"2026-01-30", "2026-01-31"}
    found = [line for line in lines if line["number"] == "corrections.payments.started_by_method"]
    assert [(line["day"], line["key"], line["value"]) for line in found] == [
        (str(OPEN), "cib", "1"),
        (str(OPEN), "~none", "1"),
    ]


def test_a_correction_leads_to_its_rows_and_the_closed_number_to_its_own(api: RunningApi) -> None:
    found = api.get(f"/api/stats/{OPEN}/rows?number=corrections.payments.started_by_method&key=cib").json()
    assert found["value"] == 1
    assert [(row["source"], row["day"], row["amount"]) for row in found["rows"]] == [
        ("closed_day_corrections", str(CLOSED), 1)
    ]
    for key, value in (("", 0), ("&key=cib", 0)):
        of_day = api.get(f"/api/stats/{CLOSED}/rows?number=payments.started_by_method{key}").json()
        assert sum(row["amount"] for row in of_day["rows"]) == value
    first = api.get(f"/api/stats/{CLOSED}/rows?number=payments.started&limit=1").json()
    rows = first["rows"]
    while first["next"]:
        first = api.get(f"/api/stats/{CLOSED}/rows?number=payments.started&limit=1&after={first['next']}").json()
        rows += first["rows"]
    assert [row["amount"] for row in rows] == [1, 1, -2]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_says_both(api: RunningApi, language: str) -> None:
    words = words_of(language)
    closed, opened = (api.get(f"/?day={day}&lang={language}").text for day in (CLOSED, OPEN))
    assert words.page["closed"] in closed
    assert words.page["closed"] not in opened
    for html, phrase in ((closed, "closed_when"), (opened, "last_closed")):
        assert words.page[phrase].split("{time}")[0] in html
        assert words.page[phrase].split("{time}")[1].format(who="test") in html
    assert words.page["corrections_about"] in opened
    assert words.page["corrections_about"] not in closed
    assert words.page["corrected_here"] in opened
    assert words.page["corrected_here"] not in closed
    correction = opened.split("number=corrections.payments.started_by_method&amp;key=cib")[0].split("<tr>")[-1]
    assert f"<bdi>{MONTH[language]}</bdi>" in correction
    assert "&amp;number=corrections.payments.started_by_method&amp;key=cib" in opened

    newest = api.get(f"/?lang={language}").text
    assert words.page["closed_until"].format(day=words.day(date(2026, 1, 31), "long")) in newest
    link = f'<a href="?day={OPEN}&amp;lang={language}">'
    assert link in newest
    assert link not in opened
    assert link in closed


def test_the_command_line_says_both(api: RunningApi, database_of_months: str) -> None:
    def run(*arguments: str) -> str:
        done = nouba("stats", *arguments, NOUBA_DATABASE_URL=database_of_months)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "closed: what comes later" in run("show", str(CLOSED))
    assert json.loads(run("show", str(CLOSED), "--json")) == api.get(f"/api/stats/{CLOSED}").json()
    opened = run("show", str(OPEN))
    assert "corrections of closed months" in opened
    assert "payments.started" in opened
    assert str(CLOSED) in run("rows", "corrections.payments.started", str(OPEN))
