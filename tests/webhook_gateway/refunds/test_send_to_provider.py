"""A refund that an operator asks for is begun at its provider once, and booked by what the provider answers."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from services.webhook_gateway.inbox.accept import read_entry
from services.webhook_gateway.providers.base import Mode, PollsPayments, RefundsPayments
from services.webhook_gateway.refunds.postgres_requests import PostgresRefundRequests
from services.webhook_gateway.refunds.send_to_provider import Refunding
from shared.operations.payments.queries import show_payment
from shared.operations.payments.request_refund import (
    CannotRefundError,
    Refund,
    RefundStatus,
    request_refund,
    wait_for_refund,
)
from tests.webhook_gateway.reconciliation.harness import AMOUNT_MINOR, STRIPE_KEY, Begun, Bench

PART_MINOR = 50_000


class Refunder:
    """Somebody who asks for refunds, and a worker that begins them."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        committing = bench.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.requests = PostgresRefundRequests(committing)
        self.refunding = Refunding(
            providers=bench.providers,
            requests=self.requests,
            inbox=bench.inbox,
            watch=lambda _: nullcontext(),
            now=lambda: datetime.now(UTC),
            wake=lambda: None,
            payments_mode=Mode.TEST,
        )

    def paid(self, provider: str) -> Begun:
        begun = self.bench.begin(provider)
        begun.end()
        self.bench.ask(provider)
        self.bench.settle_all()
        assert begun.status == "completed"
        return begun

    def request(self, begun: Begun, amount_minor: int | None = PART_MINOR, key: str = "ticket-1") -> int:
        wanted = Refund(
            idempotency_key=key,
            payment_id=begun.payment_id,
            amount_minor=amount_minor,
            reason="one lesson less",
            actor_name="amina",
        )
        return request_refund(self.bench.engine, wanted)[0]

    def work(self) -> None:
        """Until nothing is due; then what the provider answered is settled."""
        while self.refunding.begin_next():
            pass
        self.bench.settle_all()

    def hear(self, begun: Begun) -> None:
        """Settle what the provider says of the payment now."""
        psp = self.bench.providers[begun.provider]
        assert isinstance(psp, PollsPayments)
        reply = psp.enquire(begun.reference)
        assert reply is not None
        self.bench.inbox.keep(read_entry(psp, reply.request, reply.proof, Mode.TEST))
        self.bench.settle_all()

    def time_passes(self) -> None:
        self.bench.execute("UPDATE refund_requests SET next_attempt_at = now()")

    def status(self, refund_id: int) -> RefundStatus:
        return wait_for_refund(self.bench.engine, refund_id, 0)

    def at_provider(self, begun: Begun) -> int:
        """How much is refunded there."""
        if begun.provider == "satim":
            return int(self.bench.providers["satim"].refunded_minor(begun.reference))  # type: ignore[attr-defined]
        headers = {"Authorization": f"Bearer {STRIPE_KEY}"}
        url = f"{self.bench.simulator_url}/v1/refunds"
        found = httpx.get(url, headers=headers, params={"payment_intent": begun.reference}).raise_for_status().json()
        return sum(one["amount"] for one in found["data"] if one["status"] != "failed")

    def balance(self, begun: Begun) -> int:
        return int(self.bench.scalar("SELECT balance_minor FROM users WHERE id = :id", id=begun.user_id))


@pytest.fixture
def harness(bench: Bench) -> Refunder:
    return Refunder(bench)


