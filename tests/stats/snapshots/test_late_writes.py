"""What the school's application writes late, the database notes by itself; what it writes as it happens is no news."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from services.stats.settings import CountSettings
from services.stats.snapshots import postgres_snapshots
from services.stats.snapshots.backfill import verify
from services.stats.snapshots.dirty_days import gather_late, mark
from services.stats.snapshots.due_days import sweep
from services.stats.snapshots.wiring import build_computation
from shared.runtime.database import build_engine
from tests.variations import variations

#: A school with one of everything, of long ago: a subscription that was paid twice, for a chapter of the first teacher;
#: two terms of the same days, one of them free; and two users who came on different days.
SCHOOL = """
INSERT INTO users (created_at) SELECT '2026-03-01 11:00+00' FROM generate_series(1, 3);
INSERT INTO teachers (created_at) SELECT '2026-03-01 11:00+00' FROM generate_series(1, 3);
INSERT INTO chapters (teacher_id, created_at) VALUES (1, '2026-03-01 11:00+00');
INSERT INTO courses (chapter_id, created_at) VALUES (1, '2026-03-01 11:00+00');
INSERT INTO sessions (chapter_id, starts_at) VALUES (1, '2026-03-10 11:00+00'), (1, '2026-03-02 11:00+00');
INSERT INTO attendances (session_id, user_id, checked_in_at)
    VALUES (1, 1, '2026-03-10 11:00+00'), (2, 1, '2026-03-02 11:00+00'),
           (2, 2, '2026-03-02 11:00+00'), (2, 2, '2026-03-20 11:00+00');
INSERT INTO subscriptions (user_id, chapter_id, amount_minor, status, created_at, activated_at, ends_at)
    VALUES (1, 1, 3100, 'active', '2026-03-05 11:00+00', '2026-03-20 11:00+00', '2999-01-01 11:00+00'),
           (2, 1, 3101, 'active', '2026-03-05 11:00+00', '2026-03-08 11:00+00', '2026-04-15 11:00+00'),
           (2, 1, 0, 'active', '2026-03-05 11:00+00', '2026-03-08 11:00+00', '2026-04-15 11:00+00');
INSERT INTO office_payments (method, amount_minor, received_at) VALUES ('cash', 900, '2026-03-11 11:00+00');
INSERT INTO ledger_accounts (kind) VALUES ('subscription_revenue');
INSERT INTO ledger_transactions (kind, subscription_id, created_at)
    VALUES ('activation', 1, '2026-03-15 11:00+00'), ('activation', 1, '2026-03-20 11:00+00');
INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
    VALUES (1, 1, 3100, 'DZD'), (2, 1, 3100, 'DZD');
INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256, state, received_at, processed_at)
    VALUES ('satim', '1', '', '', 'dead', '2026-03-12 10:00+00', '2026-03-12 11:00+00');
INSERT INTO transcode_jobs (course_id, source_key, source_etag, source_bytes, uploaded_at, state, created_at,
                            finished_at)
    VALUES (1, '-', '-', 1, '2026-03-13 10:00+00', 'failed', '2026-03-13 10:00+00', '2026-03-13 11:00+00');
