"""The page of the rows behind a number: a real day of a real school."""

import html
import re
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from local.postgres import Postgres
from services.stats.api.dashboard.i18n import words_of
from services.stats.api.dashboard.rows_page import ROWS_SHOWN
from services.stats.rows.read_page import has_rows
from services.stats.sections import SECTIONS
from services.stats.sections.base import Unit
from shared.runtime.database import build_engine
from shared.runtime.languages import LANGUAGES
from tests.stats.api.conftest import LAST as DAY
from tests.stats.api.dashboard.test_dashboard import TRANSLATIONS, Nesting
from tests.stats.api.processes import RunningApi
from tests.stats.api.snapshots import compute
from tests.webhook_gateway.processes import Database, new_database

NOON = f"{DAY} 11:00+00"
HOSTILE = "<script>alert(1)</script>"
PAID = 450
SCHOOL = f"""
INSERT INTO users (created_at) SELECT '{NOON}' FROM generate_series(1, {PAID});
UPDATE users SET name = CASE id WHEN 2 THEN 'Amina Benali' WHEN 4 THEN '{HOSTILE}' ELSE '' END;
INSERT INTO chapters (title, created_at) VALUES ('{HOSTILE}', '{NOON}'), ('Suites', '{NOON}');
INSERT INTO office_payments (user_id, method, amount_minor, currency, received_at)
    SELECT one, CASE mod(one, 2) WHEN 0 THEN 'cash' ELSE 'cheque' END, 100 * one, 'DZD', '{NOON}'
    FROM generate_series(1, {PAID}) AS one;
INSERT INTO subscriptions (user_id, chapter_id, amount_minor, status, created_at, activated_at, ends_at)
    SELECT one, one, 1000 * one, 'active', '{NOON}', '{NOON}', '{DAY + timedelta(days=5)} 11:00+00'
    FROM generate_series(1, 2) AS one;
"""  # noqa: S608


@pytest.fixture(scope="module")
def database(migrated_server: Postgres) -> Iterator[Database]:
    with new_database(migrated_server) as database:
        compute(database.url, SCHOOL, DAY)
        yield database


