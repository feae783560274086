"""Every kind of event that Stripe's own library lists is booked, explained, put aside or without money."""

import json
import re

import pytest
from stripe.params import _webhook_endpoint_create_params

from services.webhook_gateway.errors import UnreadableEventError
from services.webhook_gateway.providers import stripe_events
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.postgres_school import SqlSchool
from tests.webhook_gateway.settlement.stripe_books import Books, parse


def all_of_stripes_kinds() -> list[str]:
    """The kinds of events that Stripe's own library lists."""
    hints = _webhook_endpoint_create_params.WebhookEndpointCreateParams.__annotations__["enabled_events"]
    text = hints.__forward_arg__ if hasattr(hints, "__forward_arg__") else str(hints)
    return sorted(set(re.findall(r"[\"']([a-z_0-9]+(?:\.[a-z_0-9]+)+)[\"']", text)))


#: What happens with each kind of event of a family: the kinds that are booked and those that are explained as moving no
#: money, without the family's name; all others are put aside for a person.
BOOKED: dict[str, str] = {
    "charge": "captured expired failed pending refunded succeeded updated refund.updated dispute.closed "
    "dispute.created dispute.funds_reinstated dispute.funds_withdrawn dispute.updated",
    "checkout.session": "async_payment_failed async_payment_succeeded completed expired",
    "customer.subscription": "created deleted paused pending_update_applied pending_update_expired resumed "
    "trial_will_end updated",
    "invoice": "paid payment_succeeded",
    "invoice_payment": "paid",
    "payment_intent": "amount_capturable_updated canceled payment_failed processing succeeded",
    "refund": "created failed updated",
}
EXPLAINED: dict[str, str] = {
    "credit_note": "created updated voided",
    "invoice": "created deleted finalization_failed finalized marked_uncollectible overdue payment_action_required "
    "payment_attempt_required payment_failed sent upcoming updated voided will_be_due",
    "payment_intent": "created partially_funded requires_action",
    "payout": "canceled created failed paid reconciliation_completed updated",
    "radar": "early_fraud_warning.created early_fraud_warning.updated",
    "reserve": "hold.created hold.updated plan.created plan.disabled plan.expired plan.updated release.created",
    "review": "closed opened",
}
PUT_ASIDE: dict[str, str] = {
    "application_fee": "created refund.updated refunded",
    "customer_cash_balance_transaction": "created",
    "invoice": "overpaid",
    "issuing_dispute": "closed created funds_reinstated funds_rescinded submitted updated",
    "issuing_transaction": "created purchase_details_receipt_updated updated",
    "source.transaction": "created updated",
    "topup": "canceled created failed reversed succeeded",
    "transfer": "created reversed updated",
}
#: Every kind that is neither in these nor begins so concerns no money: it is ignored.
WORDS_OF_MONEY = re.compile(
    r"charge|refund|dispute|payout|transfer|checkout|invoice\b|payment_intent|transaction|topup|treasury|fee\b"
)
#: These have such a word, and none of the money is a payer's or moves.
WITHOUT_MONEY = {
    "billing.credit_balance_transaction.created",
    "financial_connections.account.refreshed_transactions",
    "source.chargeable",
    "source.refund_attributes_required",
}


def named(families: dict[str, str]) -> set[str]:
    return {f"{family}.{kind}" for family, kinds in families.items() for kind in kinds.split()}


def test_every_kind_of_stripes_list_is_booked_explained_put_aside_or_without_money(sql_school: SqlSchool) -> None:
    kinds = set(all_of_stripes_kinds())
    assert len(kinds) > 200
    treasury = {kind for kind in kinds if kind.startswith("treasury.")}
    booked, explained, put_aside = named(BOOKED), named(EXPLAINED), named(PUT_ASIDE) | treasury
    assert booked | explained | put_aside <= kinds, "kinds that Stripe does not have"
    assert set(stripe_events.READERS) == booked
    assert set(stripe_events.NO_MONEY) == explained
    assert {kind for kind in kinds if kind.startswith(stripe_events.MONEY)} == booked | explained | put_aside
    rest = kinds - booked - explained - put_aside
    assert {kind for kind in rest if WORDS_OF_MONEY.search(kind)} == WITHOUT_MONEY

    for kind in sorted(kinds - booked):
        body = json.dumps({"id": f"evt_{kind}", "type": kind, "data": {"object": {"object": "x"}}}).encode()
        number = sql_school.add_event("stripe", None, body, OPENED_AT)
        verdict = Books(sql_school).settlement.settle(number)
        assert verdict is not None
        if kind in put_aside:
            assert (verdict.state, "concerns money" in verdict.reason) == (EventState.QUARANTINED, True), kind
        else:
            assert verdict.state is EventState.IGNORED, kind
            assert (verdict.reason == stripe_events.NO_MONEY.get(kind)) == (kind in explained)
    assert not sql_school.lines()


@pytest.mark.parametrize("kind", sorted(named(BOOKED)))
def test_a_kind_that_is_booked_is_put_aside_where_its_object_is_not_what_it_should_be(kind: str) -> None:
    for thing in ({}, {"object": "x"}, {"currency": "dzd"}, {"currency": "dzd", "amount": "1", "id": ["x"]}):
        if "subscription" in kind and thing.get("currency"):
            continue  # it collects nothing, whatever it holds
        with pytest.raises(UnreadableEventError):
            parse({"id": "evt_1", "type": kind, "data": {"object": thing}})


def test_a_kind_that_stripe_has_not_named_yet_is_put_aside() -> None:
    for kind in ("charge.reauthorized", "refund.reversed", "payment_intent.settled", "charge.dispute.escalated"):
        with pytest.raises(UnreadableEventError, match="concerns money"):
            parse({"id": "evt_1", "type": kind, "data": {"object": {}}})