"""

#: Which days each late statement marks is tested for all of them; that marked days are computed again, for these.
COMPUTED_AGAIN = (
    "DELETE FROM users WHERE id = 3",
    "UPDATE sessions SET starts_at = '2026-03-14 11:00+00' WHERE id = 1",
    "UPDATE subscriptions SET ends_at = '2026-03-30 11:00+00' WHERE id = 1",
    "UPDATE chapters SET teacher_id = 2",
)

#: Later days are not checked: until two days ago, whenever that is.
END = date(2026, 5, 31)


def around(*days: str, lasts: int = 0) -> set[date]:
    """Each day at whose eleventh hour something was and so many after it, and those that it could be elsewhere."""
    return {date.fromisoformat(f"2026-{day}") + timedelta(days=shift) for day in days for shift in range(-1, lasts + 2)}


def weeks(*days: str) -> set[date]:
    """The days in whose last four weeks somebody may have taught."""
    return around(*days, lasts=27)


def month(*days: str) -> set[date]:
    """The days in whose last 30 somebody may have come."""
    return around(*days, lasts=30)


def since(day: str) -> set[date]:
    """All days of a term, and those after it: it was not the first one, or is not now."""
    return {one for one in around(day, lasts=366) if one <= END}


LATE: list[tuple[str, set[date]]] = [
    ("INSERT INTO users (created_at) VALUES ('2026-03-07 11:00+00')", month("03-07")),
    ("DELETE FROM users WHERE id = 3", month("03-01")),
    ("UPDATE users SET created_at = '2026-03-07 11:00+00' WHERE id = 3", month("03-01", "03-07")),
    ("INSERT INTO teachers (created_at) VALUES ('2026-03-07 11:00+00')", around("03-07")),
    ("DELETE FROM teachers WHERE id = 3", around("03-01")),
    ("UPDATE teachers SET created_at = '2026-03-07 11:00+00' WHERE id = 1", around("03-01", "03-07")),
    ("INSERT INTO chapters (created_at) VALUES ('2026-03-07 11:00+00')", around("03-07")),
    ("INSERT INTO courses (created_at) VALUES ('2026-03-07 11:00+00')", around("03-07")),
    ("INSERT INTO sessions (starts_at) VALUES ('2026-03-07 11:00+00')", weeks("03-07")),
    ("UPDATE sessions SET starts_at = '2026-03-14 11:00+00' WHERE id = 1", weeks("03-10", "03-14")),
    (
        "INSERT INTO office_payments (method, amount_minor, received_at) VALUES ('cash', 5, '2026-03-07 11:00+00')",
        around("03-07"),
    ),
    ("UPDATE office_payments SET received_at = '2026-03-14 11:00+00' WHERE id = 1", around("03-11", "03-14")),
    ("UPDATE office_payments SET amount_minor = 7 WHERE id = 1", around("03-11")),
    ("DELETE FROM office_payments WHERE id = 1", around("03-11")),
    ("UPDATE sessions SET teacher_id = 2 WHERE id = 1", weeks("03-10")),
    ("UPDATE sessions SET chapter_id = NULL WHERE id = 1", weeks("03-10")),
    (
        "INSERT INTO attendances (session_id, user_id, checked_in_at) VALUES (1, 2, '2026-03-10 11:00+00')",
        month("03-10"),
    ),
    # somebody else came in the day; both had come before it, and one of them comes after it
    ("UPDATE attendances SET user_id = 2 WHERE id = 1", month("03-10")),
    ("DELETE FROM attendances WHERE id = 1", month("03-10")),
    (
        "INSERT INTO subscriptions (user_id, amount_minor, created_at) VALUES (2, 1, '2026-03-07 11:00+00')",
        month("03-07"),
    ),
    ("UPDATE subscriptions SET created_at = '2026-03-08 11:00+00' WHERE id = 1", month("03-05", "03-08")),
    ("UPDATE subscriptions SET activated_at = '2026-03-25 11:00+00' WHERE id = 1", since("03-20")),
    ("UPDATE subscriptions SET activated_at = NULL, status = 'pending_payment' WHERE id = 1", since("03-20")),
    ("UPDATE subscriptions SET ends_at = '2026-03-30 11:00+00' WHERE id = 1", since("03-20")),
    ("UPDATE subscriptions SET amount_minor = 1 WHERE id = 1", since("03-20")),
    ("UPDATE subscriptions SET access_level = 'full' WHERE id = 1", since("03-20")),
    ("UPDATE subscriptions SET user_id = 3 WHERE id = 1", month("03-05") | since("03-20")),
    # put off, by less than a month: the day in which it begins is as it was, and the day of its end need not differ
    ("UPDATE subscriptions SET ends_at = '2026-04-20 11:00+00' WHERE id = 2", since("03-08")),
    ("UPDATE subscriptions SET ends_at = '2026-04-20 11:00+00' WHERE id = 3", since("03-08")),
    ("DELETE FROM subscriptions WHERE id = 3", month("03-05") | since("03-08")),
    # whom a payment for a chapter is counted for is read in the chapter
    ("UPDATE subscriptions SET chapter_id = NULL WHERE id = 1", around("03-15") | since("03-20")),
    ("UPDATE chapters SET teacher_id = 2", around("03-15", "03-20")),
    # an operator has them settled and transcoded again
    ("UPDATE webhook_events SET state = 'received', attempts = 0, processed_at = NULL", around("03-12")),
    ("UPDATE transcode_jobs SET state = 'queued', finished_at = NULL", around("03-13")),
]

LIVE = [
    "INSERT INTO users DEFAULT VALUES",
    "UPDATE users SET balance_minor = 5, last_login_at = now(), role = 'admin', name = 'x'",
    "INSERT INTO attendances (session_id, user_id, checked_in_at) VALUES (1, 2, now())",
    "INSERT INTO attendances (session_id, user_id, checked_in_at) VALUES (1, 2, now() - interval '47 hours')",
    "INSERT INTO subscriptions (user_id, amount_minor, ends_at) VALUES (2, 1, now() + interval '1 month')",
    "INSERT INTO sessions (starts_at) VALUES (now() + interval '7 days')",
    "UPDATE subscriptions SET status = 'expired'",
    "UPDATE subscriptions SET amount_minor = amount_minor",
    "UPDATE chapters SET title = 'x', year_target = '3AS', price_minor = 5",
    "UPDATE courses SET video_ref = 'x', transcoding_status = 'completed', title = 'x'",
    "UPDATE teachers SET name = 'x', specialisation = 'physics'",
    "UPDATE webhook_events SET reason = 'x', drained_at = now()",
    "UPDATE transcode_jobs SET cleaned_at = now()",
]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url)
    # as it has been for long: nobody learns of it now, and one side of each ledger transaction is enough here
    run(engine, "SET LOCAL session_replication_role = replica", SCHOOL)
    yield engine
    engine.dispose()


def run(engine: Engine, *statements: str) -> None:
    """All of them in one transaction."""
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def marks(engine: Engine) -> dict[date, int]:
    """What is marked when the statistics have gathered what the database noted."""
    gather_late(engine)
    with engine.connect() as connection:
        return {row.day: row.changes for row in connection.execute(text("SELECT day, changes FROM changed_days"))}


@pytest.mark.parametrize(("statement", "days"), LATE)
def test_a_fact_of_old_days_that_is_written_late_marks_them(engine: Engine, statement: str, days: set[date]) -> None:
    run(engine, statement)
    assert {day: changes for day, changes in marks(engine).items() if day <= END} == dict.fromkeys(days, 1)


@pytest.mark.parametrize("statement", LIVE)
def test_what_is_written_as_it_happens_and_what_no_old_day_counts_mark_nothing(engine: Engine, statement: str) -> None:
    run(engine, statement)
    assert marks(engine) == {}


def test_an_activation_and_its_end_as_they_happen_mark_nothing(engine: Engine) -> None:
    run(
        engine,
        "INSERT INTO subscriptions (user_id, amount_minor, created_at) VALUES (1, 500, now() - interval '40 days')",
        "DELETE FROM late_days",
    )
    run(
        engine,
        "UPDATE subscriptions SET status = 'active', activated_at = now(), ends_at = now() + interval '1 month' "
        "WHERE id = 4",
    )
    assert marks(engine) == {}, "in the day it was made nothing has changed"


@pytest.mark.parametrize(
    ("instant", "days"),
    [
        ("2026-03-10 09:59:59+00", ["03-09", "03-10"]),
        ("2026-03-10 10:00:00+00", ["03-09", "03-10", "03-11"]),
        ("2026-03-10 12:00:00+00", ["03-10", "03-11"]),
    ],
)
def test_every_day_is_marked_that_the_instant_lies_in_somewhere_on_earth(
    engine: Engine, instant: str, days: list[str]
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL timezone = 'Asia/Kathmandu'")
        connection.execute(text("INSERT INTO teachers (created_at) VALUES (:at)"), {"at": instant})
    assert set(marks(engine)) == {date.fromisoformat(f"2026-{day}") for day in days}


def test_days_are_marked_until_those_that_are_compared_anyway(engine: Engine) -> None:
    run(engine, "UPDATE subscriptions SET amount_minor = 1 WHERE id = 1")
    with engine.connect() as connection:
        moment: datetime = connection.scalar(text("SELECT now() - interval '2 days'"))
    assert moment.astimezone(UTC).date() <= max(marks(engine)) <= (moment.astimezone(UTC) + timedelta(hours=14)).date()


def test_instants_that_are_no_dates_are_let_through(engine: Engine) -> None:
    run(
        engine,
        "INSERT INTO subscriptions (user_id, amount_minor, activated_at, ends_at) "
        "VALUES (1, 1, '-infinity', 'infinity')",
    )
    assert marks(engine) == {}


def test_no_matter_who_may_write_facts_needs_no_right_on_the_marks(engine: Engine) -> None:
    role = "writes_attendances"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role}")
        connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON attendances TO {role}")
    as_role = f"SET LOCAL ROLE {role}"
    try:
        run(
            engine,
            as_role,
            "CREATE TEMPORARY TABLE late_days (first_day date, last_day date) ON COMMIT DROP",
            "INSERT INTO attendances (session_id, user_id, checked_in_at) VALUES (1, 2, '2026-03-10 11:00+00')",
        )
        assert set(marks(engine)) == month("03-10")
        for refused in ("DELETE FROM public.changed_days", "INSERT INTO public.late_days VALUES (now(), now())"):
            with pytest.raises(DBAPIError, match="permission denied"):
                run(engine, as_role, refused)
    finally:
        run(engine, f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("statement", variations([statement for statement, _ in LATE], COMPUTED_AGAIN))
def test_what_was_written_late_is_found_and_computed_again(engine: Engine, database_url: str, statement: str) -> None:
    settings = CountSettings(database_url=database_url)
    computation = build_computation(engine, settings, now=lambda: datetime(2026, 6, 1, tzinfo=UTC))
    first, last = date(2026, 3, 1), date(2026, 4, 30)
    computation.compute(first, last)

    run(engine, statement)

    for _ in range(100):
        with engine.connect() as connection:
            due = postgres_snapshots.find_due(connection, first, last)
        if not due:
            break
        computation.compute_due(due[0])
    verdict = verify(postgres_snapshots.PostgresSnapshots(engine), computation, first, last, lambda done, total: None)
    assert (verdict.missing, verdict.differing, verdict.due) == ([], {}, [])


def test_a_day_before_the_first_user_who_is_left_is_found_too(engine: Engine, database_url: str) -> None:
    settings = CountSettings(database_url=database_url)
    now = datetime(2026, 3, 9, 11, tzinfo=UTC)
    computation = build_computation(engine, settings, now=lambda: now)
    run(engine, "INSERT INTO users (created_at) VALUES ('2026-02-20 11:00+00')")
    computation.compute(date(2026, 2, 19), date(2026, 3, 8))

    run(engine, "DELETE FROM users WHERE id = 4")

    due = sweep(engine, computation.zone, now, lookback_days=3)
    assert due == sorted(day for day in month("02-20") if day < now.date())


def test_a_mark_of_a_day_before_all_facts_is_taken_away(engine: Engine, database_url: str) -> None:
    settings = CountSettings(database_url=database_url)
    now = datetime(2026, 3, 9, 11, tzinfo=UTC)
    run(engine, "INSERT INTO users (created_at) VALUES ('2026-02-20 11:00+00')")
    assert set(marks(engine)) == month("02-20")

    sweep(engine, settings.zone, now, lookback_days=3)

    assert set(marks(engine)) == month("02-20") - {date(2026, 2, 19)}


def test_a_mark_of_the_statistics_and_one_of_the_database_add_up(engine: Engine) -> None:
    with engine.begin() as connection:
        mark(connection, [date(2026, 3, 10)])
    run(engine, "UPDATE attendances SET user_id = 2 WHERE id = 1")
    assert marks(engine)[date(2026, 3, 10)] == 2
