"""Any order and repetition of a user's events ends in one state, in memory and in PostgreSQL alike."""

import itertools

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.webhook_gateway.fakes import FakeSchool
from tests.webhook_gateway.settlement.histories import History, Reporting, histories, schedules
from tests.webhook_gateway.settlement.postgres_school import SqlSchool

_PROVIDERS = itertools.count()
#: 100 in `make test-all`, 30 in `make test`
EXAMPLES = settings().max_examples


@st.composite
def reordered(draw: st.DrawFn) -> tuple[History, list[int], list[int]]:
    """A history, another order of its events with repetitions, and which of them are enqueued again under a new id."""
    history = draw(histories())
    count = sum(len(story.events) for story in history.stories)
    return history, draw(schedules(count)), draw(st.lists(st.integers(0, count - 1), max_size=3))


@settings(max_examples=6 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reordered())
def test_any_order_and_repetition_of_the_events_ends_the_same(case: tuple[History, list[int], list[int]]) -> None:
    history, order, again = case
    reported = Reporting(history, FakeSchool(), "psp")
    reported.settle_all(reported.event_ids)

    reordered = Reporting(history, FakeSchool(), "psp")
    ids = [reordered.event_ids[index] for index in order]
    repeats = [reordered.repeat(index) for index in again]
    reordered.settle_all([*repeats[:1], *ids, *repeats[1:]])

    assert reordered.outcome() == reported.outcome()


@settings(
    max_examples=2 * EXAMPLES // 5,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(reordered())
def test_postgresql_goes_every_step_as_the_books_in_memory_do(
    sql_school: SqlSchool, case: tuple[History, list[int], list[int]]
) -> None:
    history, order, again = case
    # every history has a provider of its own, so that one database serves them all
    provider = f"psp-{next(_PROVIDERS)}"
    in_memory, in_postgresql = Reporting(history, FakeSchool(), provider), Reporting(history, sql_school, provider)
    steps = []
    for reporting in (in_memory, in_postgresql):
        ids = [reporting.event_ids[index] for index in order]
        steps.append(reporting.settle_all([*ids, *(reporting.repeat(index) for index in again)]))

    assert steps[0] == steps[1]
    assert in_memory.outcome() == in_postgresql.outcome()
    in_order = Reporting(history, FakeSchool(), provider)
    in_order.settle_all(in_order.event_ids)
    assert in_postgresql.outcome() == in_order.outcome()


@settings(
    max_examples=2 * EXAMPLES // 5,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(reordered(), st.integers(2, 12))
def test_many_in_one_transaction_end_as_one_after_the_other(
    sql_school: SqlSchool, case: tuple[History, list[int], list[int]], size: int
) -> None:
    history, order, again = case
    provider = f"psp-{next(_PROVIDERS)}"
    together, alone = Reporting(history, sql_school, provider), Reporting(history, FakeSchool(), provider)
    ids = [together.event_ids[index] for index in order]
    together.settle_together([*ids, *(together.repeat(index) for index in again)], size)
    alone.settle_all(alone.event_ids)

    assert together.outcome() == alone.outcome()
