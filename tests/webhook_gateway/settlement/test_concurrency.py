"""Many settlements at once on one PostgreSQL: none waits for another for ever, and every amount is exact."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import TextClause, text

from services.webhook_gateway.payments.ledger import payment_moved
from services.webhook_gateway.payments.objects import DisputeState
from services.webhook_gateway.payments.payment_state import Stage, Status
from services.webhook_gateway.settlement.settlement_store import SettlementResult
from shared.contracts.webhooks import EventState
from tests.waiting import wait_until
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.harness import Harness
from tests.webhook_gateway.settlement.postgres_school import SqlSchool
from tests.webhook_gateway.settlement.samples import disputed

THREADS = 16
PAID = {"stage": Stage.COMPLETED, "amount_minor": 1000}


@pytest.fixture
def harness(sql_school: SqlSchool) -> Harness:
    """A lock that is waited for too long is an error here, and not a test that hangs."""
    with sql_school.engine.begin() as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE {name} SET lock_timeout = '10s'"))
    sql_school.engine.dispose()
    return Harness(sql_school)


def at_once(work: Sequence[Callable[[], SettlementResult | None]]) -> list[SettlementResult | None]:
    """What each of them returned; whatever one of them raised, a deadlock above all, is raised."""
    start = threading.Barrier(len(work))

    def run(one: Callable[[], SettlementResult | None]) -> SettlementResult | None:
        start.wait()
        return one()

    with ThreadPoolExecutor(len(work)) as threads:
        return list(threads.map(run, work))


def settle_at_once(harness: Harness, event_ids: Sequence[int]) -> list[EventState | None]:
    verdicts = at_once([lambda event_id=event_id: harness.settle(event_id) for event_id in event_ids])  # type: ignore[misc]
    return [None if verdict is None else verdict.state for verdict in verdicts]


def settle_all_that_waits(harness: Harness) -> None:
    """As the messages of parked events would, one after the other."""
    harness.pass_time(timedelta(minutes=15))
    while harness.settle_due():
        harness.pass_time(timedelta(minutes=15))


def assert_books_balance(harness: Harness, user_id: int) -> None:
    lines = harness.school.lines()
    assert sum(line.amount_minor for line in lines) == 0
    assert harness.school.balance(user_id) == sum(
        line.amount_minor for line in lines if line.account.user_id == user_id
    )
    postings = Counter((line.event_id, line.kind, line.account) for line in lines if line.kind == "payment")
    assert set(postings.values()) <= {1}


@pytest.mark.parametrize("reported_by", ["user", "order"])
@pytest.mark.parametrize("turn", range(3))
def test_sixteen_events_of_one_payment_at_once_end_as_one_after_the_other(
    harness: Harness, reported_by: str, turn: int
) -> None:
    user_id = harness.school.add_user()
    first = harness.school.add_subscription(user_id, 300)
    second = harness.school.add_subscription(user_id, 500, created_at=OPENED_AT + timedelta(days=1))
    payer: dict[str, Any] = {"user_id": user_id}
    if reported_by == "order":
        harness.check_out(user_id, 1000, order_number="O1")
        payer = {"order_number": "O1"}
    news: list[dict[str, Any]] = [
        *({**PAID, "fee_minor": fee} for fee in (None, 5, 9, 9)),
        *({**PAID, "stage": stage} for stage in (Stage.PENDING, Stage.AUTHORIZED, Stage.FAILED, Stage.CANCELED)),
        *({"refunded_minor": total} for total in (0, 100, 400, 400)),
        *(disputed(DisputeState[name]) for name in ("OPEN", "WON", "OPEN", "INQUIRY")),
    ]
    assert len(news) == THREADS
    settle_at_once(harness, [harness.receive(**payer, **reported) for reported in news])
    settle_all_that_waits(harness)

    (payment,) = harness.school.payments()
    assert (payment.status, payment.credited_minor, payment.fee_minor) == (Status.PARTIALLY_REFUNDED, 600, 9)
    assert harness.school.balance(user_id) == 300
    assert [harness.school.subscription(number).status for number in (first, second)] == ["active", "pending_payment"]
    assert_books_balance(harness, user_id)


@pytest.mark.parametrize("turn", range(3))
def test_sixteen_payments_of_one_user_at_once_are_all_credited(harness: Harness, turn: int) -> None:
    user_id = harness.school.add_user()
    ids = [
        harness.school.add_subscription(user_id, 700, created_at=OPENED_AT + timedelta(minutes=minute))
        for minute in range(THREADS)
    ]
    events = [harness.receive(**PAID, reference=f"R{number}", user_id=user_id) for number in range(THREADS)]
    assert settle_at_once(harness, events) == [EventState.APPLIED] * THREADS
    refunds = [harness.receive(reference=f"R{number}", refunded_minor=number * 10) for number in range(THREADS)]
    settle_at_once(harness, refunds)

    collected = THREADS * 1000 - sum(number * 10 for number in range(THREADS))
    paid = collected // 700
    assert [harness.school.subscription(number).status for number in ids].count("active") == min(paid, THREADS)
    assert harness.school.balance(user_id) == collected - min(paid, THREADS) * 700
    assert_books_balance(harness, user_id)


def test_payments_and_refunds_of_one_user_at_once_meet_over_the_same_subscriptions(harness: Harness) -> None:
    user_id = harness.school.add_user()
    for minute in range(4):
        harness.school.add_subscription(user_id, 900, created_at=OPENED_AT + timedelta(minutes=minute))
    settle_at_once(harness, [harness.receive(**PAID, reference=f"R{number}", user_id=user_id) for number in range(8)])
    back = [harness.receive(reference=f"R{number}", refunded_minor=1000) for number in range(8)]
    more = [harness.receive(**PAID, reference=f"S{number}", user_id=user_id) for number in range(8)]
    assert settle_at_once(harness, [*back, *more]) == [EventState.APPLIED] * THREADS
    assert harness.school.balance(user_id) == 8000 - 4 * 900
    assert_books_balance(harness, user_id)


def test_sixteen_users_pay_the_first_payments_of_a_provider_at_once(harness: Harness) -> None:
    users = [harness.school.add_user() for _ in range(THREADS)]
    for user_id in users:
        harness.school.add_subscription(user_id, 1)
    events = [harness.receive(**PAID, reference=f"R{user_id}", user_id=user_id, fee_minor=1) for user_id in users]
    assert settle_at_once(harness, events) == [EventState.APPLIED] * THREADS
    assert {harness.school.balance(user_id) for user_id in users} == {999}
    assert sum(line.amount_minor for line in harness.school.lines()) == 0


def test_one_event_settled_by_sixteen_at_once_is_settled_by_one(harness: Harness) -> None:
    user_id = harness.school.add_user()
    event_id = harness.receive(**PAID, user_id=user_id)
    verdicts = settle_at_once(harness, [event_id] * THREADS)
    assert Counter(verdicts) == {EventState.APPLIED: 1, None: THREADS - 1}
    assert harness.school.balance(user_id) == 1000
    assert len(harness.school.messages()) == 1


def test_one_payment_reported_under_sixteen_event_ids_at_once_is_credited_once(harness: Harness) -> None:
    user_id = harness.school.add_user()
    settle_at_once(harness, [harness.receive(**PAID, user_id=user_id) for _ in range(THREADS)])
    assert len(harness.school.payments()) == 1
    assert harness.school.balance(user_id) == 1000
    assert [line.amount_minor for line in harness.school.lines()] == [1000, -1000]


def test_an_event_that_was_settled_between_reading_and_claiming_is_left_alone(harness: Harness) -> None:
    user_id = harness.school.add_user()
    event_id = harness.receive(**PAID, user_id=user_id)
    event = harness.school.read(event_id)
    assert event is not None
    harness.settle(event_id)
    with harness.school.books() as books:
        assert not books.claim([event_id])
    assert harness.school.balance(user_id) == 1000


def test_a_payment_releases_a_parked_event_without_waiting_for_one_that_is_in_hand(harness: Harness) -> None:
    """The one in hand may itself wait for the payment: each would wait for the other."""
    user_id = harness.school.add_user()
    in_hand, parked = harness.receive(refunded_minor=100), harness.receive(refunded_minor=200)
    for event_id in (in_hand, parked):
        harness.settle(event_id)
    with harness.school.books() as books:
        assert books.claim([in_hand])
        harness.book(**PAID, user_id=user_id)
    assert harness.school.event(parked).next_attempt_at == harness.clock()
    assert harness.school.balance(user_id) == 1000


@pytest.mark.parametrize("by", ["claim", "open"])
def test_a_payment_is_locked_before_its_wallet_is_waited_for(harness: Harness, sql_school: SqlSchool, by: str) -> None:
    """One order for all: anyone who had the wallet and then wanted the payment would wait for ever."""
    user_id = harness.school.add_user()
    payment_id = harness.check_out(user_id, 1000, reference="R1")
    event_id = harness.receive(**PAID)
    free = text("SELECT id FROM payments WHERE id = :id FOR NO KEY UPDATE SKIP LOCKED")
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    def ask(statement: TextClause) -> object:
        with sql_school.engine.connect() as connection:
            return connection.execute(statement, {"id": payment_id} if statement is free else {}).scalar()

    def check() -> int | None:
        with harness.school.books() as books:
            if by == "claim":
                assert books.claim([event_id])
                found = books.find("psp", "R1", None)
            else:
                found = books.open(harness.school.payment(payment_id))
            return None if found is None else books.balance(found.user_id)

    with ThreadPoolExecutor(1) as thread:
        with harness.school.books() as holding:
            assert holding.balance(user_id) == 0
            assert ask(free) == payment_id
            checked = thread.submit(check)
            wait_until(lambda: ask(waiting) == 1)
            assert ask(free) is None
            posted = payment_moved(
                payment_id=payment_id, user_id=user_id, provider="psp", credit_minor=7, fee_minor=0, currency="DZD"
            )
            holding.post(posted, None)
        # what was committed while it waited
        assert checked.result(10) == 7


def test_the_schools_own_application_may_write_beside_a_settlement(harness: Harness, sql_school: SqlSchool) -> None:
    user_id = harness.school.add_user()
    with harness.school.books() as books:
        books.balance(user_id)
        with sql_school.engine.begin() as connection:
            connection.execute(
                text("INSERT INTO subscriptions (user_id, amount_minor) VALUES (:user_id, 5)"), {"user_id": user_id}
            )
