"""Stripe is asked by its official library: what no webhook reported is booked, with fees, refunds and disputes."""

import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from services.webhook_gateway.errors import ProviderUnavailableError
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers.settings import ProviderSettings
from services.webhook_gateway.providers.stripe import PollingStripe, Stripe
from services.webhook_gateway.reconciliation.reconcile import Outcome, next_follow_up
from tests.webhook_gateway.reconciliation.harness import AMOUNT_MINOR, STRIPE_KEY, STRIPE_SECRET, Begun, Bench

FEE_MINOR = AMOUNT_MINOR * 3 // 100


def balance(begun: Begun) -> int:
    return int(begun.bench.scalar("SELECT balance_minor FROM users WHERE id = :id", id=begun.user_id))


def accounts(bench: Bench) -> dict[str, int]:
    """What each account holds."""
    query = """SELECT kind, sum(amount_minor)::bigint FROM ledger_entries JOIN ledger_accounts AS account
        ON account.id = account_id GROUP BY kind"""
    return {kind: held for kind, held in bench.rows(query) if held}


def ask_again(bench: Bench) -> Outcome | None:
    """The next question about a payment that is collected is due, and is asked; then what was kept is settled."""
    bench.make_due()
    outcome = bench.ask("stripe")
    bench.settle_all()
    return outcome


def test_a_payment_whose_webhook_was_lost_is_booked_with_its_fee(bench: Bench) -> None:
    begun = bench.begin("stripe")
    assert bench.ask("stripe") is Outcome.PENDING
    begun.end()
    bench.make_due()

    assert bench.ask("stripe") is Outcome.RECORDED
    bench.settle_all()

    assert (begun.status, balance(begun)) == ("completed", AMOUNT_MINOR)
    # clearing is what Stripe pays out
    assert accounts(bench) == {
        "user_wallet": AMOUNT_MINOR,
        "psp_clearing": FEE_MINOR - AMOUNT_MINOR,
        "psp_fees": -FEE_MINOR,
    }
    # and the webhook that comes late finds nothing new
    begun.report()
    bench.settle_all()
    assert bench.states() == {"applied": 1, "ignored": 1}
    assert balance(begun) == AMOUNT_MINOR


def test_a_fee_that_no_webhook_reported_is_asked_for_once_the_payment_is_collected(bench: Bench) -> None:
    # Given a payment whose webhook has come: it has no fee
    begun = bench.begin("stripe")
    begun.end()
    begun.report()
    bench.settle_all()
    assert "psp_fees" not in accounts(bench)

    # When the follow-up is due, then the fee is booked, and what is sent again changes nothing
    assert ask_again(bench) is Outcome.RECORDED
    assert accounts(bench)["psp_fees"] == -FEE_MINOR
    assert ask_again(bench) is Outcome.KNOWN
    assert accounts(bench)["psp_clearing"] == FEE_MINOR - AMOUNT_MINOR
    assert balance(begun) == AMOUNT_MINOR
    bench.assert_books_balance()


def test_refunds_and_disputes_that_no_webhook_reported_are_booked_and_taken_back(bench: Bench) -> None:
    # Given a payment that is booked
    begun = bench.begin("stripe")
    begun.end()
    bench.ask("stripe")
    bench.settle_all()

    # When a part of it is refunded at Stripe, and a part disputed, without a webhook
    headers = {"Authorization": f"Bearer {STRIPE_KEY}"}
    form = {"payment_intent": begun.reference, "amount": "50000"}
    made = httpx.post(f"{bench.simulator_url}/v1/refunds", headers=headers, data=form).raise_for_status().json()
    dispute = begun.at_stripe(f"payments/{begun.reference}/dispute/20000")

    # Then the next answer reports both, and the dispute's fee
    assert ask_again(bench) is Outcome.RECORDED
    assert balance(begun) == AMOUNT_MINOR - 50_000 - 20_000
    assert accounts(bench)["dispute_fees"] == -1500

    # When the refund fails and the dispute is won, then the money is back
    begun.at_stripe(f"refunds/{made['id']}/failed")
    begun.at_stripe(f"disputes/{dispute['id']}/won")
    assert ask_again(bench) is Outcome.RECORDED
    assert (begun.status, balance(begun)) == ("completed", AMOUNT_MINOR)
    assert accounts(bench)["psp_clearing"] == -(AMOUNT_MINOR - FEE_MINOR - 1500)
    bench.assert_books_balance()


