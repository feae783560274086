"""Whatever is killed while events are settled, and wherever, every event is booked exactly once."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.postgres import Postgres
from local.rabbitmq import RabbitMq
from tests.failpoint_places import every
from tests.integration.settlement import Bench
from tests.queues import wait_until_crash_safe, wait_until_led
from tests.variations import variations
from tests.waiting import wait_until


@pytest.fixture
def bench(database_url: str, rabbitmq_url: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(database_url, rabbitmq_url, tmp_path)
    yield bench
    bench.engine.dispose()


SETTLEMENT = (
    "after_claim", "after_open", "after_credit", "after_activation",
    "after_payment", "after_booking", "before_commit", "after_commit",
)  # fmt: skip
PLACES = [f"settlement.{place}" for place in SETTLEMENT]
PLACES += [f"relay.{place}" for place in ("after_claim", "after_publish", "after_commit")]


@pytest.mark.parametrize("place", every(PLACES))
def test_a_worker_that_is_killed_there_leaves_nothing_undone_and_nothing_done_twice(bench: Bench, place: str) -> None:
    settled = bench.settled()
    user_id = bench.add_user(700, 200)
    event_id = bench.pay(user_id, 1000)

    with bench.worker(f"{place}=kill*1") as worker:
        assert worker.wait(30) == -signal.SIGKILL
    bench.work_until_settled(settled + 1)

    bench.assert_booked_once(event_id, user_id, balance_minor=100)
    bench.assert_books_balance()
    assert bench.ready("default") >= settled + 1, "the day's statistics were reported"


def pay_many(bench: Bench) -> dict[int, int]:
    """300 events of 20 users, who can afford all but one of their subscriptions; the user of each event."""
    users = [bench.add_user(100, 400, 600) for _ in range(20)]
    return {bench.pay(users[number % len(users)], 100): users[number % len(users)] for number in range(300)}


def assert_all_booked_once(bench: Bench, events: dict[int, int]) -> None:
    for event_id, user_id in events.items():
        bench.assert_booked_once(event_id, user_id, balance_minor=15 * 100 - 1100)
    bench.assert_books_balance()


@pytest.mark.parametrize("killed", variations(["rabbitmq", "postgres"], ["postgres"]))
def test_a_server_that_is_killed_under_load_costs_no_event_and_books_none_twice(
    own_postgres: Postgres, own_rabbitmq: RabbitMq, tmp_path: Path, killed: str
) -> None:
    server: RabbitMq | Postgres = own_rabbitmq if killed == "rabbitmq" else own_postgres
    bench = Bench(own_postgres.url, own_rabbitmq.url, tmp_path)
    events = pay_many(bench)

    with bench.worker("settlement.before_commit=delay:0.05") as worker:
        wait_until(lambda: bench.settled() > 40)
        wait_until_crash_safe(own_rabbitmq, own_rabbitmq.url, "webhooks", "webhooks.XQ", "default")
        server.kill()
        server.start()
        bench.engine.dispose()
        assert bench.settled() < len(events), "the crash came too late to prove anything"
        wait_until_led(own_rabbitmq, own_rabbitmq.url, "webhooks", "webhooks.DQ", "webhooks.XQ", "default")
        bench.finish(worker, len(events))

    assert_all_booked_once(bench, events)
    bench.engine.dispose()


def test_an_event_that_fails_for_ever_stops_no_other_and_is_settled_when_the_fault_is_mended(bench: Bench) -> None:
    settled = bench.settled()
    poisoned = bench.add_user(50)
    others = [bench.add_user() for _ in range(20)]
    event_id = bench.pay(poisoned, 100)
    events = {bench.pay(user_id, 100): user_id for user_id in others}

    # only an event that activates a subscription comes to this place
    with bench.worker("settlement.after_activation=raise"):
        wait_until(lambda: bench.settled() == settled + len(events))
    assert bench.scalar("SELECT balance_minor FROM users WHERE id = :id", id=poisoned) == 0
    assert bench.scalar("SELECT count(*) FROM webhook_events WHERE id = :id AND state = 'received'", id=event_id) == 1

    bench.work_until_settled(settled + len(events) + 1)
    bench.assert_booked_once(event_id, poisoned, balance_minor=50)
    for other_id, user_id in events.items():
        bench.assert_booked_once(other_id, user_id, balance_minor=100)


def test_an_event_whose_message_was_lost_with_the_broker_is_settled_all_the_same(bench: Bench) -> None:
    """The row is the truth: it is due again, and a refund that outran its payment is too."""
    settled = bench.settled()
    user_id = bench.add_user(100)
    refund_id = bench.pay(user_id, 400, status="refunded", transaction_id="late")
    event_id = bench.pay(user_id, 1000, transaction_id="late")
    with bench.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM outbox")
        connection.exec_driver_sql("UPDATE webhook_events SET next_attempt_at = now() WHERE state = 'received'")

    bench.work_until_settled(settled + 2)

    bench.assert_booked_once(event_id, user_id, balance_minor=500)
    bench.assert_booked_once(refund_id, user_id, balance_minor=500)
