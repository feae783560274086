"""Every type of event is recorded by what causes it, in its transaction, with the fields of its contract."""

import contextlib
from typing import Any

import psycopg2
import pytest

from services.webhook_gateway.events_out.postgres import PostgresDeliveries
from shared.contracts.event_types import EVENTS
from shared.runtime.database import build_engine
from tests.webhook_gateway.processes import Database

TYPES = {event.name: event for event in EVENTS}

#: What a service or the school's application does, and the events that it causes, in their order.
CAUSES: list[tuple[str, list[str]]] = [
    (
        "INSERT INTO payments (id, provider, provider_reference, user_id, amount_minor, currency, status, completed_at)"
        " VALUES (2, 'generic', 'r2', 1, 500, 'DZD', 'completed', now())",
        ["payment.completed"],
    ),
    ("UPDATE payments SET status = 'completed', completed_at = now() WHERE id = 1", ["payment.completed"]),
    ("UPDATE payments SET status = 'failed' WHERE id = 1", ["payment.failed"]),
    ("UPDATE payments SET status = 'expired' WHERE id = 1", ["payment.failed"]),
    ("UPDATE payments SET status = 'authorized' WHERE id = 1", []),
    (
        "UPDATE payments SET status = 'completed', completed_at = now() WHERE id = 1;"
        "UPDATE payments SET status = 'partially_refunded', refunded_minor = 100 WHERE id = 1",
        ["payment.completed", "payment.refunded"],
    ),
    # the refund came before the news of the payment
    (
        "UPDATE payments SET status = 'refunded', refunded_minor = 500, completed_at = now() WHERE id = 1",
        ["payment.completed", "payment.refunded"],
    ),
    (
        "UPDATE payments SET status = 'completed', completed_at = now() WHERE id = 1;"
        "UPDATE payments SET status = 'disputed', dispute = 'open' WHERE id = 1;"
        "UPDATE payments SET status = 'completed', dispute = 'won' WHERE id = 1",
        ["payment.completed", "payment.disputed", "payment.disputed"],
    ),
    ("UPDATE payments SET method = 'card', fee_minor = 1 WHERE id = 1", []),
    ("UPDATE subscriptions SET status = 'active', ends_at = now() + interval '1 day'", ["subscription.activated"]),
    (
        "UPDATE subscriptions SET status = 'active'; UPDATE subscriptions SET status = 'pending_payment'",
        ["subscription.activated", "subscription.suspended"],
    ),
    ("UPDATE subscriptions SET status = 'expired', ends_at = now()", ["subscription.expired"]),
    ("UPDATE users SET name = 'Lina'", []),
    ("UPDATE courses SET transcoding_status = 'processing'", ["lesson.processing"]),
    ("UPDATE courses SET transcoding_status = 'completed'", ["lesson.ready"]),
    ("UPDATE courses SET transcoding_status = 'failed'", ["lesson.failed"]),
    ("UPDATE courses SET transcoding_status = 'pending'", []),
    (
        "UPDATE transcode_jobs SET warnings = jsonb_build_array(jsonb_build_object('code', 'cut_off', 'text', 't'),"
        " jsonb_build_object('code', 'gap', 'text', 't'))",
        ["lesson.warning", "lesson.warning"],
    ),
    (
        "INSERT INTO daily_stats (day, version, payload, etag, body_gzip, complete, watermark)"
        " VALUES ('2026-03-01', 1, '{}', '', '', true, '');"
        "INSERT INTO daily_stats_newest (day, version, failed, checked_at) VALUES ('2026-03-01', 1, false, now());"
        "UPDATE daily_stats_newest SET checked_at = now()",
        ["statistics.day_ready"],
    ),
    ("UPDATE webhook_events SET state = 'quarantined'", ["webhook.needs_attention"]),
    ("UPDATE webhook_events SET state = 'dead'", ["webhook.needs_attention"]),
    ("UPDATE webhook_events SET state = 'applied'", []),
]  # fmt: skip

_GIVEN = """
INSERT INTO users (id, name, email, role) VALUES (1, 'Amel', 'amel@school.example', 'student');
INSERT INTO teachers (id, name) VALUES (1, 'Karima');
INSERT INTO chapters (id, title, teacher_id, price_minor) VALUES (1, 'Limits', 1, 500);
INSERT INTO courses (id, chapter_id, title) VALUES (1, 1, 'Limits 1');
INSERT INTO subscriptions (id, user_id, chapter_id, amount_minor) VALUES (1, 1, 1, 500);
INSERT INTO payments (id, provider, provider_reference, user_id, amount_minor, currency)
    VALUES (1, 'generic', 'r1', 1, 500, 'DZD');
INSERT INTO transcode_jobs (id, course_id, source_key, source_etag, source_bytes, uploaded_at)
    VALUES (1, 1, 'k', 'e', 1, now());
INSERT INTO webhook_events (id, provider, dedupe_key, body, body_sha256) VALUES (1, 'generic', 'd', '', sha256(''));
"""