@pytest.fixture(scope="module")
def api(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    api = RunningApi(tmp_path_factory.mktemp("rows page") / "log", database.url)
    yield api
    api.kill()
    assert "Traceback" not in api.log


def rows(api: RunningApi, number: str, language: str = "en", **more: str) -> httpx.Response:
    parameters = {"day": str(DAY), "number": number, "lang": language, **more}
    return api.get("/rows", params=parameters, timeout=20)


def amounts(text: str) -> dict[str, int]:
    return {name: int(amount) for name, amount in re.findall(r'<data id="(\w+)" value="(-?\d+)">', text)}


def lines(text: str) -> list[str]:
    return text.split("<tbody>")[1].split("</tbody>")[0].strip().split("</tr>")[:-1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_says_what_the_number_is_and_shows_its_rows_in_its_unit(api: RunningApi, language: str) -> None:
    words = words_of(language)
    answer = rows(api, "payments.office_by_method", language, key="cash")
    Nesting(answer.text)
    total = sum(100 * number for number in range(2, PAID + 1, 2))

    assert answer.status_code == 200
    assert answer.headers["Content-Language"] == language
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert f'<html lang="{language}" dir="{words.direction}">' in answer.text
    assert words.number("payments", "office_by_method") in answer.text
    assert words.key("method", "cash") in answer.text
    assert words.day(DAY) in answer.text
    assert words.value(total, Unit.MINOR, "DZD") in answer.text
    assert words.page["rows_when"] in answer.text
    (line, *_) = lines(answer.text)
    assert f"{words.record('office_payments')} 2" in line
    assert words.value(200, Unit.MINOR, "DZD") in line
    assert words.page["moment"].format(day=words.day(DAY, "medium"), time="12:00") in line
    assert f'href="./?day={DAY}&amp;lang={language}#payments.office_by_method"' in answer.text
    assert f'href="api/stats/{DAY}/rows?number=payments.office_by_method&amp;key=cash&amp;limit=10000"' in answer.text
    other = next(code for code in LANGUAGES if code != language)
    assert f'href="?day={DAY}&amp;lang={other}&amp;number=payments.office_by_method&amp;key=cash"' in answer.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_row_names_its_user_beside_the_id_and_is_kept_nowhere(api: RunningApi, language: str) -> None:
    answer = rows(api, "payments.office_by_method", language, key="cash")

    users = [re.findall(r"<td><bdi>(.*?)</bdi></td>", line)[1] for line in lines(answer.text)]
    assert users[:3] == ["Amina Benali (2)", f"{html.escape(HOSTILE)} (4)", "6"]
    assert answer.headers["Cache-Control"] == "no-store"
    of_day = f"/api/stats/{DAY}"
    assert "Amina" not in api.get(of_day).text + api.get(f"{of_day}/rows?number=payments.office").text


def test_its_pages_add_up_to_the_number(api: RunningApi) -> None:
    found, counts, address = [], [], f"/rows?day={DAY}&lang=en&number=payments.office"
    while address:
        text = api.get(address).text
        found.append(amounts(text)["sum"])
        counts.append(len(lines(text)))
        assert words_of("en").page["rows_paged"] in text
        (spreadsheet,) = re.findall(r'href="(api/[^"]+format=csv[^"]+)"', text)
        rest = api.get(f"/{html.unescape(spreadsheet)}").text.splitlines()[1:]
        assert len(rest) == PAID - sum(counts) + counts[-1]
        following = re.search(r'rel="next" href="(rows\?[^"]+)"', text)
        address = "/" + html.unescape(following[1]) if following else ""

    assert sum(found) == amounts(text)["value"] == sum(100 * number for number in range(1, PAID + 1))
    assert counts == [ROWS_SHOWN, ROWS_SHOWN, PAID - 2 * ROWS_SHOWN]


def test_a_term_has_its_chapter_and_its_end(api: RunningApi) -> None:
    text = rows(api, "subscriptions.expiring_7").text

    first, second = lines(text)
    assert words_of("en").page["rows_begins"] in text
    assert f"{words_of('en').day(DAY + timedelta(days=5), 'medium')}, 12:00" in first
    assert "Suites (2)" in second
    found = api.get(f"/api/stats/{DAY}/rows?number=subscriptions.expiring_7").json()["rows"]
    end = f"{DAY + timedelta(days=5)}T11:00:00+00:00"
    assert [(row["chapter"], row["ends_at"]) for row in found] == [("1", end), ("2", end)]


@pytest.mark.parametrize("number", ["subscriptions.popular_chapters", "subscriptions.active"])
def test_a_hostile_name_is_text(api: RunningApi, number: str) -> None:
    text = rows(api, number).text

    assert "<script" not in text
    assert html.escape(HOSTILE) in text


def test_what_a_reader_sends_is_text(api: RunningApi) -> None:
    for number, key in (("payments.office_by_method", HOSTILE), (HOSTILE, "1"), ("no.number", HOSTILE)):
        assert "<script" not in rows(api, number, key=key).text
    assert rows(api, "payments.office_by_method", key="\0").status_code == 400
    assert api.get(f"/api/stats/{DAY}/rows?number=payments.office_by_method&key=%00").status_code == 400
    assert api.get(f"/api/stats/{DAY}/rows?number=corrections.%00").status_code == 400


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_number_without_rows_says_so_in_words(api: RunningApi, language: str) -> None:
    words = words_of(language)
    unknown, ratio = rows(api, "no.number", language), rows(api, "subscriptions.nrr_30", language)

    assert (unknown.status_code, ratio.status_code) == (404, 404)
    assert words.page["rows_unknown"] in unknown.text
    assert words.page["rows_no_sum"].format(number=words.number("subscriptions", "nrr_30")) in ratio.text
    for answer in (unknown, ratio):
        assert answer.headers["Cache-Control"] == "no-store"
        Nesting(answer.text)


def test_a_day_that_is_not_kept_has_the_pages_own_answer(api: RunningApi) -> None:
    answer = rows(api, "payments.office", day=str(DAY - timedelta(days=9)))
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert api.get(f"/rows?day={DAY}&number=payments.office&after=-1").status_code == 400
    assert api.get(f"/rows?day={DAY}&number=payments.office&limit=1").status_code == 400


def test_every_row_is_called_something(api: RunningApi) -> None:
    numbers = [f"{section.name}.{number.name}" for section in SECTIONS for number in section.numbers]
    for number in filter(has_rows, numbers):
        answer = rows(api, number)
        assert answer.status_code == 200, number
        assert amounts(answer.text)["value"] is not None, number


def test_rows_that_take_too_long_are_503_in_words(api: RunningApi, database: Database) -> None:
    engine = build_engine(database.url)
    with engine.begin() as other:
        other.exec_driver_sql("LOCK TABLE office_payments")
        answer = rows(api, "payments.office", "fr")
    engine.dispose()

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "n’ont pas été trouvées à temps" in answer.text
    assert "number=payments.office" in answer.text


def test_every_source_of_rows_has_a_word() -> None:
    text = "".join(path.read_text() for path in (TRANSLATIONS.parents[1] / "rows").glob("*.py"))
    sources = set(re.findall(r"'(\w+)' AS source|Facts\(\s*\"(\w+)\"|Row\(\"(\w+)\"|_TABLE = \"(\w+)\"", text))
    named = {name for names in sources for name in names if name}
    assert len(named) > 10
    assert {name for name in named if words_of("en").record(name) == name} == set()
