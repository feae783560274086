"""Support's questions, each answered by one command: where is a payment, what is a balance, why not active."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from local.psp.signed_webhooks import Payment, signed
from shared.cli import main
from tests.waiting import wait_until
from tests.webhook_gateway.processes import SECRETS, Database, RunningGateway, RunningWorker, deliver

ORDER = "CMD0000004"


@pytest.fixture
def database(database_url: str) -> Database:
    database = Database(database_url)
    database.execute("INSERT INTO users (id, email) VALUES (7, 'Amina@school.example'), (8, 'other@school.example')")
    return database


@pytest.fixture
def worker(database_url: str, rabbitmq_url: str, tmp_path: Path) -> Iterator[RunningWorker]:
    with RunningWorker(tmp_path / "worker", database_url, rabbitmq_url) as worker:
        yield worker


@pytest.fixture
def client(database_url: str, rabbitmq_url: str, tmp_path: Path, worker: RunningWorker) -> Iterator[httpx.Client]:
    with (
        RunningGateway(tmp_path / "gateway", database_url, rabbitmq_url) as gateway,
        httpx.Client(base_url=gateway.url) as client,
    ):
        yield client


def report(client: httpx.Client, database: Database, what: str = "paid", **fields: Any) -> int:
    """A webhook of the generic provider, settled."""
    payment = Payment(**{"reference": "t-1", "amount_minor": 250_000, "order_number": ORDER, "user_id": 7, **fields})
    event_id = int(deliver(client, signed("generic", [SECRETS["generic"]], payment, what)).json()["event_id"])
    state = "SELECT state FROM webhook_events WHERE id = %s"
    wait_until(lambda: database.rows(state, event_id) != [("received",)])
    return event_id


def nouba(database: Database, *arguments: str, status: int = 0) -> str:
    reported = CliRunner().invoke(main, arguments, env={"NOUBA_DATABASE_URL": database.url, "COLUMNS": "200"})
    assert reported.exit_code == status, reported.output
    return reported.output


def nouba_json(database: Database, *arguments: str, status: int = 0) -> Any:
    return json.loads(nouba(database, *arguments, "--json", status=status).splitlines()[0])


def balance(database: Database, user_id: int = 7) -> int:
    return int(database.rows("SELECT balance_minor FROM users WHERE id = %s", user_id)[0][0])


KNOWN = (
    ["t-1"], [ORDER], ["7"], ["--reference", "t-1"], ["--order", ORDER], ["--user", "7"],
    ["--email", "amina@SCHOOL.example"], ["--user", "7", "--status", "completed"],
)  # fmt: skip


def test_a_payment_is_found_by_whatever_a_student_knows(client: httpx.Client, database: Database) -> None:
    report(client, database)
    report(client, database, reference="t-2", order_number="another", user_id=8)

    for how in KNOWN:
        found = nouba_json(database, "payments", "find", *how)["payments"]

        assert [(one["reference"], one["user_id"], one["amount_minor"]) for one in found] == [("t-1", 7, 250_000)], how
        assert "2,500.00 DZD" in nouba(database, "payments", "find", *how), how


def test_what_is_not_there_is_said_and_nothing_to_search_for_is_refused(database: Database) -> None:
    assert "No such payment" in nouba(database, "payments", "find", "'; --", status=1)
    assert "Say what to search for" in nouba(database, "payments", "find", status=2)
    assert "There is no payment '9999'" in nouba(database, "payments", "show", "9999", status=1)
    assert "There is no user 9999" in nouba(database, "wallet", "9999", status=1)
    assert nouba_json(database, "payments", "find", "9" * 40) == {"payments": []}


def test_where_a_payment_is_is_one_command(client: httpx.Client, database: Database) -> None:
    # Given a payment that was booked, and a word of the provider's that nobody has decided about
    booked = report(client, database)
    odd = report(client, database, amount_minor=240_000)
    payment_id = database.rows("SELECT id FROM payments")[0][0]

    # When it is shown by its number, its reference and its order number, then it is the same
    shown = nouba_json(database, "payments", "show", str(payment_id))
    assert nouba_json(database, "payments", "show", "t-1") == shown
    assert nouba_json(database, "payments", "show", ORDER) == shown

    # And it says where the money is, which entries that were, and what waits for a person
    assert [one["id"] for one in shown["events"]] == [booked, odd]
    assert [one["account"] for one in shown["postings"][0]["entries"]] == ["user_wallet 7", "psp_clearing generic"]
    assert shown["notes"][0] == "The provider says completed: 2,500.00 DZD of it are in the wallet of user 7."
    reason = "registered 250000 DZD, reported 240000 (minor units)"
    assert shown["notes"][1].startswith(f"Webhook {odd} is quarantined, and nobody has decided: {reason}")
    text = nouba(database, "payments", "show", "t-1")
    assert "+2,500.00 DZD" in text
    assert "2,500.00 DZD of it are in the wallet of user 7" in text


def test_several_payments_of_one_order_are_listed_and_a_surplus_is_named(
    client: httpx.Client, database: Database
) -> None:
    report(client, database)
    report(client, database, reference="t-2")

    assert "2 payments have" in nouba(database, "payments", "show", ORDER, status=1)
    shown = nouba_json(database, "payments", "show", "t-2")
    assert "there is a surplus" in shown["notes"][-1]


def test_an_order_that_was_paid_at_two_providers_is_booked_and_listed_as_a_surplus(
    client: httpx.Client, database: Database
) -> None:
    # Given an order that was paid at two providers, and one that was paid once
    first = report(client, database)
    paid = Payment(reference="c-1", amount_minor=250_000, order_number=ORDER, user_id=7)
    delivery = signed("chargily", [SECRETS["chargily"]], paid)
    second = int(deliver(client, delivery).json()["event_id"])
    state = "SELECT state FROM webhook_events WHERE id = %s"
    wait_until(lambda: database.rows(state, second) == [("applied",)])
    report(client, database, reference="t-2", order_number="another")

    # When operators check what was paid twice
    (surplus,) = nouba_json(database, "payments", "paid-twice")["surplus"]

    # Then both are in the wallet, and the one order is listed with both payments
    assert balance(database) == 750_000
    numbers = [
        database.rows("SELECT payment_id FROM webhook_events WHERE id = %s", number)[0][0] for number in (first, second)
    ]
    assert (surplus["order_number"], surplus["user_id"], surplus["surplus_minor"]) == (ORDER, 7, 250_000)
    assert sorted(surplus["payment_ids"]) == sorted(numbers)
    assert sorted(surplus["providers"]) == ["chargily", "generic"]
    text = nouba(database, "payments", "paid-twice")
    assert ORDER in text
    assert "2,500.00 DZD" in text
    assert "another" not in text
    reasons = [row[0] for row in database.rows("SELECT reason FROM webhook_events")]
    assert sum("surplus" in (reason or "") for reason in reasons) == 1

    # And a surplus that was given back is none any more
    report(client, database, "refunded")
    assert "No order was paid twice" in nouba(database, "payments", "paid-twice")


def test_a_wallet_is_a_statement_with_a_running_balance_and_says_why_subscriptions_run_or_not(
    client: httpx.Client, database: Database
) -> None:
    # Given a subscription that is paid, one that is not, and one that has ended
    database.execute(
        "INSERT INTO subscriptions (id, user_id, amount_minor, status, created_at, ends_at) VALUES"
        " (1, 7, 200000, 'pending_payment', now() - interval '3 days', NULL),"
        " (2, 7, 100000, 'pending_payment', now() - interval '1 day', NULL),"
        " (3, 7, 100000, 'expired', now(), '2026-01-31 12:00+00')"
    )
    report(client, database)

    # When the wallet is shown
    wallet = nouba_json(database, "wallet", "7")

    # Then each entry has the balance after it, the newest first, and the last is the balance
    entries = [(one["kind"], one["amount_minor"], one["balance_minor"]) for one in wallet["entries"]]
    assert entries == [("activation", -200_000, 50_000), ("payment", 250_000, 250_000)]
    assert wallet["balance_minor"] == balance(database) == 50_000

    # And each subscription has its reason
    first, second, third = wallet["subscriptions"]
    assert (first["is_active"], second["is_active"], third["is_active"]) == (True, False, False)
    assert first["reason"].startswith("It runs until ")
    assert second["reason"] == "It costs 1,000.00 DZD, and the wallet has 500.00 DZD: 500.00 DZD are missing."
    assert third["reason"] == "It ended on 2026-01-31."
    assert "500.00 DZD are missing" in nouba(database, "wallet", "7")


def test_a_wallet_as_it_was_at_a_date(client: httpx.Client, database: Database) -> None:
    report(client, database)
    between = datetime.now(UTC).isoformat()
    report(client, database, reference="t-2", order_number="2")

    balances = [nouba_json(database, "wallet", "7", "--at", at)["balance_minor"] for at in ("2026-01-01", between)]
    assert [*balances, nouba_json(database, "wallet", "7")["balance_minor"]] == [0, 250_000, 500_000]
    assert len(nouba_json(database, "wallet", "7", "--at", between)["entries"]) == 1


def test_a_correction_is_a_balanced_posting_that_is_booked_once_and_audited(
    database: Database, worker: RunningWorker
) -> None:
    # Given a subscription that waits
    database.execute("INSERT INTO subscriptions (id, user_id, amount_minor) VALUES (1, 7, 200000)")
    arguments = (
        "payments",
        "adjust",
        "7",
        "2500.00",
        "--reason",
        "a transfer",
        "--key",
        "cash-1",
        "--actor-name",
        "ali",
    )

    # When a correction is asked for several times at once
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: nouba_process(database, *arguments), range(4)))

    # Then it is booked once, both sides of it, and the subscription is paid
    assert sorted(one["is_new"] for one in answers) == [False, False, False, True]
    assert {one["is_booked"] for one in answers} == {True}
    wait_until(lambda: balance(database) == 50_000)
    rows = "SELECT account.kind, sum(amount_minor)::bigint FROM ledger_entries JOIN ledger_accounts AS account ON"
    sums = dict(database.rows(f"{rows} account.id = account_id GROUP BY account.kind"))
    assert sums == {"user_wallet": 50_000, "adjustments": -250_000, "subscription_revenue": 200_000}
    assert database.rows("SELECT who, what, why FROM operator_acts") == [("ali", "payment.adjust", "a transfer")]
    statement = nouba_json(database, "wallet", "7")
    assert statement["entries"][-1]["note"] == "a transfer (ali)"

    # And the key is no other correction's
    other = nouba(database, "payments", "adjust", "7", "1", "--reason", "x", "--key", "cash-1", status=1)
    assert "belongs to correction" in other


def nouba_process(database: Database, *arguments: str) -> Any:
    """The command in a process of its own: click's runner is for one at a time."""
    import subprocess

    from tests.webhook_gateway.processes import NOUBA

    command = [str(NOUBA), *arguments, "--json"]
    reported = subprocess.run(
        command, env={"NOUBA_DATABASE_URL": database.url}, capture_output=True, text=True, check=True
    )
    return json.loads(reported.stdout)


