"""What PostgreSQL itself refuses, whatever the code above it believes."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from services.webhook_gateway.payments.ledger import (
    Account,
    AccountKind,
    Transaction,
    TransactionKind,
    payment_moved,
    subscription_paid,
    subscription_returned,
)
from services.webhook_gateway.payments.model import Subscription
from services.webhook_gateway.payments.payment_state import Stage
from shared.schema.tables import ledger_accounts, ledger_entries, ledger_transactions
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.harness import Harness
from tests.webhook_gateway.settlement.postgres_school import SqlSchool


def write(connection: Connection, *entries: tuple[int, str]) -> int:
    """A transaction with these amounts and currencies, written past the books; returns its id."""
    accounts = [
        connection.scalar(
            insert(ledger_accounts).values(kind="psp_fees", provider=f"p{n}").returning(ledger_accounts.c.id)
        )
        for n in range(len(entries))
    ]
    number = connection.scalar(insert(ledger_transactions).values(kind="payment").returning(ledger_transactions.c.id))
    for account, (amount, currency) in zip(accounts, entries, strict=True):
        connection.execute(
            insert(ledger_entries).values(
                transaction_id=number, account_id=account, amount_minor=amount, currency=currency
            )
        )
    assert number is not None
    return int(number)


@pytest.mark.parametrize(
    "entries",
    [
        [(100, "DZD")],
        [(100, "DZD"), (-99, "DZD")],
        [(100, "DZD"), (-100, "EUR")],
        [(2**63 - 1, "DZD"), (2**63 - 1, "DZD"), (2, "DZD")],
    ],
)
def test_a_transaction_that_does_not_sum_to_zero_per_currency_is_refused_at_commit(
    engine: Engine, entries: list[tuple[int, str]]
) -> None:
    connection = engine.connect()
    transaction = connection.begin()
    write(connection, *entries)
    with pytest.raises(IntegrityError, match="does not sum to zero"):
        transaction.commit()
    connection.close()
    with engine.connect() as after:
        assert after.scalar(text("SELECT count(*) FROM ledger_transactions")) == 0


def test_a_balanced_transaction_in_two_currencies_is_kept(engine: Engine) -> None:
    with engine.begin() as connection:
        write(connection, (100, "DZD"), (-60, "DZD"), (-40, "DZD"), (5, "EUR"), (-5, "EUR"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM ledger_entries")) == 5


def test_a_transaction_that_was_kept_can_not_be_unbalanced_later(engine: Engine) -> None:
    with engine.begin() as connection:
        number = write(connection, (100, "DZD"), (-100, "DZD"))
    with pytest.raises(IntegrityError, match="does not sum to zero"), engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) "
                "SELECT :number, account_id, 1, 'DZD' FROM ledger_entries LIMIT 1"
            ),
            {"number": number},
        )


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_transactions"])
@pytest.mark.parametrize("change", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_history_is_never_changed_or_deleted(engine: Engine, table: str, change: str) -> None:
    with engine.begin() as connection:
        write(connection, (100, "DZD"), (-100, "DZD"))
    with pytest.raises(DBAPIError, match="never changed or deleted"), engine.begin() as connection:
        connection.execute(text(change.format(table)))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE payments SET credited_minor = amount_minor + 1",
        "UPDATE payments SET credited_minor = -1",
        "UPDATE payments SET refunded_minor = -1",
        "UPDATE payments SET amount_minor = -1",
        "UPDATE payments SET status = 'paid'",
        "UPDATE payments SET dispute = 'maybe'",
        "UPDATE webhook_events SET state = 'lost'",
        "UPDATE subscriptions SET amount_minor = -1",
        "UPDATE ledger_accounts SET kind = 'pocket'",
        "INSERT INTO payments (provider, user_id, amount_minor) VALUES ('psp', 404, 1)",
        "INSERT INTO payments (provider, provider_reference, user_id, amount_minor) "
        "SELECT provider, provider_reference, user_id, 1 FROM payments",
        "INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256) "
        "SELECT provider, dedupe_key, '', '' FROM webhook_events",
        "INSERT INTO ledger_transactions (kind, event_id, payment_id) "
        "SELECT kind, event_id, payment_id FROM ledger_transactions WHERE kind = 'payment'",
        "INSERT INTO ledger_transactions (kind, event_id, subscription_id) "
        "SELECT kind, event_id, subscription_id FROM ledger_transactions WHERE kind = 'activation'",
        "INSERT INTO ledger_accounts (kind, provider) SELECT kind, provider FROM ledger_accounts WHERE user_id IS NULL",
        "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) "
        "SELECT transaction_id, account_id, 0, 'DZD' FROM ledger_entries",
    ],
)
def test_rows_that_can_not_be_are_refused(sql_school: SqlSchool, statement: str) -> None:
    user_id = sql_school.add_user()
    sql_school.add_subscription(user_id, 10)
    Harness(sql_school).book(stage=Stage.COMPLETED, amount_minor=100, user_id=user_id, fee_minor=1)
    with pytest.raises(IntegrityError), sql_school.engine.begin() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize("zone", ["Europe/Paris", "Africa/Algiers", "America/New_York"])
def test_an_end_that_the_activation_set_goes_whatever_the_databases_zone(engine: Engine, zone: str) -> None:
    with engine.begin() as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE {name} SET timezone = '{zone}'"))
    engine.dispose()
    # Paris and New York change their clocks within these thirty days
    school = SqlSchool(engine, timedelta(days=30))
    harness = Harness(school)
    user_id = school.add_user()
    number = school.add_subscription(user_id, 100)
    harness.clock.at = OPENED_AT + timedelta(days=4, microseconds=123456)
    harness.book(stage=Stage.COMPLETED, amount_minor=100, user_id=user_id)
    assert school.subscription(number).ends_at == harness.clock() + timedelta(days=30)
    harness.book(refunded_minor=100)
    row = school.subscription(number)
    assert (row.status, row.activated_at, row.ends_at) == ("pending_payment", None, None)


@pytest.mark.parametrize("amounts", [(1,), (5, -4), (2**63, 1)])
def test_a_transaction_of_the_ledger_sums_to_zero_or_is_none(amounts: tuple[int, ...]) -> None:
    entries = tuple((Account(AccountKind.REVENUE), amount) for amount in amounts)
    with pytest.raises(ValueError, match=f"sum to {sum(amounts)}, not to 0"):
        Transaction(TransactionKind.PAYMENT, entries, "DZD")


@pytest.mark.parametrize(
    ("credit_minor", "fee_minor", "expected"),
    [
        (2500, 63, {"user_wallet": 2500, "psp_clearing": -2437, "psp_fees": -63}),
        (2500, 0, {"user_wallet": 2500, "psp_clearing": -2500}),
        (-400, 0, {"user_wallet": -400, "psp_clearing": 400}),
        (0, 63, {"psp_clearing": 63, "psp_fees": -63}),
        (63, 63, {"user_wallet": 63, "psp_fees": -63}),
    ],
)
def test_a_payment_moves_between_the_payer_the_provider_and_its_fees(
    credit_minor: int, fee_minor: int, expected: dict[str, int]
) -> None:
    moved = payment_moved(
        payment_id=1, user_id=2, provider="psp", credit_minor=credit_minor, fee_minor=fee_minor, currency="DZD"
    )
    assert {account.kind.value: amount for account, amount in moved.entries} == expected


def test_a_subscription_moves_between_the_wallet_and_the_revenue() -> None:
    def entries(transaction: Transaction) -> dict[Any, int]:
        return {account.kind.value: amount for account, amount in transaction.entries}

    subscription = Subscription(1, 100, OPENED_AT)
    assert entries(subscription_paid(subscription, 2, "DZD")) == {"user_wallet": -100, "subscription_revenue": 100}
    assert entries(subscription_returned(subscription, 2, "DZD")) == {"user_wallet": 100, "subscription_revenue": -100}
    assert entries(subscription_paid(Subscription(1, 0, OPENED_AT), 2, "DZD")) == {}
