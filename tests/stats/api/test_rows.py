"""The rows behind a number, over HTTP and on the command line: a real day of a real school."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from local.postgres import Postgres
from services.stats.days import yesterday
from tests.command_line import nouba
from tests.stats.api.processes import RunningApi
from tests.stats.api.snapshots import compute
from tests.webhook_gateway.processes import Database, new_database

DAY = yesterday(datetime.now(UTC), ZoneInfo("Africa/Algiers"))
NOON = f"{DAY} 11:00+00"
SCHOOL = f"""
INSERT INTO users (created_at) SELECT '{DAY - timedelta(days=30)} 11:00+00' FROM generate_series(1, 3);
INSERT INTO teachers (created_at) VALUES ('{NOON}');
INSERT INTO chapters (teacher_id, created_at) VALUES (1, '{NOON}'), (NULL, '{NOON}');
INSERT INTO subscriptions (user_id, chapter_id, amount_minor, status, created_at, activated_at, ends_at)
    SELECT one, 1 + mod(one, 2), 1000 * one, 'active', '{NOON}', '{NOON}', '{DAY + timedelta(days=30)} 11:00+00'
    FROM generate_series(1, 3) AS one;
INSERT INTO ledger_accounts (kind, user_id) SELECT 'user_wallet', one FROM generate_series(1, 3) AS one;
INSERT INTO ledger_accounts (kind) VALUES ('subscription_revenue');
INSERT INTO ledger_transactions (kind, subscription_id, created_at)
    SELECT 'activation', one, '{NOON}' FROM generate_series(1, 3) AS one;
INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
    SELECT one, side.account, side.amount, 'DZD'
    FROM generate_series(1, 3) AS one, LATERAL (VALUES (4, 1000 * one), (one, -1000 * one)) AS side (account, amount);
INSERT INTO payments (provider, provider_reference, user_id, amount_minor, status, completed_at)
    VALUES ('satim', '=1+1', 1, 7000, 'refunded', '{NOON}');
INSERT INTO ledger_accounts (kind, provider) VALUES ('psp_clearing', 'satim');
INSERT INTO ledger_transactions (kind, payment_id, created_at) VALUES ('refund', 1, '{NOON}');
INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) VALUES (4, 1, -500, 'DZD'),
    (4, 5, 500, 'DZD');
