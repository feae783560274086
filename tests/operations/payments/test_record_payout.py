"""What providers pay out is recorded by an operator, and booked once against what they owe."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from services.webhook_gateway.settlement.provider_payouts import PayoutBookings
from shared.operations.payments.record_payout import Payout, record_payout
from shared.runtime.database import build_engine
from tests.command_line import nouba
from tests.waiting import wait_until
from tests.webhook_gateway.processes import Database, RunningWorker

ARGUMENTS = ("satim", "97.50", "--reference", "VIR-118", "--on", "2026-03-05")
BOOKED = "SELECT count(*) FROM ledger_transactions WHERE kind = 'payout'"


@pytest.fixture
def database(database_url: str) -> Database:
    """SATIM has collected 100.00 and kept 2.50, and Chargily has collected 5.00."""
    database = Database(database_url)
    database.execute("INSERT INTO users (id, balance_minor) VALUES (7, 10500)")
    database.execute(
        "INSERT INTO ledger_accounts (id, kind, user_id, provider) OVERRIDING SYSTEM VALUE VALUES"
        " (101, 'user_wallet', 7, NULL), (102, 'psp_clearing', NULL, 'satim'), (103, 'psp_fees', NULL, 'satim'),"
        " (104, 'psp_clearing', NULL, 'chargily')"
    )
    database.execute(
        "WITH booked AS (INSERT INTO ledger_transactions (kind) VALUES ('payment') RETURNING id)"
        " INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)"
        " SELECT id, account, amount, 'DZD' FROM booked,"
        " (VALUES (101, 10500), (102, -9750), (103, -250), (104, -500)) AS side (account, amount)"
    )
    return database


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url, pool_size=4)
    yield engine
    engine.dispose()


@pytest.fixture
def worker(database_url: str, rabbitmq_url: str, tmp_path: Path) -> Iterator[RunningWorker]:
    with RunningWorker(tmp_path / "worker", database_url, rabbitmq_url) as worker:
        yield worker


def record(database: Database, *arguments: str, status: int = 0, **settings: str) -> str:
    """What the command prints."""
    reported = nouba("payments", "record-payout", *arguments, NOUBA_DATABASE_URL=database.url, **settings)
    assert reported.returncode == status, reported.stdout + reported.stderr
    return reported.stdout + reported.stderr


def balances(database: Database) -> dict[tuple[str, str | None], int]:
    query = (
        "SELECT kind, provider, sum(amount_minor)::bigint FROM ledger_entries"
        " JOIN ledger_accounts AS account ON account.id = account_id GROUP BY kind, provider"
    )
    return {(kind, provider): amount for kind, provider, amount in database.rows(query)}


def payout(reference: str = "VIR-118", amount_minor: int = 9750, currency: str = "DZD") -> Payout:
    return Payout(
        provider="satim",
        reference=reference,
        amount_minor=amount_minor,
        currency=currency,
        paid_on=date(2026, 3, 5),
        actor_name="ali",
    )


def test_a_payout_is_taken_off_what_its_provider_owes_once_however_often_it_is_recorded(
    database: Database, engine: Engine, worker: RunningWorker
) -> None:
    before = balances(database)

    # When a payout is recorded several times at once, and once more
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: record_payout(engine, payout()), range(4)))
    again = json.loads(record(database, *ARGUMENTS, "--json"))

    # Then it is one payout, booked once: SATIM owes nothing more, and nobody else's account has changed
    assert sorted(is_new for _, is_new in answers) == [False, False, False, True]
    assert {payout_id for payout_id, _ in answers} == {again["id"]}
    assert (again["is_new"], again["is_booked"], again["refusal"]) == (False, True, None)
    assert database.rows(BOOKED) == [(1,)]
    assert balances(database) == {**before, ("psp_clearing", "satim"): 0, ("bank", "satim"): -9750}
    assert database.rows("SELECT balance_minor FROM users") == [(10_500,)]
    assert database.rows("SELECT provider, paid_on, booked_at IS NOT NULL FROM provider_payouts") == [
        ("satim", date(2026, 3, 5), True)
    ]

    # And the audit log has it once, with what was recorded
    assert database.rows("SELECT who, what, chosen_by FROM operator_acts") == [
        (
            "ali",
            "payout.record",
            {
                "provider": "satim",
                "reference": "VIR-118",
                "amount_minor": 9750,
                "currency": "DZD",
                "paid_on": "2026-03-05",
            },
        )
    ]
    repeated = f"Payout {again['id']} of 97.50 DZD by satim was recorded before, and is booked."
    assert repeated in record(database, *ARGUMENTS)


def test_a_payout_that_came_back_is_owed_again(database: Database, worker: RunningWorker) -> None:
    before = balances(database)
    assert "of 97.50 DZD by satim is booked." in record(database, *ARGUMENTS)

    back = ("satim", "-97.50", "--reference", "VIR-118-R", "--on", "2026-03-06")
    assert "of -97.50 DZD by satim is booked." in record(database, *back)

    assert balances(database) == {**before, ("bank", "satim"): 0}


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (["satym", *ARGUMENTS[1:]], 1, "Providers with booked payments: chargily, satim."),
        (["satim", "0", *ARGUMENTS[2:]], 2, "nothing would be booked"),
        (["satim", "1,000", *ARGUMENTS[2:]], 2, "is no amount of DZD"),
        (["satim", "1.234", *ARGUMENTS[2:]], 2, "is no amount of DZD"),
        (["satim", "1", "--reference", "  ", "--on", "2026-03-05"], 2, "it is empty"),
        (["satim", "1", "--on", "2026-03-05"], 2, "--reference"),
        (["satim", "1", "--reference", "x", "--on", "05/03/2026"], 2, "--on"),
        (
            ["satim", "1", "--reference", "x", "--on", f"{datetime.now(UTC).date() + timedelta(days=2)}"],
            2,
            "has not come yet",
        ),
    ],
)
def test_a_payout_that_cannot_be_is_refused(database: Database, arguments: list[str], status: int, word: str) -> None:
    before = balances(database)

    assert word in record(database, *arguments, status=status)

    assert database.rows("SELECT count(*) FROM provider_payouts") == [(0,)]
    assert database.rows("SELECT count(*) FROM operator_acts") == [(0,)]
    assert balances(database) == before


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["satim", "97.51", "--reference", "VIR-118", "--on", "2026-03-05"], 1),
        (["satim", "97.50", "--reference", "VIR-118", "--on", "2026-03-06"], 1),
        # a space is no other reference
        (["satim", "97.50", "--reference", " VIR-118 ", "--on", "2026-03-05"], 0),
        # each provider has references of its own
        (["chargily", "5", "--reference", "VIR-118", "--on", "2026-03-05"], 0),
    ],
)
def test_a_reference_names_one_payout_of_its_provider(database: Database, arguments: list[str], status: int) -> None:
    record(database, *ARGUMENTS, "--wait", "0")

    reported = record(database, *arguments, "--wait", "0", status=status)

    refused = "The reference 'VIR-118' belongs to payout 1 of satim, 97.50 DZD on 2026-03-05."
    assert (refused in reported) == (status == 1)
    assert database.rows("SELECT amount_minor FROM provider_payouts WHERE provider = 'satim'") == [(9750,)]


def test_without_a_worker_a_payout_is_kept_and_one_that_comes_books_it(
    database: Database, database_url: str, rabbitmq_url: str, tmp_path: Path
) -> None:
    assert "is kept; a worker books it when one runs." in record(database, *ARGUMENTS, "--wait", "0")
    assert database.rows(BOOKED) == [(0,)]

    with RunningWorker(tmp_path / "worker", database_url, rabbitmq_url):
        wait_until(lambda: balances(database)["psp_clearing", "satim"] == 0)


@pytest.mark.parametrize(
    ("place", "booked"),
    [
        pytest.param("payouts.after_posting", 0, marks=pytest.mark.slow),
        ("payouts.before_commit", 0),
        pytest.param("payouts.after_commit", 1, marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_is_killed_while_it_books_a_payout_has_booked_all_of_it_or_nothing(
    database: Database, database_url: str, rabbitmq_url: str, tmp_path: Path, place: str, booked: int
) -> None:
    record(database, *ARGUMENTS, "--wait", "0")
    with RunningWorker(tmp_path / "killed", database_url, rabbitmq_url, NOUBA_FAILPOINTS=f"{place}=kill") as killed:
        assert killed.process.wait(30) != 0
    assert database.rows(BOOKED) == [(booked,)]

    with RunningWorker(tmp_path / "next", database_url, rabbitmq_url):
        wait_until(lambda: database.rows("SELECT booked_at IS NOT NULL FROM provider_payouts") == [(True,)])

    assert database.rows(BOOKED) == [(1,)]
    assert (balances(database)["psp_clearing", "satim"], balances(database)["bank", "satim"]) == (0, -9750)


def test_workers_that_book_at_once_book_each_payout_once(database: Database, engine: Engine) -> None:
    for number in range(20):
        record_payout(engine, payout(f"VIR-{number}", 100 + number))
    bookings = PayoutBookings(engine, "DZD")

    with ThreadPoolExecutor(4) as workers:
        for done in [workers.submit(bookings.book_due) for _ in range(4)]:
            done.result()

    assert database.rows(BOOKED) == [(20,)]
    assert balances(database)["bank", "satim"] == -sum(100 + number for number in range(20))
    assert database.rows("SELECT count(DISTINCT transaction_id) FROM provider_payouts") == [(20,)]


def test_a_payout_in_another_currency_is_not_booked_and_may_be_recorded_again(
    database: Database, engine: Engine
) -> None:
    bookings = PayoutBookings(engine, "DZD")
    assert "is kept" in record(database, *ARGUMENTS, "--wait", "0", NOUBA_CURRENCY="EUR")
    bookings.book_due()

    # Then it is refused in words, and nothing is booked
    refusal = "the ledger is in DZD, the payout in EUR; correct NOUBA_CURRENCY"
    assert database.rows("SELECT refusal FROM provider_payouts") == [(refusal,)]
    assert database.rows(BOOKED) == [(0,)]

    # And the same reference is free for the payout as it was
    assert "is kept" in record(database, *ARGUMENTS, "--wait", "0")
    bookings.book_due()
    assert database.rows(BOOKED) == [(1,)]
    assert balances(database)["psp_clearing", "satim"] == 0
