"""What the gateway and the transcoder change of an old day makes the statistics count that day again."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from services.stats.settings import CountSettings
from services.stats.snapshots import postgres_snapshots
from services.stats.snapshots.backfill import verify
from services.stats.snapshots.compute import Computation
from services.stats.snapshots.dirty_days import gather_late, note_payments
from services.stats.snapshots.wiring import build_computation
from services.transcoder.jobs.postgres_jobs import PostgresJobStore
from services.webhook_gateway.payments.payment_state import Stage
from shared.contracts.payments import PaymentsSettled
from shared.operations.webhook_events.queries import EventFilter
from shared.operations.webhook_events.replay import replay_events
from shared.runtime.database import RetryingEngine, build_engine
from tests.webhook_gateway.settlement.harness import Harness
from tests.webhook_gateway.settlement.postgres_school import SqlSchool

FIRST, LAST = date(2026, 3, 1), date(2026, 4, 30)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def harness(database_url: str) -> Iterator[Harness]:
    """Of a school whose books are the real ones."""
    engine = build_engine(database_url, autocommit=True)
    yield Harness(SqlSchool(engine))
    engine.dispose()


@pytest.fixture
def computation(engine: Engine, database_url: str) -> Computation:
    """Of days long ago, of which none is kept yet."""
    settings = CountSettings(database_url=database_url)
    return build_computation(engine, settings, now=lambda: datetime(2026, 6, 1, tzinfo=UTC))


def marked(engine: Engine) -> set[date]:
    gather_late(engine)
    with engine.connect() as connection:
        return set(connection.scalars(text("SELECT day FROM changed_days")))


def settle(engine: Engine, computation: Computation) -> None:
    """Compute what is due until nothing is, and see that all days equal a rebuild."""
    for _ in range(100):
        with engine.connect() as connection:
            due = postgres_snapshots.find_due(connection, FIRST, LAST)
        if not due:
            break
        computation.compute_due(due[0])
    verdict = verify(postgres_snapshots.PostgresSnapshots(engine), computation, FIRST, LAST, lambda done, total: None)
    assert (verdict.missing, verdict.differing, verdict.due) == ([], {}, [])


def test_a_refund_has_the_day_counted_again_in_which_its_subscription_had_begun_and_changes_nothing(
    engine: Engine, harness: Harness, computation: Computation
) -> None:
    # Given a subscription that two payments paid, the second of them and with it the beginning ten days after the first
    user_id = harness.school.add_user()
    subscription_id = harness.school.add_subscription(user_id, 1000)
    harness.book(reference="R1", stage=Stage.COMPLETED, amount_minor=600, user_id=user_id)
    harness.pass_time(timedelta(days=10))
    harness.book(reference="R2", stage=Stage.COMPLETED, amount_minor=600, user_id=user_id)
    began = harness.school.subscription(subscription_id).activated_at
    assert began is not None
    assert began.date() == date(2026, 3, 11)
    computation.compute(FIRST, LAST)
    assert marked(engine) & {FIRST, began.date()} == set()
    reported = len(harness.school.messages())

    # When the first of them is given back
    harness.pass_time(timedelta(days=10))
    harness.book(reference="R1", refunded_minor=600)

    # Then the gateway reports the payment's day, and the database the subscription's
    assert harness.school.subscription(subscription_id).activated_at is None
    changed = harness.school.messages()[reported:]
    assert {message.day for message in changed} == {FIRST}
    assert began.date() in marked(engine)
    days = tuple(message.day for message in changed)
    settled = PaymentsSettled(payment_ids=tuple(message.payment_id for message in changed), days=days)
    note_payments(engine, [settled], computation.zone)
    settle(engine, computation)
    found = postgres_snapshots.on(engine, began.date())
    assert found is not None
    # counted again, it keeps what was sold in it: money counts on the day on which it is booked
    assert found.payload["sections"]["subscriptions"]["numbers"]["activated"] == 1


def test_a_webhook_that_is_settled_again_leaves_the_day_in_which_it_was_given_up(
    engine: Engine, computation: Computation
) -> None:
    given_up = date(2026, 3, 12)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256, state, attempts, received_at, "
                "processed_at) VALUES ('satim', '1', '', '', 'dead', 9, '2026-03-11 11:00+00', '2026-03-12 11:00+00')"
            )
        )
    computation.compute(FIRST, LAST)

    assert replay_events(engine, EventFilter(state="dead"), who="ops") == ([1], {})

    assert given_up in marked(engine)
    settle(engine, computation)
    found = postgres_snapshots.on(engine, given_up)
    assert found is not None
    assert found.payload["sections"]["platform"]["numbers"]["jobs_dead"] == 0


def test_a_transcoding_that_is_tried_again_leaves_the_day_in_which_it_had_failed(
    engine: Engine, computation: Computation
) -> None:
    failed = date(2026, 3, 12)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO courses (created_at) VALUES ('2026-03-11 11:00+00')"))
        connection.execute(
            text(
                "INSERT INTO transcode_jobs (course_id, source_key, source_etag, source_bytes, uploaded_at, state, "
                "created_at, finished_at) VALUES (1, 'a', 'a', 1, '2026-03-11 11:00+00', 'failed', "
                "'2026-03-11 11:00+00', '2026-03-12 11:00+00')"
            )
        )
    computation.compute(FIRST, LAST)

    PostgresJobStore(RetryingEngine(engine), lease_seconds=30.0).retry(1)

    assert failed in marked(engine)
    settle(engine, computation)
    found = postgres_snapshots.on(engine, failed)
    assert found is not None
    assert found.payload["sections"]["content"]["numbers"]["transcodings"] == {}