UPDATE users SET balance_minor = -1000 * id - CASE id WHEN 1 THEN 500 ELSE 0 END;
"""  # noqa: S608


@pytest.fixture(scope="module")
def database(migrated_server: Postgres) -> Iterator[Database]:
    with new_database(migrated_server) as database:
        compute(database.url, SCHOOL, DAY)
        yield database


@pytest.fixture(scope="module")
def api(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    api = RunningApi(tmp_path_factory.mktemp("rows") / "log", database.url)
    yield api
    api.kill()


def test_a_number_a_day_and_a_key_lead_to_their_rows(api: RunningApi) -> None:
    found = api.get(f"/api/stats/{DAY}/rows?number=revenue.net").json()
    assert (found["value"], sum(row["amount"] for row in found["rows"])) == (6000, 6000)
    assert [(row["source"], row["user_id"], row["amount"]) for row in found["rows"]] == [
        ("ledger_entries", user, 1000 * user) for user in (1, 2, 3)
    ]
    assert found["rows"][0]["at"] == f"{DAY}T11:00:00+00:00"

    for number, key, value in (
        ("revenue.by_chapter", "2", 4000),
        ("revenue.by_teacher", "~none", 4000),
        ("subscriptions.popular_chapters", "1", 1),
        ("subscriptions.mrr", None, 6000),
        ("wallets.debtors", None, 3),
    ):
        query = f"number={number}" + (f"&key={key}" if key else "")
        found = api.get(f"/api/stats/{DAY}/rows?{query}").json()
        assert (found["value"], sum(row["amount"] for row in found["rows"])) == (value, value), number


def test_rows_come_page_by_page_and_as_csv(api: RunningApi) -> None:
    first = api.get(f"/api/stats/{DAY}/rows?number=revenue.net&limit=2").json()
    second = api.get(f"/api/stats/{DAY}/rows?number=revenue.net&limit=2&after={first['next']}").json()
    assert ([row["amount"] for row in first["rows"] + second["rows"]], second["next"]) == ([1000, 2000, 3000], None)

    lines = list(csv.DictReader(io.StringIO(api.get(f"/api/stats/{DAY}/rows?number=revenue.net&format=csv").text)))
    assert [line["amount"] for line in lines] == ["1000", "2000", "3000"]


def test_debts_come_the_largest_first_and_say_since_when(api: RunningApi) -> None:
    address = f"/api/stats/{DAY}/rows?number=wallets.debt"
    assert [row["user_id"] for row in api.get(address).json()["rows"]] == [1, 2, 3]
    largest = api.get(f"{address}&order=largest&limit=2").json()
    assert [(row["user_id"], row["kind"], row["age_days"]) for row in largest["rows"]] == [
        (3, "activation", 0), (2, "activation", 0),
    ]  # fmt: skip
    rest = api.get(f"{address}&order=largest&limit=2&after={largest['next']}").json()
    assert ([row["user_id"] for row in rest["rows"]], rest["next"]) == ([1], None)
    assert api.get(f"{address}&order=newest").status_code == 400

    page = api.get(f"/rows?day={DAY}&number=wallets.debt&lang=en").text
    lines = page.split("<tbody>")[1].split("</tr>")
    assert [re.findall(r"<bdi>(.*?)</bdi>", line)[1:5] for line in lines[:3]] == [
        [str(user), f"Transaction {user}", "Sale", "0"] for user in (3, 2, 1)
    ]
    assert "Below zero since" in page
    assert "number=wallets.debt&amp;format=csv&amp;order=largest" in page


def test_a_refund_says_of_which_payment(api: RunningApi) -> None:
    address = f"/api/stats/{DAY}/rows?number=payments.refunded"
    (row,) = api.get(address).json()["rows"]
    assert {name: row[name] for name in ("amount", "transaction_id", "kind", "payment_id", "payment_minor")} == {
        "amount": 500, "transaction_id": 4, "kind": "refund", "payment_id": 1, "payment_minor": 7000,
    }  # fmt: skip
    assert row["payment_reference"] == "=1+1"
    (line,) = csv.DictReader(io.StringIO(api.get(f"{address}&format=csv").text))
    assert (line["payment_id"], line["payment_reference"]) == ("1", "'=1+1")
    (table,) = re.findall(
        r"<tbody>(.*?)</tbody>", api.get(f"/rows?day={DAY}&number=payments.refunded&lang=en").text, re.S
    )
    cells = re.findall(r"<bdi>(.*?)</bdi>", table)
    assert cells[1:7] == ["1", "Transaction 4", "Refund", "1", "=1+1", cells[6]]
    assert "70.00" in cells[6]


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("number=subscriptions.nrr_30", 400, "is no sum of rows"),
        ("number=no.number", 400, "No number is called"),
        ("", 400, "No number is called"),
        ("number=revenue.net&limit=0", 400, "limit="),
        ("number=revenue.net&limit=10001", 400, "limit="),
        ("number=revenue.net&after=-1", 400, "after="),
        ("number=revenue.net&page=2", 400, "'page'; this address knows"),
    ],
)
def test_a_question_without_rows_says_why(api: RunningApi, query: str, status: int, word: str) -> None:
    answer = api.get(f"/api/stats/{DAY}/rows?{query}")
    assert (answer.status_code, word in answer.json()["message"]) == (status, True)
    assert api.get(f"/api/stats/{DAY - timedelta(days=9)}/rows?number=revenue.net").status_code == 404


def test_the_command_line_shows_the_same(database: Database) -> None:
    done = nouba("stats", "rows", "revenue.by_teacher", str(DAY), "--key", "1", NOUBA_DATABASE_URL=database.url)
    assert (done.returncode, "20.00 DZD" in done.stdout, "ledger_entries" in done.stdout) == (0, True, True), (
        done.stderr
    )