def test_a_cumulative_figure_of_a_webhook_and_the_refunds_of_an_answer_are_not_added_up(bench: Bench) -> None:
    # Given a refund of which a webhook reported the cumulative figure
    begun = bench.begin("stripe")
    begun.end()
    headers = {"Authorization": f"Bearer {STRIPE_KEY}"}
    form = {"payment_intent": begun.reference}
    httpx.post(f"{bench.simulator_url}/v1/refunds", headers=headers, data=form).raise_for_status()
    begun.report("paid")
    begun.report("refunded")
    bench.settle_all()
    assert balance(begun) == 0

    # When the answer has the refund itself, then it is the same money
    assert ask_again(bench) is Outcome.RECORDED
    assert (begun.status, balance(begun)) == ("refunded", 0)
    assert accounts(bench) == {"psp_clearing": FEE_MINOR, "psp_fees": -FEE_MINOR}


@pytest.mark.parametrize(("act", "status"), [("hold", "authorized"), ("canceled", "canceled")])
def test_a_hold_and_a_cancellation_move_no_money(bench: Bench, act: str, status: str) -> None:
    begun = bench.begin("stripe")
    begun.end(act)

    assert bench.ask("stripe") is Outcome.RECORDED
    bench.settle_all()

    assert begun.status == status
    begun.assert_not_credited()


def test_a_payment_that_was_declined_and_is_paid_later_is_booked_though_no_webhook_reports_it(bench: Bench) -> None:
    # Given a payment whose card was declined, as a webhook reported
    begun = bench.begin("stripe")
    begun.at_stripe(f"payments/{begun.reference}/decline")
    begun.report("failed")
    bench.settle_all()
    assert begun.status == "failed"
    assert bench.ask("stripe") is Outcome.PENDING
    assert begun.next_ask_at is not None

    # When the payer has paid with another card, and the webhook is lost
    begun.end()
    assert ask_again(bench) is Outcome.RECORDED

    # Then it is booked, with its fee, and followed up like every other one
    assert (begun.status, balance(begun)) == ("completed", AMOUNT_MINOR)
    assert accounts(bench)["psp_fees"] == -FEE_MINOR
    assert begun.next_ask_at is not None


def test_a_declined_payment_is_left_alone_after_three_days(bench: Bench) -> None:
    begun = bench.begin("stripe")
    begun.at_stripe(f"payments/{begun.reference}/decline")
    bench.execute("UPDATE payments SET status = 'failed', created_at = now() - interval '73 hours'")
    assert bench.ask("stripe") is Outcome.PENDING
    assert begun.next_ask_at is None
    assert bench.ask("stripe") is None


def check_out(bench: Bench) -> Begun:
    """The school sends a payer to Stripe's page, and registers the payment under the session's id."""
    session = f"cs_test_{uuid.uuid4().hex}"
    reported = {"id": session, "amount": AMOUNT_MINOR, "currency": "dzd"}
    httpx.post(f"{bench.simulator_url}/simulator/stripe/sessions", json=reported).raise_for_status()
    return bench.begin("stripe", reference=session)


def test_a_payment_that_was_registered_by_its_checkout_session_is_asked_about(bench: Bench) -> None:
    begun = check_out(bench)
    assert bench.ask("stripe") is Outcome.PENDING
    assert begun.status == "pending"

    session = begun.at_stripe(f"sessions/{begun.reference}/pay")
    assert ask_again(bench) is Outcome.RECORDED

    # it is the session's payment intent from now on, with its fee and what follows
    assert (begun.status, balance(begun)) == ("completed", AMOUNT_MINOR)
    assert bench.rows("SELECT provider_reference FROM payments") == [(session["payment_intent"],)]
    assert accounts(bench)["psp_fees"] == -FEE_MINOR
    begun.at_stripe(f"payments/{session['payment_intent']}/dispute/20000")
    assert ask_again(bench) is Outcome.RECORDED
    assert balance(begun) == AMOUNT_MINOR - 20_000
    bench.assert_books_balance()


def test_a_checkout_session_that_expired_ends_its_payment(bench: Bench) -> None:
    begun = check_out(bench)
    begun.at_stripe(f"sessions/{begun.reference}/expire")
    assert ask_again(bench) is Outcome.RECORDED
    assert begun.status == "expired"
    begun.assert_not_credited()
    assert ask_again(bench) is None


