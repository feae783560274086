"""The rows of a sum over several days, over HTTP: they are the rows of each day, and add up to the sum."""

import csv
import html
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from local.postgres import Postgres
from services.stats.api.dashboard.i18n import words_of
from services.stats.api.rollup import begin_of
from services.stats.days import yesterday
from services.stats.sections.base import Unit
from shared.runtime.languages import LANGUAGES
from tests.stats.api.dashboard.test_dashboard import Nesting
from tests.stats.api.processes import RunningApi
from tests.stats.api.snapshots import compute
from tests.webhook_gateway.processes import new_database

LAST = yesterday(datetime.now(UTC), ZoneInfo("Africa/Algiers"))
FIRST = min(begin_of(LAST, "month"), begin_of(LAST, "week"), LAST - timedelta(days=3))
DAYS = [FIRST + timedelta(days=number) for number in range((LAST - FIRST).days + 1)]
#: On every other day the office takes money, of two methods.
TAKEN = {(day, method): 100 * (place + 1) + len(method) for place, day in enumerate(DAYS)
         if (LAST - day).days % 2 == 0 for method in ("cash", "cheque")}  # fmt: skip
SCHOOL = f"""
INSERT INTO users (created_at) VALUES ('{FIRST} 11:00+00');
INSERT INTO office_payments (user_id, method, amount_minor, currency, received_at) VALUES
{", ".join(f"(1, '{way}', {amount}, 'DZD', '{day} 11:00+00')" for (day, way), amount in TAKEN.items())};
"""  # noqa: S608


@pytest.fixture(scope="module")
def api(migrated_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    with new_database(migrated_server) as database:
        for day in DAYS:
            compute(database.url, SCHOOL if day == FIRST else "SELECT", day)
        api = RunningApi(tmp_path_factory.mktemp("ranges") / "log", database.url)
        yield api
        api.kill()
        assert "Traceback" not in api.log


def read(api: RunningApi, number: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/api/stats/{LAST}/rows", params={"from": FIRST, "number": number, **more}).json()
    return found


@pytest.mark.parametrize("key", [None, "cash", "cib"])
def test_the_rows_of_all_days_add_up_to_the_sum_page_by_page(api: RunningApi, key: str | None) -> None:
    of_key = {} if key is None else {"key": key}
    wanted = [(str(day), amount) for (day, method), amount in TAKEN.items() if key in (None, method)]
    rows: list[tuple[str, int]] = []
    place: dict[str, Any] = {}
    while True:
        found = read(api, "payments.office_by_method", limit=3, **of_key, **place)
        rows += [(row["counted_on"], row["amount"]) for row in found["rows"]]
        if found["next"] is None:
            break
        place = {"after": found["next"], "after_day": found["next_day"]}

    assert rows == wanted
    value = found["value"]
    assert sum(amount for _, amount in rows) == (sum(value.values()) if key is None else value)
    assert (found["from"], found["day"], found["next_day"]) == (str(FIRST), str(LAST), None)


def test_they_are_the_rows_of_a_period_of_the_api(api: RunningApi) -> None:
    periods = api.get(f"/api/stats?from={FIRST}&to={LAST}&step=month").json()
    values = periods["sections"]["payments"]["numbers"]["office_by_method"]
    for place, period in enumerate(periods["periods"]):
        address = f"/api/stats/{period['to']}/rows?from={period['from']}&number=payments.office_by_method&format=csv"
        rows = list(csv.DictReader(io.StringIO(api.get(address).text)))
        assert sum(int(row["amount"]) for row in rows) == sum(amounts[place] for amounts in values.values())
        assert all(period["from"] <= row["counted_on"] <= period["to"] for row in rows)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sum_to_date_on_the_page_leads_to_its_rows(api: RunningApi, language: str) -> None:
    words, first = words_of(language), LAST.replace(day=1)
    page = api.get(f"/?day={LAST}&lang={language}").text
    row = page.split('<tr id="payments.office">')[1].split("</tr>")[0]
    label = words.page["month_to_date"].format(first=words.day(first, "medium"))
    (link,) = re.findall(
        rf'{re.escape(label + words.page["colon"])} <a class="rows" href="([^"]+from={first}&amp;[^"]+)"', row
    )

    text = api.get(f"/{html.unescape(link)}").text
    Nesting(text)
    total = sum(amount for (day, _), amount in TAKEN.items() if day >= first)
    assert f'<data id="value" value="{total}">' in text
    assert f'<data id="sum" value="{total}">' in text
    assert words.value(total, Unit.MINOR, "DZD") in text
    days = words.page["rows_range"].format(first=words.day(first, "long"), last=words.day(LAST, "long"))
    assert (days if first < LAST else words.day(LAST)) in text
    data = html.unescape(re.findall(r'href="(api/[^"]+csv[^"]*)"', text)[0])
    assert len(api.get(f"/{data}").text.splitlines()) == 1 + sum(day >= first for day, _ in TAKEN)


@pytest.mark.parametrize("step", ["week", "month"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_breakdown_has_its_sums_to_date_by_the_same_keys(api: RunningApi, language: str, step: str) -> None:
    words, first = words_of(language), begin_of(LAST, step)
    page = api.get(f"/?day={LAST}&lang={language}").text
    label = words.page[f"{step}_to_date"].format(first=words.day(first, "medium"))
    total = sum(amount for (day, _), amount in TAKEN.items() if day >= first)
    link = f"rows?day={LAST}&amp;lang={language}&amp;from={first}&amp;number=payments.office_by_method"
    value = f"<bdi>{words.value(total, Unit.MINOR, 'DZD')}</bdi>"
    assert f'{label}{words.page["colon"]} <a class="rows" href="{link}">{value}</a>' in page

    text = api.get(f"/{html.unescape(link)}").text
    Nesting(text)
    parts = re.findall(r"<tr>.*?</tr>", text.split('<tbody id="parts">')[1].split("</tbody>")[0])
    wanted = {way: sum(amount for (day, one), amount in TAKEN.items() if day >= first and one == way)
              for way in ("cheque", "cash")}  # fmt: skip
    assert len(parts) == len(wanted)
    for part, (way, amount) in zip(parts, wanted.items(), strict=True):
        assert words.key("method", way) in part
        assert words.value(amount, Unit.MINOR, "DZD") in part
        (of_key,) = re.findall(r'href="([^"]+)"', part)
        assert f'<data id="sum" value="{amount}">' in api.get(f"/{html.unescape(of_key)}").text


def test_what_is_not_summed_over_days_says_so(api: RunningApi) -> None:
    refused = api.get(f"/api/stats/{LAST}/rows?from={FIRST}&number=users.total")
    assert (refused.status_code, "is not added up over days" in refused.json()["message"]) == (400, True)
    page = api.get(f"/rows?day={LAST}&from={FIRST}&number=users.total&lang=en")
    assert page.status_code == 404
    assert words_of("en").page["rows_no_range"].format(number=words_of("en").number("users", "total")) in page.text
    Nesting(page.text)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (f"from={LAST + timedelta(days=1)}", 400),
        (f"from={LAST - timedelta(days=366)}", 400),
        (f"from={FIRST - timedelta(days=1)}", 404),
        (f"from={FIRST}&after_day={FIRST - timedelta(days=1)}", 400),
        ("from=then", 400),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(api: RunningApi, query: str, status: int) -> None:
    assert api.get(f"/api/stats/{LAST}/rows?number=payments.office&{query}").status_code == status
    assert api.get(f"/rows?day={LAST}&number=payments.office&{query}").status_code == status