def test_a_correction_that_takes_more_than_there_is_lets_subscriptions_wait_again(
    client: httpx.Client, database: Database
) -> None:
    database.execute("INSERT INTO subscriptions (id, user_id, amount_minor) VALUES (1, 7, 200000)")
    report(client, database)
    assert balance(database) == 50_000

    answer = nouba(database, "payments", "adjust", "7", "-100.5", "--reason", "a part", "--wait", "20")
    assert "The wallet of user 7 has 399.50 DZD now." in answer
    nouba(database, "payments", "adjust", "7", "-500", "--reason", "the rest", "--wait", "20")

    assert database.rows("SELECT status FROM subscriptions") == [("pending_payment",)]
    assert balance(database) == 250_000 - 10_050 - 50_000
    reason = nouba_json(database, "wallet", "7")["subscriptions"][0]["reason"]
    assert "deactivated on" in reason


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (["9999", "1"], 1, "There is no user 9999."),
        (["7", "1,000"], 2, "is no amount of DZD"),
        (["7", "0"], 2, "nothing would be booked"),
        (["7", "1.234"], 2, "is no amount of DZD"),
        (["7", "1", "--payment", "4711"], 1, "Payment 4711 is none of user 7."),
    ],
)
def test_a_correction_that_cannot_be_is_refused(
    database: Database, arguments: list[str], status: int, word: str
) -> None:
    assert word in nouba(database, "payments", "adjust", *arguments, "--reason", "x", status=status)
    assert database.rows("SELECT count(*) FROM ledger_adjustments") == [(0,)]


