"""Events that are settled together end as if each had come alone, and none keeps another from its money."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy.exc import DBAPIError

from services.webhook_gateway.payments.model import Event
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers.base import PaymentNotice, Request
from services.webhook_gateway.settlement.batched import MAX_LOCK_MS, BatchedSettlement
from services.webhook_gateway.settlement.postgres import open_store, read_events
from services.webhook_gateway.settlement.settle import Understood
from services.webhook_gateway.settlement.settlement_store import SettlementResult
from shared.contracts.webhooks import EventState
from tests.waiting import wait_until
from tests.webhook_gateway.settlement.harness import Harness
from tests.webhook_gateway.settlement.postgres_school import SqlSchool

PAID = {"stage": Stage.COMPLETED, "amount_minor": 1000}


def together(
    harness: Harness, sql_school: SqlSchool, read: Callable[[Sequence[int]], Sequence[Event | None]] | None = None
) -> BatchedSettlement:
    """As a worker process has it."""
    short_wait = partial(open_store, sql_school.engine, timedelta(days=30), MAX_LOCK_MS)
    read = read or partial(read_events, sql_school.engine)
    impatient = replace(harness.settlement, books=short_wait)
    return BatchedSettlement(impatient, impatient, harness.settlement, read)


def understand(harness: Harness, sql_school: SqlSchool, event_ids: Sequence[int]) -> list[Understood]:
    events = read_events(sql_school.engine, event_ids)
    return [Understood(event, harness.psp.written(event.body)) for event in events if event]


def test_an_event_that_is_in_a_batch_twice_is_settled_once(sql_school: SqlSchool) -> None:
    harness, user_id = Harness(sql_school), sql_school.add_user()
    event_id = harness.receive(**PAID, user_id=user_id)
    verdicts = harness.settlement.book_all(understand(harness, sql_school, [event_id, event_id]))
    assert [verdict and verdict.state for verdict in verdicts] == [EventState.APPLIED, None]
    assert sql_school.balance(user_id) == 1000


def test_a_refund_below_zero_in_the_batch_that_activated_gives_the_subscription_back(sql_school: SqlSchool) -> None:
    """What the batch itself wrote is what the refund finds."""
    harness, user_id = Harness(sql_school), sql_school.add_user()
    first, second = sql_school.add_subscription(user_id, 900), sql_school.add_subscription(user_id, 900)
    reported = [
        harness.receive(**PAID, reference="R1", user_id=user_id),
        harness.receive(reference="R1", refunded_minor=1000),
        harness.receive(**PAID, reference="R2", user_id=user_id),
        harness.receive(**PAID, reference="R3", user_id=user_id),
    ]
    verdicts = harness.settlement.book_all(understand(harness, sql_school, reported))
    assert [verdict and verdict.state for verdict in verdicts] == [EventState.APPLIED] * 4
    assert [sql_school.subscription(number).status for number in (first, second)] == ["active", "active"]
    assert sql_school.balance(user_id) == 200
    assert sum(line.amount_minor for line in sql_school.lines()) == 0


def test_one_that_cannot_be_booked_leaves_the_others_of_its_batch_their_money(sql_school: SqlSchool) -> None:
    harness, users = Harness(sql_school), [sql_school.add_user() for _ in range(6)]
    events = [harness.receive(**PAID, reference=f"R{user_id}", user_id=user_id) for user_id in users]
    broken = harness.receive(stage=Stage.COMPLETED, amount_minor=2**63, reference="too much", user_id=users[0])
    outcomes = settle_in_one_batch(harness, sql_school, events[0], [*events[1:], broken])
    assert [one and one.state for one in outcomes] == [*[EventState.APPLIED] * 6, EventState.RECEIVED]
    assert {sql_school.balance(user_id) for user_id in users} == {1000}
    assert sql_school.event(broken).state is EventState.RECEIVED


def test_a_message_whose_batch_failed_is_done_when_each_event_is_committed(sql_school: SqlSchool) -> None:
    harness, users = Harness(sql_school), [sql_school.add_user() for _ in range(5)]
    events = [harness.receive(**PAID, reference=f"R{user_id}", user_id=user_id) for user_id in users]
    broken = harness.receive(stage=Stage.COMPLETED, amount_minor=2**63, reference="too much", user_id=users[0])
    verdicts = together(harness, sql_school).settle([*events[:2], broken, *events[2:]])
    assert [verdicts[event_id].state for event_id in events] == [EventState.APPLIED] * 5
    assert {sql_school.balance(user_id) for user_id in users} == {1000}
    assert {sql_school.event(event_id).state for event_id in events} == {EventState.APPLIED}
    assert sql_school.event(broken).state is EventState.RECEIVED


def test_a_message_that_cannot_be_read_keeps_none_of_those_read_with_it_waiting(sql_school: SqlSchool) -> None:
    harness, users = Harness(sql_school), [sql_school.add_user() for _ in range(4)]
    events = [harness.receive(**PAID, reference=f"R{user_id}", user_id=user_id) for user_id in users]
    first_read, rest_arrived = threading.Event(), threading.Event()

    def read(event_ids: Sequence[int]) -> Sequence[Event | None]:
        if not first_read.is_set():
            first_read.set()
            assert rest_arrived.wait(20)
        return read_events(sql_school.engine, event_ids)

    work = together(harness, sql_school, read)
    with ThreadPoolExecutor(6) as threads:
        first = threads.submit(work.settle, [events[0]])
        assert first_read.wait(20)
        too_large = threads.submit(work.settle, [2**63])
        rest = [threads.submit(work.settle, [event_id]) for event_id in events[1:]]
        wait_until(lambda: work.waiting_to_be_read == 4)
        rest_arrived.set()
        with pytest.raises(DBAPIError):
            too_large.result(20)
        settled = [one.result(20) for one in (first, *rest)]
    assert [one[event_id].state for one, event_id in zip(settled, events, strict=True)] == [EventState.APPLIED] * 4


def test_a_wallet_that_is_held_for_long_keeps_no_other_waiting(sql_school: SqlSchool) -> None:
    harness, held, free = Harness(sql_school), sql_school.add_user(), sql_school.add_user()
    waiting = harness.receive(**PAID, reference="held", user_id=held)
    others = [harness.receive(**PAID, reference=f"R{number}", user_id=free) for number in range(4)]
    work = together(harness, sql_school)
    with ThreadPoolExecutor(5) as threads:
        with harness.school.books() as school:
            school.balance(held)
            first = threads.submit(work.settle, [waiting])
            rest = [threads.submit(work.settle, [event_id]) for event_id in others]
            verdicts = [one.result(20)[event_id] for one, event_id in zip(rest, others, strict=True)]
            assert [verdict.state for verdict in verdicts] == [EventState.APPLIED] * 4
            assert not first.done()
        verdict = first.result(20)[waiting]
    assert verdict.state is EventState.APPLIED
    assert sql_school.balance(held) == 1000


def settle_in_one_batch(
    harness: Harness, sql_school: SqlSchool, first: int, others: Sequence[int]
) -> list[SettlementResult | None]:
    """What becomes of each; all come while `first` is waited for, and go together after that."""
    work = together(harness, sql_school)

    lock = "SELECT FROM webhook_events WHERE id = %s FOR UPDATE"
    with ThreadPoolExecutor(1 + len(others)) as threads, sql_school.engine.connect() as connection:
        with connection.begin():
            connection.exec_driver_sql(lock, (first,))
            outcomes = [threads.submit(work.settle, [event_id]) for event_id in (first, *others)]
            wait_until(lambda: len(harness.psp.parsed) == 1 + len(others))
        return [outcome.result(20).get(event_id) for outcome, event_id in zip(outcomes, (first, *others), strict=True)]


def test_the_events_of_one_message_are_settled_in_one_transaction_and_announced_once(sql_school: SqlSchool) -> None:
    harness, users = Harness(sql_school), [sql_school.add_user() for _ in range(5)]
    events = [harness.receive(**PAID, reference=f"R{user_id}", user_id=user_id) for user_id in users]

    verdicts = together(harness, sql_school).settle(events)

    assert [verdicts[event_id].state for event_id in events] == [EventState.APPLIED] * 5
    with sql_school.engine.connect() as connection:
        transactions = connection.exec_driver_sql("SELECT DISTINCT xmin::text FROM payments").all()
        reported = connection.exec_driver_sql("SELECT message -> 'kwargs' -> 'payment_ids' FROM outbox").scalars().all()
    assert len(transactions) == 1
    assert [sorted(ids) for ids in reported] == [sorted(verdict.payment_id or 0 for verdict in verdicts.values())]


def test_a_message_that_comes_again_settles_what_is_left_of_it(sql_school: SqlSchool) -> None:
    harness, users = Harness(sql_school), [sql_school.add_user() for _ in range(4)]
    events = [harness.receive(**PAID, reference=f"R{user_id}", user_id=user_id) for user_id in users]
    work = together(harness, sql_school)
    work.settle(events[:2])

    assert set(work.settle(events)) == set(events[2:])

    assert {sql_school.balance(user_id) for user_id in users} == {1000}
    assert work.settle(events) == {}


def test_an_event_that_raises_when_it_is_read_keeps_no_other_of_its_message_waiting(sql_school: SqlSchool) -> None:
    harness, users = Harness(sql_school), [sql_school.add_user() for _ in range(3)]
    events = [harness.receive(**PAID, reference=f"R{user_id}", user_id=user_id) for user_id in users]
    work = together(harness, sql_school)
    parse = harness.psp.parse
    poisoned = sql_school.read(events[1])
    assert poisoned is not None

    def parse_or_raise(request: Request) -> PaymentNotice:
        if request.body == poisoned.body:
            raise ZeroDivisionError
        return parse(request)

    harness.psp.parse = parse_or_raise  # type: ignore[method-assign]
    verdicts = work.settle(events)

    states = [verdicts[event_id].state for event_id in events]
    assert states == [EventState.APPLIED, EventState.RECEIVED, EventState.APPLIED]
    assert sql_school.event(events[1]).next_attempt_at is not None
