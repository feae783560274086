"""Events that wait are enqueued again when they are due, once in a while and by one of many workers."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, text

from services.webhook_gateway.settlement.retry_due import DueEventScheduler, enqueue_alone, release_due, release_lost
from services.webhook_gateway.settlement.settlement_store import SettlementResult
from shared.contracts.webhooks import EventState, WebhookReceived, WebhooksReceived
from tests.waiting import wait_until
from tests.webhook_gateway.processes import Database, RunningWorker, paid
from tests.webhook_gateway.settlement.postgres_school import SqlSchool


def an_event(school: SqlSchool, name: str, due_in: timedelta | None, state: EventState = EventState.RECEIVED) -> int:
    event_id = school.add_event("psp", "R1", name.encode(), datetime.now(UTC))
    with school.books() as books:
        if due_in is not None:
            books.park(event_id, "not yet", datetime.now(UTC) + due_in)
        if state is not EventState.RECEIVED:
            books.close(event_id, SettlementResult(state, "done"))
    return event_id


def reported(engine: Engine) -> list[dict[str, object]]:
    with engine.connect() as connection:
        query = text("SELECT message FROM outbox WHERE service = 'gateway' ORDER BY id")
        return [row.message for row in connection.execute(query)]


def test_only_due_events_are_enqueued_and_then_not_for_a_while(sql_school: SqlSchool) -> None:
    due = [an_event(sql_school, name, timedelta(seconds=-1)) for name in ("first", "second")]
    an_event(sql_school, "later", timedelta(minutes=1))
    an_event(sql_school, "never parked", None)
    an_event(sql_school, "final", timedelta(seconds=-1), EventState.APPLIED)

    assert release_due(sql_school.engine) == 2
    assert release_due(sql_school.engine) == 0

    messages = reported(sql_school.engine)
    events = [WebhookReceived.load(message["kwargs"]).event_id for message in messages]  # type: ignore[arg-type]
    assert sorted(events) == due
    assert {message["actor_name"] for message in messages} == {"webhooks.received.v1"}
    assert len({message["message_id"] for message in messages}) == 2
    for event_id in due:
        again_at = sql_school.event(event_id).next_attempt_at
        assert again_at is not None
        assert again_at > datetime.now(UTC) + timedelta(minutes=4)


def test_those_that_nobody_has_tried_share_messages_and_others_are_alone(sql_school: SqlSchool) -> None:
    # Given more than one message holds, whose messages may be far back in a long queue
    untried = [keep_event(sql_school, 901, name=str(number)) for number in range(70)]
    tried = [keep_event(sql_school, 902, attempts=1, name=f"tried {number}") for number in range(2)]
    asks = keep_event(sql_school, 903, name="asks a provider")
    with sql_school.engine.begin() as connection:
        connection.execute(text("UPDATE webhook_events SET signed = false WHERE id = :id"), {"id": asks})

    # When
    assert release_due(sql_school.engine) == 73
    assert release_due(sql_school.engine) == 0

    # Then
    together, alone = [], []
    for message in reported(sql_school.engine):
        kwargs = message["kwargs"]
        assert isinstance(kwargs, dict)
        if "event_ids" in kwargs:
            together.append(WebhooksReceived.load(kwargs).event_ids)
            assert message["actor_name"] == "webhooks.received.v2"
        else:
            alone.append(WebhookReceived.load(kwargs).event_id)
    assert sorted(len(ids) for ids in together) == [6, 64]
    assert sorted(event_id for ids in together for event_id in ids) == untried
    assert sorted(alone) == [*tried, asks]
    # and not again soon: a long queue does not grow by what it holds already
    again_at = sql_school.event(untried[0]).next_attempt_at
    assert again_at is not None
    assert again_at > datetime.now(UTC) + timedelta(minutes=55)


def test_those_of_a_batch_that_are_not_settled_are_enqueued_each_alone(sql_school: SqlSchool) -> None:
    waiting = [an_event(sql_school, name, None) for name in ("first", "second", "third")]
    settled = an_event(sql_school, "settled", None, EventState.APPLIED)

    enqueue_alone(sql_school.engine, [*waiting, settled])

    messages = reported(sql_school.engine)
    assert [message["kwargs"] for message in messages] == [{"event_id": event_id} for event_id in waiting]
    assert len({message["message_id"] for message in messages}) == 3


def test_nothing_is_added_to_an_outbox_that_nobody_empties(sql_school: SqlSchool) -> None:
    an_event(sql_school, "due", timedelta(seconds=-1))
    with sql_school.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO outbox (service, message, created_at) "
                """VALUES ('gateway', '{"queue_name": "webhooks"}', now() - interval '1 min')"""
            )
        )
    assert release_due(sql_school.engine) == 0
    with sql_school.engine.begin() as connection:
        connection.execute(text("UPDATE outbox SET service = 'stats'"))
    assert release_due(sql_school.engine) == 1


def test_an_old_message_for_another_queue_stops_no_event(sql_school: SqlSchool) -> None:
    for number in range(20):
        an_event(sql_school, f"due-{number}", timedelta(seconds=-1))
    with sql_school.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO outbox (service, message, created_at) "
                """VALUES ('gateway', '{"queue_name": "videos"}', now() - interval '11 s')"""
            )
        )
    assert release_due(sql_school.engine) == 20


def test_of_many_workers_one_enqueues_an_event(sql_school: SqlSchool) -> None:
    for number in range(40):
        an_event(sql_school, f"due-{number}", timedelta(seconds=-1))
    with ThreadPoolExecutor(8) as threads:
        counts = list(threads.map(lambda _: release_due(sql_school.engine), range(8)))
    assert sum(counts) == 40
    assert len(reported(sql_school.engine)) == 40


def test_the_thread_enqueues_due_events_and_wakes_the_relay(sql_school: SqlSchool) -> None:
    woken = threading.Event()
    waiting = DueEventScheduler(sql_school.engine, woken.set)
    waiting.start()
    try:
        event_id = an_event(sql_school, "due", timedelta(milliseconds=1))
        wait_until(woken.is_set)
        assert reported(sql_school.engine)[0]["kwargs"] == {"event_id": event_id}
    finally:
        waiting.stop()


def test_the_thread_goes_on_when_the_database_was_away(sql_school: SqlSchool) -> None:
    woken = threading.Event()
    waiting = DueEventScheduler(sql_school.engine, woken.set)
    with sql_school.engine.begin() as connection:
        connection.execute(text("ALTER TABLE webhook_events RENAME TO away"))
    waiting.start()
    try:
        assert not woken.wait(1.5)
        with sql_school.engine.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO webhook_events"))
        an_event(sql_school, "due", timedelta(milliseconds=1))
        wait_until(woken.is_set)
    finally:
        waiting.stop()


def keep_event(school: SqlSchool, kept_seconds_ago: int, attempts: int = 0, name: str = "") -> int:
    """An event as the inbox keeps it, so long ago, and whose message RabbitMQ has taken."""
    event_id = school.add_event("psp", "R1", f"kept {kept_seconds_ago} {name}".encode(), datetime.now(UTC))
    with school.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE webhook_events SET attempts = :attempts, received_at = now() - make_interval(secs => :age),"
                " next_attempt_at = now() + interval '15 minutes' - make_interval(secs => :age) WHERE id = :id"
            ),
            {"age": kept_seconds_ago, "attempts": attempts, "id": event_id},
        )
    return event_id


def test_an_event_whose_message_is_lost_is_enqueued_after_45_seconds_where_the_queue_is_short(
    sql_school: SqlSchool,
) -> None:
    # Given an event that has waited too long for its first attempt, a new one, and one that has been tried
    lost = keep_event(sql_school, 46)
    keep_event(sql_school, 30)
    keep_event(sql_school, 47, attempts=1)

    # When the queue is long, then its message may be in it
    assert release_lost(sql_school.engine, lambda: False) == 0

    # When the queue is short, then it is enqueued, and once
    assert release_lost(sql_school.engine, lambda: True) == 1
    assert release_lost(sql_school.engine, lambda: True) == 0
    assert [message["kwargs"] for message in reported(sql_school.engine)] == [{"event_id": lost}]


def test_rabbitmq_is_asked_only_where_an_event_waits_too_long(sql_school: SqlSchool) -> None:
    keep_event(sql_school, 10)

    def refuse() -> bool:
        raise AssertionError("asked for nothing")

    assert release_lost(sql_school.engine, refuse) == 0


def test_a_worker_books_an_event_whose_message_is_lost_within_a_minute(
    database_url: str, rabbitmq_url: str, tmp_path: Path
) -> None:
    # Given an event that was kept 45 seconds ago, and a broker that lost its message with its disk
    database = Database(database_url)
    database.execute("INSERT INTO users DEFAULT VALUES")
    user_id = database.rows("SELECT max(id) FROM users")[0][0]
    body = paid("generic", user_id=user_id).body
    database.execute(
        "INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256, received_at, next_attempt_at)"
        " VALUES ('generic', 'lost', %s, sha256(%s), now() - interval '45 seconds',"
        " now() + interval '14 minutes 15 seconds')",
        body,
        body,
    )

    # When a worker runs, then the event is booked before the minute is over
    with RunningWorker(tmp_path / "log", database_url, rabbitmq_url):
        booked = "SELECT count(*) FROM webhook_events WHERE state = 'applied'"
        wait_until(lambda: database.rows(booked) == [(1,)], 15)
    assert database.rows("SELECT balance_minor FROM users WHERE id = %s", user_id)[0][0] > 0