def test_without_a_worker_a_correction_is_kept_and_one_that_comes_books_it(
    database: Database, database_url: str, rabbitmq_url: str, tmp_path: Path
) -> None:
    kept = nouba(database, "payments", "adjust", "7", "10", "--reason", "x", "--wait", "0")
    assert "is kept; a worker books it when one runs" in kept
    with RunningWorker(tmp_path / "worker", database_url, rabbitmq_url):
        wait_until(lambda: balance(database) == 1000)


@pytest.mark.parametrize(
    "place",
    ["adjustments.after_posting", pytest.param("adjustments.after_subscriptions", marks=pytest.mark.slow)],
)
def test_a_worker_that_is_killed_while_it_books_a_correction_leaves_the_rest_to_the_next(
    database: Database, database_url: str, rabbitmq_url: str, tmp_path: Path, place: str
) -> None:
    database.execute("INSERT INTO subscriptions (id, user_id, amount_minor) VALUES (1, 7, 600)")
    nouba(database, "payments", "adjust", "7", "10", "--reason", "x", "--wait", "0")
    with RunningWorker(tmp_path / "killed", database_url, rabbitmq_url, NOUBA_FAILPOINTS=f"{place}=kill") as killed:
        assert killed.process.wait(30) != 0
    with RunningWorker(tmp_path / "next", database_url, rabbitmq_url):
        wait_until(lambda: database.rows("SELECT booked_at IS NOT NULL FROM ledger_adjustments") == [(True,)])
    assert balance(database) == 400
    assert database.rows("SELECT status FROM subscriptions") == [("active",)]


def test_what_a_stranger_sent_moves_no_cursor(database: Database) -> None:
    # Given a payment whose reference and order number set a terminal's title
    words, shown = "\x1b]0;owned\x07\x9b2J", r"\x1b]0;owned\x07\x9b2J"
    database.execute(
        "INSERT INTO payments (provider, provider_reference, order_number, user_id, amount_minor)"
        " VALUES ('generic', %s, %s, 7, 100)",
        f"r{words}",
        f"o{words}",
    )
    payment_id = database.rows("SELECT id FROM payments")[0][0]

    # When an operator reads it, then each control character is written out
    output = nouba(database, "payments", "show", str(payment_id))
    assert f"r{shown}" in output
    assert f"o{shown}" in output
    assert not {"\x1b", "\x07", "\x9b"} & set(output)
