"""The storm is repeatable, and a comparison that finds nothing would find something if it were there."""

import hashlib
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import psycopg2
import pytest

from services.webhook_gateway.providers.base import Mode, Request
from services.webhook_gateway.providers.stripe import Stripe
from tests.chaos.comparison import Rows, compare_books
from tests.chaos.events import Life, Plan, plan
from tests.chaos.events_out import compare_events_out
from tests.chaos.oracle import Expected, expect, payer
from tests.chaos.school import enrol
from tests.chaos.storm import KILL, PAUSE, blows
from tests.webhook_gateway.fakes import FakeSchool
from tests.webhook_gateway.settlement.harness import Clock, Harness

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def made() -> Plan:
    return plan(5, 4000, NOW)


@pytest.fixture
def expected(made: Plan) -> Expected:
    return expect(made, ZoneInfo("Africa/Algiers"))


def test_the_same_seed_sends_the_same_bytes_and_strikes_at_the_same_instants(made: Plan) -> None:
    again, other = plan(5, 4000, NOW), plan(6, 4000, NOW)
    assert [news.body for news in again.parcels] == [news.body for news in made.parcels]
    assert [news.body for news in other.parcels] != [news.body for news in made.parcels]
    counts = {KILL: 4, PAUSE: 2}
    assert blows(5, "rabbitmq", 60, counts) == blows(5, "rabbitmq", 60, counts)
    assert blows(5, "rabbitmq", 60, counts) != blows(5, "s3", 60, counts)


def test_a_third_comes_twice_a_fifth_out_of_order_and_a_twentieth_is_forged(made: Plan) -> None:
    genuine = len(made.genuine)
    copies = sum(news.is_genuine for news in made.parcels) - genuine
    forged = sum(not news.is_genuine for news in made.parcels)
    assert copies / genuine == pytest.approx(0.30, abs=0.03)
    assert forged / genuine == pytest.approx(0.05, abs=0.02)
    reported = Counter(life.route for life in made.lives)
    assert set(reported) == {"chargily", "satim", "cib", "standard_webhooks", "stripe", "generic"}


def test_every_forgery_differs_from_what_was_signed(made: Plan) -> None:
    forged = [news for news in made.parcels if not news.is_genuine]
    assert all(news.body != news.genuine and len(news.body) == len(news.genuine) for news in forged)


def test_every_kind_of_life_is_played(made: Plan) -> None:
    reported = {word for life in made.lives if life.route == "stripe" for word in life.reported}
    assert reported >= {
        "captured",
        "part",
        "refunded",
        "refund_failed",
        "part_failed",
        "disputed",
        "won",
        "lost",
        "invoiced",
        "charge_failed",
        "refund_created",
        "refund_reverted",
        "disputed_again",
        "session_paid",
        "session_failed",
    }
    assert any(life.payment.disputed_minor for life in made.lives)


@pytest.mark.parametrize(("events", "least"), [(400, 1), (2000, 5)])
def test_a_run_has_failed_refunds_disputes_and_captures_of_parts_and_invoices(events: int, least: int) -> None:
    """The plan of `test_short_run`, and one of as many events as `make chaos` sends."""
    lives = [life for life in plan(3, events, NOW).lives if life.route == "stripe"]
    counts = {
        "refunds that failed": sum("failed" in word for life in lives for word in life.reported if "part" in word)
        + sum("refund_failed" in life.reported for life in lives),
        "disputes of a part": sum("disputed" in life.reported and life.payment.disputed_minor > 0 for life in lives),
        "captures of a part": sum("captured" in life.reported for life in lives),
        "invoices": sum("invoiced" in life.reported for life in lives),
        "sessions": sum(life.reported[0].startswith("session") for life in lives),
    }
    assert min(counts.values()) >= least, counts


def test_the_books_in_memory_are_as_the_oracle_reckons_payments_at_stripe() -> None:
    # Given the oracle, which knows nothing of our code, and our code, which knows nothing of the plan
    made = plan(5, 1500, NOW)
    school, stripe = FakeSchool(), Stripe(["whsec_x"])
    for _ in range(made.users):
        school.add_user()
    harness = Harness(school, clock=Clock(NOW))
    settlement = replace(harness.settlement, providers={"stripe": stripe}, payments_mode=Mode.TEST)

    # When all of Stripe's events are settled, and those that wait once more
    events = [
        school.add_event("stripe", stripe.parse(Request("POST", {}, news.body)).reference, news.body, NOW)
        for news in made.parcels
        if news.route == "stripe" and news.is_genuine
    ]
    for event_id in [*events, *events, *events]:
        settlement.settle(event_id)

    # Then each payment is as the oracle reckons it
    found = {
        ("stripe", payment.reference): (str(payment.status), payment.amount_minor, payment.credited_minor)
        for payment in school.payments()
    }
    payments = expect(made, ZoneInfo("Africa/Algiers")).payments
    assert found == {key: row for key, row in payments.items() if key[0] == "stripe"}
    assert len(found) > 100


def test_a_school_where_nothing_was_settled_differs_in_every_event_and_balance(
    made: Plan, expected: Expected, database_url: str
) -> None:
    enrol(database_url, made, days=3)
    found = compare_books(Rows(database_url), expected).differences
    assert len(found["events lost"]) == len(made.genuine)
    assert len(found["payments"]) >= len(made.lives) * 0.9
    assert len(found["balances"]) == sum(balance != 0 for balance in expected.balances.values())
    assert len(found["subscriptions"]) == len(expected.active) > 0
    assert found["revenue of subscriptions"] == [f"0 is booked, {expected.earned_minor} was earned"]


