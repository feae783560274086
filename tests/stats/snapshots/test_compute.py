"""A day is computed once however often it is asked for; what comes late is found; a failing section spoils nothing."""

import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from services.stats.days import Days
from services.stats.errors import DayNotOverError, RefusedDayError
from services.stats.sections import SECTIONS
from services.stats.sections.base import MetricDefinition, Query, Rules, Section, Unit, Values
from services.stats.settings import CountSettings
from services.stats.snapshots import postgres_snapshots
from services.stats.snapshots.backfill import backfill, verify
from services.stats.snapshots.compute import Computation, Outcome, canonical
from services.stats.snapshots.dirty_days import note_day, note_payments
from services.stats.snapshots.postgres_sections import PostgresSections
from services.stats.snapshots.wiring import build_computation
from shared.contracts.payments import PaymentsSettled
from shared.runtime.database import build_engine
from tests.stats.interrupted import Interrupted
from tests.stats.school import RULES

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 10)
NOON = datetime(2026, 3, 5, 11, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url, pool_size=8)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users (created_at) VALUES (:at), (:at)"), {"at": NOON - timedelta(days=4)})
        connection.execute(text("DELETE FROM late_days"))
    yield engine
    engine.dispose()


@pytest.fixture
def computation(engine: Engine, database_url: str) -> Computation:
    """As of noon of the day after LAST."""
    settings = CountSettings(database_url=database_url)
    return build_computation(engine, settings, now=lambda: datetime(2026, 3, 11, 11, tzinfo=UTC))


_PAY = """
INSERT INTO payments (provider, provider_reference, user_id, amount_minor, credited_minor, status, created_at,
                      completed_at)
VALUES ('satim', :reference, 1, :amount, :amount, 'completed', :at, :at) RETURNING id
"""


def pay(engine: Engine, at: datetime, amount_minor: int = 250_000, reference: str = "a") -> int:
    with engine.begin() as connection:
        return int(
            connection.execute(
                text(_PAY),
                {"reference": reference, "amount": amount_minor, "at": at},
            ).scalar_one()
        )


def number(engine: Engine, day: date, name: str) -> Any:
    section, _, short = name.partition(".")
    found = postgres_snapshots.on(engine, day)
    assert found is not None
    return found.payload["sections"][section]["numbers"].get(short)


def run_all_due(engine: Engine, computation: Computation) -> None:
    for _ in range(50):
        with engine.connect() as connection:
            due = postgres_snapshots.find_due(connection, FIRST, LAST)
        if not due:
            return
        computation.compute_due(due[0])
    raise AssertionError(f"{due} are due for ever")


def quiet(done: int, total: int) -> None:
    """No progress is shown in tests."""


def test_a_kept_day_is_canonical_json_under_its_own_hash(engine: Engine, computation: Computation) -> None:
    pay(engine, NOON)
    computation.compute(NOON.date(), NOON.date())
    found = postgres_snapshots.on(engine, NOON.date())
    assert found is not None
    body = gzip.decompress(found.body_gzip)
    assert body == canonical(found.payload) == canonical(json.loads(body))
    assert found.etag == hashlib.sha256(body).hexdigest()
    assert (found.version, found.complete) == (1, True)


def test_the_same_facts_make_no_second_version(engine: Engine, computation: Computation) -> None:
    assert computation.compute(FIRST, LAST) == Outcome(10, 10)
    assert computation.compute(FIRST, LAST) == Outcome(10, 0)
    assert computation.compute(NOON.date(), NOON.date()) == Outcome(1, 0), "alone as in a run"


def test_a_day_that_is_not_due_is_left_as_it_is(engine: Engine, computation: Computation) -> None:
    assert computation.compute_due(FIRST).days == 10, "the whole run that is due"
    assert computation.compute_due(FIRST) == computation.compute_due(LAST) == Outcome()


def test_a_late_payment_makes_new_versions_of_its_day_and_of_what_depends_on_it(
    engine: Engine, computation: Computation
) -> None:
    computation.compute(FIRST, LAST)
    payment_id = pay(engine, NOON)
    note_payments(engine, [PaymentsSettled(payment_ids=(payment_id,), days=(NOON.date(),))], computation.zone)
    run_all_due(engine, computation)
    assert number(engine, NOON.date(), "payments.mean") == 250_000
    assert number(engine, LAST, "payments.completed_to_date") == 1
    versions = [found.version for found in postgres_snapshots.between(engine, FIRST, LAST)]
    assert versions == [1] * 4 + [2] * 6
    assert not verify(postgres_snapshots.PostgresSnapshots(engine), computation, None, None, quiet).differing