@pytest.mark.parametrize(("cause", "types"), CAUSES)
def test_a_cause_records_its_events(database: Database, cause: str, types: list[str]) -> None:
    with contextlib.closing(psycopg2.connect(database.url)) as connection, connection.cursor() as cursor:
        cursor.execute(_GIVEN)

        cursor.execute(cause)

        cursor.execute("SELECT type, key, version, payload FROM events ORDER BY id")
        found: list[tuple[str, str, int, dict[str, Any]]] = cursor.fetchall()
        assert [kind for kind, *_ in found] == types
        for kind, key, version, payload in found:
            event = TYPES[kind]
            # a contract's field is missing, of another type or unknown where this differs
            assert event.load(payload).dump().keys() == payload.keys()
            assert str(payload[event.key]) == key
            assert version == event.version
        connection.rollback()
        # Then nothing is left of what was rolled back
        cursor.execute("SELECT count(*) FROM events")
        assert cursor.fetchone() == (0,)


def test_every_type_has_a_cause() -> None:
    # a balance changes by the ledger alone, see test_end_to_end
    assert {kind for _, types in CAUSES for kind in types} == TYPES.keys() - {"wallet.changed"}


def test_the_end_of_a_term_is_recorded_once(database: Database) -> None:
    # Given a subscription whose term ended while nobody set its status
    database.execute(
        "INSERT INTO users (id, name, email, role) VALUES (9, 'Lina', 'lina@school.example', 'student');"
        "INSERT INTO teachers (id, name) VALUES (9, 'Karima');"
        "INSERT INTO chapters (id, title, teacher_id, price_minor) VALUES (9, 'Limits', 9, 500);"
        "INSERT INTO subscriptions (id, user_id, chapter_id, amount_minor, status, activated_at, ends_at) VALUES"
        " (9, 9, 9, 500, 'active', now() - interval '30 days', now() - interval '1 hour')"
    )
    engine = build_engine(database.url)
    store = PostgresDeliveries(engine)

    # When the worker polls twice, and the school sets the status later
    assert (store.record_expired_terms(), store.record_expired_terms()) == (1, 0)
    database.execute("UPDATE subscriptions SET status = 'expired' WHERE id = 9")

    # Then there is one event
    rows = database.rows("SELECT payload FROM events WHERE type = 'subscription.expired'")
    engine.dispose()
    assert len(rows) == 1
    TYPES["subscription.expired"].load(rows[0][0])


def test_a_term_whose_event_is_removed_is_not_recorded_again(database: Database) -> None:
    database.execute(
        "INSERT INTO users (id) VALUES (10);"
        "INSERT INTO subscriptions (id, user_id, amount_minor, status, activated_at, ends_at) VALUES"
        " (10, 10, 500, 'active', now() - interval '30 days', now() - interval '2 days')"
    )
    engine = build_engine(database.url)
    store = PostgresDeliveries(engine)

    counts = store.record_expired_terms(86_400), store.record_expired_terms()

    engine.dispose()
    assert counts == (0, 1)
    # a subscription of no chapter has an event too
    rows = database.rows("SELECT payload FROM events WHERE key = '10' AND type = 'subscription.expired'")
    assert TYPES["subscription.expired"].load(rows[0][0]).dump()["chapter_id"] is None


def test_a_subscription_that_the_school_is_changing_does_not_block_the_sweep(database: Database) -> None:
    engine = build_engine(database.url, statement_timeout_ms=5000)
    store = PostgresDeliveries(engine)
    # those of the other tests
    store.record_expired_terms()
    # Given a subscription whose term ended, in the hands of another transaction
    database.execute(
        "INSERT INTO users (id) VALUES (11);"
        "INSERT INTO subscriptions (id, user_id, amount_minor, status, activated_at, ends_at) VALUES"
        " (11, 11, 500, 'active', now() - interval '30 days', now() - interval '1 hour')"
    )
    with engine.begin() as school:
        school.exec_driver_sql("UPDATE subscriptions SET status = 'expired' WHERE id = 11")

        # When the worker records ends of terms, then it leaves this one to the trigger
        assert store.record_expired_terms() == 0

    assert store.record_expired_terms() == 0
    engine.dispose()
    assert database.rows("SELECT count(*) FROM events WHERE key = '11' AND type = 'subscription.expired'") == [(1,)]
