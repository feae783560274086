"""What settlement books, the statistics report apart: top-ups, revenue, refunds, open disputes and chargebacks."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from services.stats.days import Days
from services.stats.sections import SECTIONS
from services.stats.sections.base import Value, Values
from services.stats.snapshots.compute import Failure
from services.stats.snapshots.postgres_sections import PostgresSections
from services.webhook_gateway.payments.objects import Dispute, DisputeState
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.settlement.provider_payouts import PayoutBookings
from shared.operations.payments.record_payout import Payout, record_payout
from shared.runtime.database import build_engine
from tests.stats.school import RULES
from tests.webhook_gateway.settlement.harness import Clock, Harness
from tests.webhook_gateway.settlement.postgres_school import SqlSchool

ZONE = ZoneInfo("UTC")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url, autocommit=True)
    yield engine
    engine.dispose()


@pytest.fixture
def harness(engine: Engine) -> Harness:
    """Of a school whose books are the real ones; it is now."""
    return Harness(SqlSchool(engine), clock=Clock(datetime.now(UTC)))


def numbers(engine: Engine, day: date) -> dict[str, Any]:
    sections = PostgresSections(engine, SECTIONS, RULES).read(Days(day, day, ZONE), {}, {}).sections
    return {f"{name}.{key}": value for name, found in sections.items() for key, value in _of(found, day).items()}


def _of(found: Values | Failure, day: date) -> dict[str, Value]:
    assert not isinstance(found, Failure), found
    return found[day]


def dispute(state: DisputeState) -> dict[str, Any]:
    return {"disputes": (Dispute("dp_1", 2000, state),)}


def age(engine: Engine) -> None:
    """Everything that is booked was booked a day earlier."""
    with engine.connect() as connection:
        connection.execute(text("SET session_replication_role = replica"))
        for table, columns in (
            ("ledger_transactions", ("created_at",)),
            ("subscriptions", ("activated_at", "ends_at")),
            ("subscription_terms", ("activated_at", "ends_at", "stopped_at")),
        ):
            for column in columns:
                connection.execute(text(f"UPDATE {table} SET {column} = {column} - interval '1 day'"))  # noqa: S608
        connection.execute(text("RESET session_replication_role"))


def test_a_refund_is_booked_on_its_own_day_and_ends_what_it_paid_for(engine: Engine, harness: Harness) -> None:
    user_id = harness.school.add_user()
    harness.school.add_subscription(user_id, 3000)
    harness.book(reference="R1", stage=Stage.COMPLETED, amount_minor=10_000, user_id=user_id)
    today = datetime.now(UTC).date()
    sold = numbers(engine, today)
    assert (sold["payments.topped_up"], sold["revenue.net"], sold["wallets.credit"]) == (10_000, 3000, 7000)
    assert (sold["subscriptions.mrr"], sold["subscriptions.students"]) == (3000, 1)

    age(engine)
    yesterday = today - timedelta(days=1)
    before = numbers(engine, yesterday)
    harness.book(reference="R1", refunded_minor=10_000)

    after, now = numbers(engine, yesterday), numbers(engine, today)
    money = ("revenue.", "wallets.", "payments.topped_up", "payments.refunded", "subscriptions.mrr")
    assert {n: v for n, v in after.items() if n.startswith(money)} == {
        n: v for n, v in before.items() if n.startswith(money)
    }
    assert (now["payments.refunded"], now["revenue.net"], now["wallets.total"]) == (10_000, -3000, 0)
    assert (now["subscriptions.mrr"], now["subscriptions.mrr_churn"], now["subscriptions.students"]) == (0, 3000, 0)
    assert now["revenue.net"] == now["revenue.earned"] + now["revenue.deferred"] - before["revenue.deferred"]


def test_an_open_dispute_and_a_lost_one_are_two_numbers_and_neither_is_a_refund(
    engine: Engine, harness: Harness
) -> None:
    user_id = harness.school.add_user()
    today = datetime.now(UTC).date()
    harness.book(reference="R1", stage=Stage.COMPLETED, amount_minor=5000, user_id=user_id)

    harness.book(reference="R1", **dispute(DisputeState.OPEN))
    found = numbers(engine, today)
    assert (found["payments.disputes_open"], found["payments.charged_back"], found["payments.refunded"]) == (2000, 0, 0)
    assert found["wallets.total"] == 3000

    harness.book(reference="R1", **dispute(DisputeState.LOST))
    found = numbers(engine, today)
    assert (found["payments.disputes_open"], found["payments.charged_back"], found["payments.refunded"]) == (0, 2000, 0)
    assert found["wallets.total"] == 3000
    assert found["payments.clearing"] == 3000


def test_a_payout_that_is_booked_is_not_owed_any_more(engine: Engine, harness: Harness, database_url: str) -> None:
    # Given a payment that was collected yesterday, less a fee
    user_id = harness.school.add_user()
    today = datetime.now(UTC).date()
    harness.book(reference="R1", stage=Stage.COMPLETED, amount_minor=5000, fee_minor=120, user_id=user_id)
    age(engine)
    assert numbers(engine, today)["payments.clearing"] == 4880

    # When its provider pays a part of it out
    committing = build_engine(database_url)
    part = Payout(
        provider="psp",
        reference="VIR-1",
        amount_minor=4000,
        currency="DZD",
        # the day of the transfer is not the day on which it counts
        paid_on=today - timedelta(days=9),
        actor_name="ali",
    )
    record_payout(committing, part)
    PayoutBookings(committing, "DZD").book_due()
    committing.dispose()

    # Then the provider owes the rest, and neither wallets nor what came in have changed
    found = numbers(engine, today)
    assert (found["payments.clearing"], found["payments.clearing_by_provider"]) == (880, {"psp": 880})
    assert found["payments.paid_out"] == 4000
    assert (found["payments.cash_in"], found["payments.fees"], found["wallets.total"]) == (0, 0, 5000)