def test_what_many_payments_changed_is_noted_once_a_day(engine: Engine, computation: Computation) -> None:
    # Given payments that were begun on two days, and settled on the second
    begun = [NOON, NOON, NOON + timedelta(days=1), NOON]
    ids = [pay(engine, at, reference=str(number)) for number, at in enumerate(begun)]
    settled = [PaymentsSettled(payment_ids=(one,), days=(NOON.date() + timedelta(days=1),)) for one in ids]

    note_payments(engine, [*settled, PaymentsSettled(payment_ids=(10**9,), days=(LAST,))], computation.zone)

    with engine.connect() as connection:
        marks = connection.execute(text("SELECT day, changes FROM changed_days ORDER BY day")).all()
    assert marks == [(NOON.date(), 1), (NOON.date() + timedelta(days=1), 1), (LAST, 1)]


def test_a_change_without_effect_computes_no_other_day(engine: Engine, computation: Computation) -> None:
    computation.compute(FIRST, LAST)
    note_day(engine, NOON.date())
    assert computation.compute_due(NOON.date()) == Outcome(1, 0)
    with engine.connect() as connection:
        assert postgres_snapshots.find_due(connection, FIRST, LAST) == []


def test_verify_names_the_day_and_the_number_that_differ(engine: Engine, computation: Computation) -> None:
    computation.compute(FIRST, LAST - timedelta(days=1))
    payment_id = pay(engine, NOON, 100)
    verdict = verify(postgres_snapshots.PostgresSnapshots(engine), computation, FIRST, LAST, quiet)
    assert verdict.missing == [LAST]
    assert min(verdict.differing) == NOON.date()
    assert verdict.differing[NOON.date()]["payments.mean"] == (None, 100)

    # Then its message comes: it is known that this day, and what follows from it, is due
    note_payments(engine, [PaymentsSettled(payment_ids=(payment_id,), days=(NOON.date(),))], computation.zone)
    known = verify(postgres_snapshots.PostgresSnapshots(engine), computation, FIRST, LAST, quiet)
    assert (known.differing, known.due) == ({}, sorted(verdict.differing))
    backfill(computation, FIRST, LAST, quiet)
    verdict = verify(postgres_snapshots.PostgresSnapshots(engine), computation, FIRST, LAST, quiet)
    assert not verdict.missing
    assert not verdict.differing


def test_sections_that_are_computed_at_the_same_time_see_the_same_moment(
    engine: Engine, computation: Computation
) -> None:
    registered = threading.Event()

    def register_and_count(ask: Query, days: Days, rules: Rules) -> Values:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO users (created_at) VALUES (:at)"), {"at": NOON})
        registered.set()
        return count_users(ask, days, rules)

    def count_later(ask: Query, days: Days, rules: Rules) -> Values:
        assert registered.wait(30), "the other section is not computed meanwhile"
        return count_users(ask, days, rules)

    def count_users(ask: Query, days: Days, rules: Rules) -> Values:
        (row,) = ask("SELECT count(*) AS users FROM users")
        return {day: {"total": row.users} for day in days}

    numbers = (MetricDefinition("total", Unit.COUNT, "-"),)
    later = Section("later", numbers, count_later)
    first = Section("first", numbers, register_and_count)
    reading = PostgresSections(engine, (later, first), RULES).read(Days(LAST, LAST, computation.zone), {}, {})
    assert reading.sections == {"later": {LAST: {"total": 2}}, "first": {LAST: {"total": 2}}}


def test_what_several_sections_need_is_found_once_and_reported_to_all(engine: Engine, computation: Computation) -> None:
    found: list[Days] = []

    def find(ask: Query, days: Days) -> int:
        found.append(days)
        (row,) = ask("SELECT pg_sleep(0.2), 7 AS number")
        return int(row.number)

    def count(ask: Query, days: Days, rules: Rules) -> Values:
        return {day: {"total": ask.once(find, days)} for day in days}

    sections = tuple(
        Section(name, (MetricDefinition("total", Unit.COUNT, "-"),), count) for name in ("one", "two", "three")
    )
    days = Days(LAST, LAST, computation.zone)
    reading = PostgresSections(engine, sections, RULES).read(days, {}, {})
    assert reading.sections == {name: {LAST: {"total": 7}} for name in ("one", "two", "three")}
    assert found == [days]


