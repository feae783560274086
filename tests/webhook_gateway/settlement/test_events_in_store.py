"""What becomes of events in the books, in memory and in PostgreSQL."""

from datetime import timedelta

import pytest

from services.webhook_gateway.settlement.settlement_store import SettlementResult
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.factories import OPENED_AT, School
from tests.webhook_gateway.settlement.samples import a_payment, an_event

LATER = OPENED_AT + timedelta(hours=1)


def test_an_event_is_claimed_until_it_is_final(school: School) -> None:
    event_id = an_event(school)
    with school.books() as books:
        assert books.claim([event_id])
    with school.books() as books:
        assert books.claim([event_id]), "nothing was said about it yet"
        books.close(event_id, SettlementResult(EventState.APPLIED, "done"))
    with school.books() as books:
        assert not books.claim([event_id])
        assert not books.claim([event_id + 1]), "nobody knows that one"
    assert school.read(event_id) is None
    assert school.read(event_id + 1) is None


@pytest.mark.parametrize("state", [state for state in EventState if state is not EventState.RECEIVED])
def test_a_closed_event_keeps_its_state_and_reason_and_waits_no_more(school: School, state: EventState) -> None:
    event_id = an_event(school)
    payment_id = school.add_payment(a_payment(school.add_user()))
    with school.books() as books:
        books.park(event_id, "not yet", LATER)
        books.close(event_id, SettlementResult(state, "because", payment_id))
    row = school.event(event_id)
    assert (row.state, row.reason, row.payment_id, row.next_attempt_at) == (state, "because", payment_id, None)


def test_a_parked_event_counts_its_attempts_and_knows_when_it_is_due(school: School) -> None:
    event_id = an_event(school)
    for attempt in (1, 2):
        with school.books() as books:
            books.park(event_id, "not yet", LATER)
        read = school.read(event_id)
        assert read is not None
        assert read.attempts == attempt
    row = school.event(event_id)
    assert (row.state, row.reason, row.next_attempt_at) == (EventState.RECEIVED, "not yet", LATER)


def test_only_parked_events_of_that_payment_are_released(school: School) -> None:
    names = ("parked", "due before", "fresh", "final", "elsewhere")
    ids = {name: an_event(school, name, "R2" if name == "elsewhere" else "R1") for name in names}
    with school.books() as books:
        for name in ("parked", "final", "elsewhere"):
            books.park(ids[name], "not yet", LATER)
        books.park(ids["due before"], "not yet", OPENED_AT)
        books.close(ids["final"], SettlementResult(EventState.IGNORED, "nothing new"))
    now = OPENED_AT + timedelta(minutes=1)
    with school.books() as books:
        books.release("psp", "R1", now)
        books.release("another", "R2", now)
    due = {name: school.event(event_id).next_attempt_at for name, event_id in ids.items()}
    assert due == {"parked": now, "due before": OPENED_AT, "fresh": None, "final": None, "elsewhere": LATER}
