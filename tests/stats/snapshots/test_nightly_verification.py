"""Every night a share of the kept days is compared with the facts; what differs is reported and left as it is."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy import Engine, text

from services.stats.days import Days
from services.stats.sections import SECTIONS
from services.stats.sections.base import Query, Rules, Values
from services.stats.settings import CountSettings
from services.stats.snapshots.compute import Computation
from services.stats.snapshots.dirty_days import note_day
from services.stats.snapshots.nightly_verification import NIGHTS, prove_share, runs_of, verification_status
from services.stats.snapshots.postgres_sections import PostgresSections
from services.stats.snapshots.wiring import build_computation
from shared.runtime.database import build_engine
from tests.stats.interrupted import Interrupted
from tests.stats.school import RULES

LAST = date(2026, 3, 1) + timedelta(days=2 * NIGHTS - 1)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users (created_at) VALUES ('2026-03-05 11:00+00')"))
    yield engine
    engine.dispose()


@pytest.fixture
def computation(engine: Engine, database_url: str) -> Computation:
    """Twice as many days as there are nights, so that a share is two of them."""
    settings = CountSettings(database_url=SecretStr(database_url), currency="DZD")
    made = build_computation(engine, settings, now=lambda: datetime(2027, 1, 1, tzinfo=UTC))
    made.compute(date(2026, 3, 1), LAST)
    return made


def proved(engine: Engine) -> list[tuple[date, int]]:
    query = "SELECT day, differences FROM daily_stats_newest WHERE verified_at IS NOT NULL ORDER BY day"
    with engine.connect() as connection:
        return [(row.day, row.differences) for row in connection.execute(text(query))]


def pass_a_night(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE daily_stats_newest SET verified_at = verified_at - interval '1 day', "
                "checked_at = checked_at - interval '1 day', tried_at = tried_at - interval '1 day'"
            )
        )


def change_untold(engine: Engine) -> None:
    """A fact of all days is altered while the triggers are off."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE users SET created_at = '2026-02-01 11:00+00'"))


def prove(engine: Engine, computation: Computation, wait: Callable[[], None] = lambda: None) -> int:
    """A share, without the time in which a message may come."""
    return prove_share(engine, computation, wait)


def test_one_share_is_proved_a_night_however_often_it_is_asked_for(engine: Engine, computation: Computation) -> None:
    assert [prove_share(engine, computation) for _ in range(3)] == [2, 0, 0]
    assert proved(engine) == [(date(2026, 3, 1), 0), (date(2026, 3, 2), 0)]
    with engine.connect() as connection:
        last_at = verification_status(connection).last_at
    assert last_at is not None
    assert REGISTRY.get_sample_value("nouba_stats_verify_timestamp_seconds") == pytest.approx(last_at.timestamp())


def test_every_day_is_proved_once_before_the_first_is_proved_again(engine: Engine, computation: Computation) -> None:
    for _ in range(NIGHTS):
        assert prove_share(engine, computation) == 2
        pass_a_night(engine)
    assert len(proved(engine)) == 2 * NIGHTS
    prove_share(engine, computation)
    query = "SELECT day FROM daily_stats_newest WHERE verified_at > now() - interval '1 hour' ORDER BY day"
    with engine.connect() as connection:
        assert list(connection.scalars(text(query))) == [date(2026, 3, 1), date(2026, 3, 2)]


@pytest.mark.slow
def test_every_day_is_proved_in_so_many_nights_while_each_night_brings_a_new_one(
    engine: Engine, computation: Computation
) -> None:
    proved_in: dict[date, list[int]] = {}
    for night in range(2 * NIGHTS):
        new = LAST + timedelta(days=night + 1)
        computation.compute(new, new)
        prove_share(engine, computation)
        query = "SELECT day FROM daily_stats_newest WHERE verified_at > now() - interval '1 hour'"
        with engine.connect() as connection:
            for day in connection.scalars(text(query)):
                proved_in.setdefault(day, []).append(night)
        pass_a_night(engine)

    for day in (date(2026, 3, 1), date(2026, 3, 20), LAST):
        first, *others = proved_in[day]
        assert first < NIGHTS, day
        assert others, f"{day} is never proved again"
        assert all(after - before <= NIGHTS for before, after in pairwise(proved_in[day])), day