def test_a_section_that_fails_is_reported_and_the_others_are_kept(engine: Engine, computation: Computation) -> None:
    def broken(ask: Query, days: Days, rules: Rules) -> Values:
        ask("SELECT no_such_column FROM users")
        return {}

    whole = computation.facts
    section = Section("payments", (MetricDefinition("revenue", Unit.MINOR, "-"),), broken)
    others = tuple(section if each.name == "payments" else each for each in SECTIONS)
    computation.compute(LAST, LAST)
    failing = replace(computation, facts=PostgresSections(engine, others, RULES))
    outcome = failing.compute(LAST, LAST)

    assert list(outcome.failed[LAST]) == ["payments"]
    attempt = postgres_snapshots.attempt_on(engine, LAST)
    assert attempt is not None
    assert not attempt.complete
    assert "no_such_column" in attempt.payload["sections"]["payments"]["failed"]
    assert attempt.payload["sections"]["users"]["numbers"]["total"] == 2
    shown = postgres_snapshots.on(engine, LAST)
    assert shown is not None
    assert (shown.version, shown.complete) == (1, True), "readers keep the complete one"
    assert failing.compute_due(LAST).failed, "the day stays due"

    assert not replace(computation, facts=whole).compute_due(LAST).failed
    shown = postgres_snapshots.on(engine, LAST)
    assert shown is not None
    assert shown.version == 3
    assert computation.compute_due(LAST) == Outcome()


def test_two_workers_at_once_keep_one_version(engine: Engine, computation: Computation) -> None:
    outcomes: list[Outcome] = []
    threads = [threading.Thread(target=lambda: outcomes.append(computation.compute_due(FIRST))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.days for outcome in outcomes) == [0, 0, 10]
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM daily_stats")).scalar_one() == 10


def test_a_change_that_comes_while_a_day_is_computed_is_not_lost(engine: Engine, computation: Computation) -> None:
    computation.compute(FIRST, LAST)
    note_day(engine, NOON.date())

    def change() -> None:
        settled = PaymentsSettled(payment_ids=(pay(engine, NOON),), days=(NOON.date(),))
        note_payments(engine, [settled], computation.zone)

    replace(computation, facts=Interrupted(computation.facts, after=change)).compute_due(NOON.date())
    assert number(engine, NOON.date(), "payments.mean") is None
    run_all_due(engine, computation)
    assert number(engine, NOON.date(), "payments.mean") == 250_000


def test_a_day_that_is_not_over_is_refused(computation: Computation) -> None:
    with pytest.raises(DayNotOverError, match=r"2026-03-11 is not over.*2026-03-10"):
        computation.compute_due(date(2026, 3, 11))


def test_what_keeps_no_history_is_known_at_the_days_end_only(engine: Engine, computation: Computation) -> None:
    computation.compute(FIRST, LAST)
    assert number(engine, LAST, "users.by_role") == {"student": 2}
    assert number(engine, LAST - timedelta(days=1), "users.by_role") is None, "it ended more than 24 hours before"
    with engine.begin() as connection:
        connection.execute(text("UPDATE users SET role = 'admin' WHERE id = 1"))
    pay(engine, NOON)
    later = replace(computation, now=lambda: datetime(2026, 4, 1, tzinfo=UTC))
    assert later.compute(FIRST, LAST).new_versions == 6
    assert number(engine, LAST, "users.by_role") == {"student": 2}, "as it was seen then"
    assert not verify(postgres_snapshots.PostgresSnapshots(engine), later, None, None, quiet).differing


def test_the_names_of_chapters_and_teachers_stand_beside_their_ids(engine: Engine, computation: Computation) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO chapters (title) VALUES ('Suites'), (''), ('Never sold')"))
        connection.execute(
            text(
                "INSERT INTO subscriptions (user_id, chapter_id, amount_minor, status, activated_at) "
                "SELECT 1, one, 5, 'active', :at FROM generate_series(1, 2) AS one"
            ),
            {"at": NOON},
        )
    computation.compute(NOON.date(), NOON.date())
    found = postgres_snapshots.on(engine, NOON.date())
    assert found is not None
    assert number(engine, NOON.date(), "subscriptions.popular_chapters") == {"1": 1, "2": 1}
    assert found.payload["names"] == {"chapter": {"1": "Suites"}, "course": {}, "teacher": {}}


def test_a_version_is_never_changed(engine: Engine, computation: Computation) -> None:
    computation.compute(FIRST, LAST)
    for statement in ("UPDATE daily_stats SET etag = ''", "DELETE FROM daily_stats", "TRUNCATE daily_stats CASCADE"):
        with pytest.raises(DBAPIError, match="never changed"), engine.begin() as connection:
            connection.execute(text(statement))


def test_days_in_the_wrong_order_are_refused(computation: Computation) -> None:
    with pytest.raises(RefusedDayError, match="2026-03-01 is before 2026-03-10"):
        backfill(computation, LAST, FIRST, quiet)
