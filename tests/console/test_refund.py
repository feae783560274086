"""A refund is asked for on the payment's page, with an amount, a reason and a confirmation, and only once."""

import pytest

from tests.console.clients import VIEWER, WHO, Person, console_of
from tests.console.factories import open_school
from tests.webhook_gateway.processes import Database

FORM = {"amount": "500.00", "why": "one lesson less"}
REQUESTS = "SELECT payment_id, amount_minor, currency, reason, actor_name, state FROM refund_requests"


@pytest.fixture
def school(database: Database) -> Database:
    open_school(database)
    return database


def test_a_refund_is_confirmed_audited_and_asked_for_once(operator: Person, school: Database) -> None:
    # When the form of the payment is sent, then nothing is done before the confirmation
    confirm = operator.send("/payments/1", "/payments/1/refund", **FORM)
    assert "Refund 500.00 DZD?" in confirm.text
    assert school.rows(REQUESTS) == []

    # When it is confirmed, twice
    fields = {**operator.hidden("/payments/1"), **FORM, "confirmed": "yes"}
    for _ in range(2):
        operator.get("/payments/1")
        assert operator.post("/payments/1/refund", **fields).location == "/payments/1"

    # Then it is one, and nothing is booked yet
    assert school.rows(REQUESTS) == [(1, 50_000, "DZD", "one lesson less", WHO, "requested")]
    assert school.rows("SELECT who, what, why FROM operator_acts") == [(WHO, "payment.refund", "one lesson less")]
    assert school.rows("SELECT balance_minor FROM users WHERE id = 7") == [(40_000,)]
    page = operator.read("/payments/1")
    assert f"The refund of 500.00 DZD requested by {WHO} waits for a worker." in page


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [({"why": " "}, 400, "Give a reason"), ({"amount": "1,000"}, 400, "is no amount of DZD"),
     ({"amount": "2400.01"}, 302, "can be refunded"), ({"amount": "0"}, 302, "can be refunded")],
)  # fmt: skip
def test_what_cannot_be_refunded_is_refused(
    operator: Person, school: Database, given: dict[str, str], status: int, words: str
) -> None:
    answer = operator.send("/payments/1", "/payments/1/refund", **{**FORM, "confirmed": "yes", **given})

    assert answer.status_code == status
    assert words in (answer.text if status == 400 else operator.read("/payments/1"))
    assert school.rows(REQUESTS) == []


def test_what_was_not_collected_and_a_viewer_have_no_form(
    operator: Person, school: Database, database_url: str, rabbitmq_url: str
) -> None:
    assert 'name="amount"' not in operator.read("/payments/2")
    viewer = Person(console_of(database_url, rabbitmq_url))
    viewer.enter(VIEWER)
    assert 'name="amount"' not in viewer.read("/payments/1")
    assert viewer.send("/payments", "/payments/1/refund", **FORM, confirmed="yes", key="console-1").status_code == 403
    assert school.rows(REQUESTS) == []