def test_a_share_is_proved_by_one_process_at_a_time(engine: Engine, computation: Computation) -> None:
    together: list[int] = []
    facts = Interrupted(computation.facts, before=lambda: together.append(prove(engine, computation)))

    assert prove(engine, replace(computation, facts=facts)) == 2
    assert together == [0], "somebody else was asked for a share meanwhile"
    pass_a_night(engine)
    assert prove(engine, computation) == 2, "the one that ended lets others go on"


def test_a_day_that_turns_out_to_be_due_has_not_differed(engine: Engine, computation: Computation) -> None:
    day = date(2026, 3, 1)
    change_untold(engine)

    # its message comes a moment after the fact
    assert prove(engine, computation, wait=lambda: note_day(engine, day)) == 0
    assert proved(engine) == []
    assert prove(engine, computation) == 0, "once a night, whatever comes of it"

    # or the day is computed again meanwhile
    computation.compute(day, day)
    pass_a_night(engine)
    later = day + timedelta(days=1)
    assert prove(engine, computation, wait=lambda: _compute_again(computation, later)) == 1
    assert proved(engine) == [(day, 0)]


def _compute_again(computation: Computation, day: date) -> None:
    computation.compute(day, day)


def test_a_section_that_fails_during_a_proof_is_no_difference(engine: Engine, computation: Computation) -> None:
    def broken(ask: Query, days: Days, rules: Rules) -> Values:
        raise LookupError("the database is busy")

    sections = tuple(replace(each, compute=broken) if each.name == "users" else each for each in SECTIONS)

    assert prove(engine, replace(computation, facts=PostgresSections(engine, sections, RULES))) == 0
    assert proved(engine) == []
    assert REGISTRY.get_sample_value("nouba_stats_verify_differences") == 0
    assert prove(engine, computation) == 0, "it is tried once a night"
    pass_a_night(engine)
    assert prove(engine, computation) == 2


def test_a_share_whose_days_are_all_due_by_now_is_not_followed_by_another_in_the_same_night(
    engine: Engine, computation: Computation
) -> None:
    change_untold(engine)
    first = date(2026, 3, 1)

    assert prove(engine, computation, wait=lambda: note_day(engine, first)) == 0

    note_day(engine, first + timedelta(days=1))
    read: list[None] = []
    counting = replace(computation, facts=Interrupted(computation.facts, before=lambda: read.append(None)))
    assert prove(engine, counting) == 0
    assert read == [], "no day was rebuilt"


def test_a_day_that_the_school_wrote_into_late_is_not_proved_before_it_is_computed_again(
    engine: Engine, computation: Computation
) -> None:
    with engine.begin() as connection:
        late = (
            "INSERT INTO office_payments (method, amount_minor, received_at) VALUES ('cash', 1, '2026-03-01 11:00+00')"
        )
        connection.execute(text(late))

    prove(engine, computation)

    assert proved(engine) == [(date(2026, 3, 3), 0), (date(2026, 3, 4), 0)]


def test_days_that_are_not_far_apart_are_compared_in_one_pass() -> None:
    first = date(2026, 3, 1)
    days = [first + timedelta(days=number) for number in (30, 0, 1, 8, 16)]
    assert runs_of(days) == [(days[1], days[3]), (days[4], days[4]), (days[0], days[0])]


def test_a_difference_is_reported_and_stands_until_somebody_computes_the_day(
    engine: Engine, computation: Computation
) -> None:
    change_untold(engine)
    before = REGISTRY.get_sample_value("nouba_stats_verified_days_total") or 0

    prove(engine, computation)

    # users.total, and wallets.mean, which a school without users does not have
    assert proved(engine) == [(date(2026, 3, 1), 2), (date(2026, 3, 2), 2)]
    assert REGISTRY.get_sample_value("nouba_stats_verify_differences") == 4
    assert REGISTRY.get_sample_value("nouba_stats_verified_days_total") == before + 2
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT max(version) FROM daily_stats")) == 1, "nothing was computed again"

    assert computation.compute(date(2026, 3, 1), LAST).new_versions
    assert proved(engine) == [], "what was found out about another version says nothing of this one"
    pass_a_night(engine)
    prove(engine, computation)
    assert proved(engine) == [(date(2026, 3, 1), 0), (date(2026, 3, 2), 0)]