def test_more_refunds_than_one_page_has_are_all_reported(bench: Bench) -> None:
    begun = bench.begin("stripe")
    begun.end()
    headers = {"Authorization": f"Bearer {STRIPE_KEY}"}
    form = {"payment_intent": begun.reference, "amount": "100"}
    with httpx.Client(base_url=bench.simulator_url, headers=headers) as client:
        for _ in range(105):
            client.post("/v1/refunds", data=form).raise_for_status()

    assert bench.ask("stripe") is Outcome.RECORDED
    bench.settle_all()

    assert balance(begun) == AMOUNT_MINOR - 105 * 100


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [("broken", Outcome.UNAVAILABLE), ("garbage", Outcome.UNAVAILABLE), ("limited", Outcome.LIMITED),
     ("other", Outcome.UNAVAILABLE)],
)  # fmt: skip
def test_an_answer_that_is_none_is_kept_by_nobody_and_asked_for_again(
    bench: Bench, kind: str, outcome: Outcome
) -> None:
    begun = bench.begin("stripe")
    begun.end()
    bench.be_wrong("stripe", kind)

    assert bench.ask("stripe") is outcome
    assert begun.kept() == []
    assert begun.next_ask_at is not None

    bench.be_right()
    bench.make_due()
    assert bench.ask("stripe") is Outcome.RECORDED


def test_a_payment_that_stripe_does_not_know_and_a_key_that_it_refuses(bench: Bench) -> None:
    bench.begin("stripe", reference="pi_unknown")
    assert bench.ask("stripe") is Outcome.UNKNOWN
    bench.begin("stripe", reference="cs_a_session")
    assert bench.ask("stripe") is Outcome.UNKNOWN

    refused = PollingStripe([STRIPE_SECRET], lambda: datetime.now(UTC), None, "sk_test_other", bench.simulator_url)
    with pytest.raises(ProviderUnavailableError, match="NOUBA_PSP_STRIPE_API_KEY"):
        refused.enquire("pi_unknown")


def test_an_answer_that_is_not_understood_is_put_aside_once_however_often_it_is_given(bench: Bench) -> None:
    # Given a payment whose refund has a state that nobody knows yet
    begun = bench.begin("stripe")
    begun.end()
    bench.ask("stripe")
    bench.settle_all()
    headers = {"Authorization": f"Bearer {STRIPE_KEY}"}
    form = {"payment_intent": begun.reference}
    made = httpx.post(f"{bench.simulator_url}/v1/refunds", headers=headers, data=form).raise_for_status().json()
    begun.at_stripe(f"refunds/{made['id']}/undecided")

    # When it is asked about again and again
    assert [ask_again(bench) for _ in range(3)] == [Outcome.UNREADABLE] * 3

    # Then it waits for a person once, and the money stays
    assert bench.states() == {"applied": 1, "quarantined": 1}
    assert balance(begun) == AMOUNT_MINOR


def test_a_charge_without_an_intent_is_asked_about_too(bench: Bench) -> None:
    begun = bench.begin("stripe")
    begun.end()
    charge = begun.at_stripe(f"payments/{begun.reference}/pay")["latest_charge"]

    psp = bench.providers["stripe"]
    assert isinstance(psp, PollingStripe)
    reply = psp.enquire(charge)
    assert reply is not None
    notice = psp.parse(reply.request)
    # events of the payment meet on its intent
    assert (notice.reference, notice.stage, notice.amount_minor) == (
        begun.reference,
        Stage.COMPLETED,
        AMOUNT_MINOR,
    )
    assert [fee.amount_minor for fee in notice.fees] == [FEE_MINOR]


def test_without_an_api_key_stripe_is_not_asked() -> None:
    without_key = ProviderSettings(stripe_secrets=[STRIPE_SECRET])
    assert type(Stripe.build(without_key, lambda: datetime.now(UTC))) is Stripe
    with_key = ProviderSettings(stripe_secrets=[STRIPE_SECRET], stripe_api_key=STRIPE_KEY)
    assert type(Stripe.build(with_key, lambda: datetime.now(UTC))) is PollingStripe


def test_follow_ups_end_after_three_days_unless_something_is_open() -> None:
    begun = datetime(2026, 11, 1, tzinfo=UTC)

    def after(age: timedelta, *, is_open: bool = False) -> timedelta | None:
        following = next_follow_up(begun, begun + age, is_open=is_open)
        return following - begun if following else None

    minute, hour, day = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
    assert [after(age) for age in (0 * minute, 2 * minute, hour, day, 3 * day)] == [
        2 * minute,
        hour,
        day,
        3 * day,
        None,
    ]
    assert after(5 * day, is_open=True) == 6 * day
    assert after(61 * day, is_open=True) is None