def test_what_nobody_signed_what_waits_and_what_drifted_is_named(
    made: Plan, expected: Expected, database_url: str
) -> None:
    enrol(database_url, made, days=3)
    forged = next(news for news in made.parcels if not news.is_genuine)
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        digest = hashlib.sha256(forged.body).digest()
        row = "INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256) VALUES (%s, 'x', %s, %s)"
        cursor.execute(row, (forged.route, forged.body, digest))
        cursor.execute("UPDATE users SET balance_minor = 7 WHERE id = 1")
        connection.commit()

    found = compare_books(Rows(database_url), expected)

    assert found.differences["events that nobody signed"] == [f"{forged.route} {digest.hex()[:12]}"]
    assert found.differences["events not settled"] == [f"event 1 of {forged.route} is received: None"]
    assert found.differences["balances that drifted from their entries"] == ["user 1 has 7, entries say 0"]
    assert any(sentence.startswith("events lost: ... and ") for sentence in found.sentences())


def test_what_the_bank_answered_is_no_strangers_where_it_is_about_a_checkout(
    made: Plan, expected: Expected, database_url: str
) -> None:
    ours = next(life.payment.reference for life in made.lives if life.provider == "satim")
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        for method, about in [("ANSWER", ours), ("ANSWER", "another"), ("POST", ours)]:
            body = f"{method} {about}".encode()
            cursor.execute(
                "INSERT INTO webhook_events (provider, dedupe_key, method, headers, body, body_sha256) "
                "VALUES ('satim', %s, %s, jsonb_build_object('asked-about', %s), %s, %s)",
                (body.decode(), method, about, body, hashlib.sha256(body).digest()),
            )
        connection.commit()

    found = compare_books(Rows(database_url), expected)

    strangers = {
        f"satim {hashlib.sha256(body).hexdigest()[:12]}" for body in (b"ANSWER another", b"POST " + ours.encode())
    }
    assert set(found.differences["events that nobody signed"]) == strangers


def test_what_a_receiver_must_be_sent_follows_from_the_plan_and_a_lost_a_strange_and_a_changed_event_are_named(
    database_url: str,
) -> None:
    # Given a school whose every payment, wallet and subscription is as the plan wants it, and the events of that
    made = plan(5, 400, NOW)
    expected = expect(made, ZoneInfo("Africa/Algiers"))
    enrol(database_url, made, days=3)
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        for place, life in enumerate(made.lives):
            _write(cursor, life, expected, payer(made, place))
        for user_id, balance in expected.balances.items():
            cursor.execute("UPDATE users SET balance_minor = %s WHERE id = %s", (balance, user_id))
        ids = [place + 1 for place in expected.active]
        cursor.execute("UPDATE subscriptions SET status = 'active' WHERE id = ANY(%s)", (ids,))
        connection.commit()
    rows = Rows(database_url)
    reported = {
        number: {"type": kind, "data": payload}
        for number, kind, payload in rows.ask("SELECT id, type, payload FROM events")
    }

    # When a receiver has them all, nothing differs
    found = compare_events_out(rows, made, expected, reported, [], [])
    assert found.sentences() == []
    assert found.compared["events out lost"] > 300

    # When one is missing, one is another, and one was never there, each is named, also by the plan alone
    first = next(number for number, event in reported.items() if event["type"] == "payment.completed")
    other = next(number for number, event in reported.items() if event["type"] == "wallet.changed")
    wrong = {number: event for number, event in reported.items() if number != first}
    wrong[other] = {"type": "wallet.changed", "data": {**reported[other]["data"], "balance_minor": -1}}
    wrong[10**9] = {"type": "payment.failed", "data": {**reported[first]["data"], "reference": "nobody's"}}
    found = compare_events_out(rows, made, expected, wrong, [7], [NOW.date()])
    assert found.differences["events out lost"] == [f"evt_{first} payment.completed"]
    assert [one.partition(" ")[0] for one in found.differences["events out that the database does not hold"]] == [
        f"evt_{other}",
        "evt_1000000000",
    ]
    assert any("0 times completed" in one for one in found.differences["events out of payments"])
    assert any("nobody planned it" in one for one in found.differences["events out of payments"])
    assert len(found.differences["events out of wallets"]) == 1
    assert found.differences["events out of lessons"] == ["course 7 is ready, and no event says so"]
    assert found.differences["events out of days"] == ["2026-03-02 is not reported"]


def _write(cursor: Any, life: Life, expected: Expected, user_id: int) -> None:
    """The payment as it ends."""
    status, amount, credited = expected.payments[life.provider, life.payment.reference]
    refunded = {"refunded": amount, "partially_refunded": amount - credited}.get(status, 0)
    dispute = next(
        (word for word in ("won", "lost") if word in life.reported), "open" if "disputed" in life.reported else "none"
    )
    values = (status, refunded, dispute, amount, life.provider, life.payment.reference)
    if life.provider == "satim":
        query = "UPDATE payments SET status = %s, refunded_minor = %s, dispute = %s, amount_minor = %s"
        cursor.execute(f"{query} WHERE provider = %s AND provider_reference = %s", values)
        return
    columns = "status, refunded_minor, dispute, amount_minor, provider, provider_reference, user_id"
    cursor.execute(f"INSERT INTO payments ({columns}) VALUES (%s, %s, %s, %s, %s, %s, %s)", (*values, user_id))  # noqa: S608