@pytest.fixture(params=["stripe", "satim"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_part_and_then_the_rest_are_refunded_and_booked(harness: Refunder, provider: str) -> None:
    begun = harness.paid(provider)

    # When a part is asked for, and the worker has begun it
    first = harness.request(begun)
    assert harness.balance(begun) == AMOUNT_MINOR
    harness.work()

    # Then the provider has it, the books have it, and the audit knows who and why
    assert harness.status(first).state == "accepted"
    assert harness.at_provider(begun) == PART_MINOR
    assert (begun.status, harness.balance(begun)) == ("partially_refunded", AMOUNT_MINOR - PART_MINOR)
    acts = harness.bench.rows("SELECT who, what, why, ids FROM operator_acts")
    assert acts == [("amina", "payment.refund", "one lesson less", [begun.payment_id])]
    refunds = "SELECT kind FROM ledger_transactions WHERE payment_id = :id ORDER BY id"
    assert harness.bench.rows(refunds, id=begun.payment_id) == [("payment",), ("refund",)]

    # When the rest is asked for without an amount, then all is refunded
    harness.request(begun, None, key="ticket-2")
    harness.work()
    assert harness.at_provider(begun) == AMOUNT_MINOR
    assert (begun.status, harness.balance(begun)) == ("refunded", 0)
    harness.bench.assert_books_balance()


def test_the_same_key_is_the_same_refund_and_never_another(harness: Refunder, provider: str) -> None:
    begun = harness.paid(provider)

    assert harness.request(begun) == harness.request(begun)
    harness.work()
    assert harness.request(begun) == 1
    harness.work()

    assert harness.at_provider(begun) == PART_MINOR
    with pytest.raises(CannotRefundError, match="belongs to refund 1"):
        harness.request(begun, PART_MINOR + 1)
    assert harness.bench.rows("SELECT count(*) FROM operator_acts") == [(1,)]


def test_a_refund_at_satim_counts_beside_what_was_refunded_in_the_banks_own_pages(harness: Refunder) -> None:
    # Given a part that was refunded in the bank's own pages, which its next answer says
    begun = harness.paid("satim")
    bank = harness.bench.providers["satim"]
    assert isinstance(bank, RefundsPayments)
    bank.refund(begun.reference, 30_000, "by hand")
    harness.hear(begun)
    assert harness.balance(begun) == AMOUNT_MINOR - 30_000

    # When the school refunds another part
    harness.request(begun)
    harness.work()

    # Then both are gone from the wallet
    assert harness.at_provider(begun) == 30_000 + PART_MINOR
    assert harness.balance(begun) == AMOUNT_MINOR - 30_000 - PART_MINOR

    # and the bank's next answer changes nothing, until more is refunded there
    harness.hear(begun)
    assert harness.balance(begun) == AMOUNT_MINOR - 30_000 - PART_MINOR
    bank.refund(begun.reference, 10_000, "by hand again")
    harness.hear(begun)
    assert harness.balance(begun) == AMOUNT_MINOR - 40_000 - PART_MINOR
    harness.bench.assert_books_balance()


def test_where_satim_does_not_say_whether_it_refunded_nothing_is_sent_again(harness: Refunder) -> None:
    # Given a refund whose answer was lost, and another one of another amount made at the bank meanwhile
    begun = harness.paid("satim")
    refund = harness.request(begun)
    taken = harness.requests.take()
    assert taken is not None
    harness.requests.note_sending(taken, 0)
    harness.bench.providers["satim"].refund(begun.reference, 70_000, "by hand")  # type: ignore[attr-defined]
    harness.time_passes()

    # When it is tried again
    harness.work()

    # Then a person has to check, and the payment's page says so
    assert harness.status(refund).state == "unknown"
    assert harness.at_provider(begun) == 70_000
    details = show_payment(harness.bench.engine, begun.payment_id)
    assert details is not None
    assert "requested by amina may have been made: refunded before it: 0, now: 70000" in details.notes[-1]
    # and nobody refunds the rest as if it had not been
    with pytest.raises(CannotRefundError, match=r"2,000\.00 DZD can be refunded"):
        harness.request(begun, AMOUNT_MINOR, key="ticket-2")


def test_a_provider_that_is_away_is_tried_again_and_one_that_refuses_is_not(harness: Refunder, provider: str) -> None:
    begun = harness.paid(provider)
    refund = harness.request(begun)
    harness.bench.be_wrong(provider, "broken")
    harness.work()

    assert harness.status(refund).state in ("requested", "sending")
    assert harness.balance(begun) == AMOUNT_MINOR

    # When it answers again, but the money went back at the provider's own pages meanwhile
    harness.bench.be_right()
    harness.bench.providers[provider].refund(begun.reference, AMOUNT_MINOR, "by hand")  # type: ignore[attr-defined]
    harness.bench.execute("UPDATE refund_requests SET state = 'requested', next_attempt_at = now()")
    harness.work()

    # Then it refuses, and nothing of it is booked
    assert harness.status(refund).state == "refused"
    assert harness.status(refund).note
    assert harness.at_provider(begun) == AMOUNT_MINOR


def test_a_refund_that_fails_later_gives_the_money_back(harness: Refunder) -> None:
    begun = harness.paid("stripe")
    harness.request(begun)
    harness.work()
    refund_id = harness.bench.scalar("SELECT object_id FROM payment_objects WHERE kind = 'refund'")

    begun.at_stripe(f"refunds/{refund_id}/failed")
    harness.bench.make_due()
    harness.bench.ask("stripe")
    harness.bench.settle_all()

    assert (begun.status, harness.balance(begun)) == ("completed", AMOUNT_MINOR)


def test_what_is_tried_in_vain_for_twenty_hours_is_left_to_a_person(harness: Refunder, provider: str) -> None:
    # Given a refund that may have reached its provider, and one that may not
    for begun, state, becomes in (
        (harness.paid(provider), "sending", "unknown"),
        (harness.paid(provider), "requested", "refused"),
    ):
        refund = harness.request(begun, key=state)
        harness.bench.execute(
            "UPDATE refund_requests SET state = :state, created_at = now() - :age WHERE id = :id",
            state=state, age=timedelta(hours=21), id=refund,
        )  # fmt: skip
        harness.bench.be_wrong(provider, "broken")
        harness.work()
        harness.bench.be_right()

        assert harness.status(refund).state == becomes


def test_what_cannot_be_refunded_says_why(harness: Refunder) -> None:
    chargily = harness.paid("chargily")
    with pytest.raises(CannotRefundError, match="chargily has no refunds in its API"):
        harness.request(chargily)

    begun = harness.paid("stripe")
    for amount in (0, -1, AMOUNT_MINOR + 1):
        with pytest.raises(CannotRefundError, match=r"2,500\.00 DZD can be refunded"):
            harness.request(begun, amount)
    with pytest.raises(CannotRefundError, match="nothing was collected"):
        harness.request(harness.bench.begin("stripe"))
    # what is under way counts
    harness.request(begun, AMOUNT_MINOR)
    with pytest.raises(CannotRefundError, match=r" 0\.00 DZD can be refunded"):
        harness.request(begun, 1, key="ticket-2")
    assert harness.bench.rows("SELECT count(*) FROM refund_requests") == [(1,)]
