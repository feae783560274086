"""The books, in memory and in PostgreSQL: what is found, what moves, and that a transaction is kept whole or not."""

import itertools
from dataclasses import replace
from datetime import date, timedelta

import pytest

from services.webhook_gateway.payments.ledger import (
    Account,
    AccountKind,
    payment_moved,
    subscription_paid,
    subscription_returned,
)
from services.webhook_gateway.payments.model import Subscription
from services.webhook_gateway.payments.objects import (
    Dispute,
    DisputeState,
    Fee,
    FeeKind,
    Refund,
    RefundState,
    Total,
)
from services.webhook_gateway.payments.payment_state import PaymentState, Stage
from services.webhook_gateway.settlement.settlement_store import SettlementResult
from shared.contracts.payments import PaymentSettled
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.factories import OPENED_AT, School
from tests.webhook_gateway.settlement.samples import a_payment, an_event

LATER = OPENED_AT + timedelta(hours=1)


def credit(school: School, user_id: int, amount_minor: int, event_id: int, payment_id: int, fee_minor: int = 0) -> None:
    with school.books() as books:
        moved = payment_moved(
            payment_id=payment_id,
            user_id=user_id,
            provider="psp",
            credit_minor=amount_minor,
            fee_minor=fee_minor,
            currency="DZD",
        )
        books.post(moved, event_id)


def test_pending_payments_are_found_by_their_user_and_the_beginning_of_their_reference(school: School) -> None:
    user_id, another = school.add_user(), school.add_user()
    wanted = school.add_payment(a_payment(user_id, reference="cs_1"))
    by_order = school.add_payment(a_payment(user_id, reference=None, order_number="O1"))
    school.add_payment(a_payment(user_id, reference="csx"))
    school.add_payment(a_payment(another, reference="cs_2"))
    done = school.add_payment(a_payment(user_id, reference="cs_3"))
    with school.books() as books:
        books.save(replace(school.payment(done), state=PaymentState(Stage.FAILED)))
    with school.books() as books:
        found = sorted(books.registered("psp", user_id, "cs_"), key=lambda one: one.id)
        assert found == [school.payment(wanted), school.payment(by_order)]
        assert not list(books.registered("another", user_id, "cs_"))


def test_a_payment_that_is_opened_has_an_id_and_is_found_by_its_reference(school: School) -> None:
    user_id = school.add_user()
    with school.books() as books:
        assert books.find("psp", "R1", None) is None
        opened = books.open(a_payment(user_id, order_number="O1"))
        assert opened is not None
    assert opened == replace(a_payment(user_id, order_number="O1"), id=opened.id)
    assert school.payments() == [opened]
    with school.books() as books:
        assert books.find("psp", "R1", None) == opened
        assert books.find("psp", "R2", None) is None
        assert books.find("another", "R1", None) is None


def test_opening_a_payment_that_somebody_else_opened_gives_theirs(school: School) -> None:
    user_id = school.add_user()
    with school.books() as books:
        first = books.open(a_payment(user_id, 1000))
    with school.books() as books:
        assert books.open(a_payment(user_id, 999)) == first
    assert school.payments() == [first]


def test_the_reference_finds_before_the_order_and_a_free_row_of_the_order_before_a_taken_one(school: School) -> None:
    user_id = school.add_user()
    taken, free, second_free, own = (
        school.add_payment(a_payment(user_id, reference=reference, order_number=order_number))
        for reference, order_number in (("R1", "O1"), (None, "O1"), (None, "O1"), ("R9", None))
    )
    with school.books() as books:
        found = [
            books.find("psp", reference, order_number)
            for reference, order_number in (("R9", "O1"), ("R2", "O1"), ("R1", "O1"), ("R2", "O2"), ("R2", None))
        ]
    assert [payment and payment.id for payment in found] == [own, free, taken, None, None]
    assert second_free not in {payment.id for payment in found if payment}


def test_a_second_payment_of_an_order_finds_the_first_one(school: School) -> None:
    first = school.add_payment(a_payment(school.add_user(), reference="R1", order_number="O1"))
    with school.books() as books:
        found = books.find("psp", "R2", "O1")
    assert found is not None
    assert (found.id, found.reference) == (first, "R1")


def test_everything_that_settlement_changes_of_a_payment_is_kept(school: School) -> None:
    user_id = school.add_user()
    payment_id = school.add_payment(a_payment(user_id, reference=None))
    changed = replace(
        a_payment(user_id),
        id=payment_id,
        reference="R7",
        order_number="O7",
        state=PaymentState(
            Stage.COMPLETED,
            Total(300, OPENED_AT),
            {"re_1": Refund("re_1", 100, RefundState.FAILED, OPENED_AT, LATER)},
            {"dp_1": Dispute("dp_1", 1000, DisputeState.WON, LATER)},
            {"txn_1": Fee("txn_1", 25, FeeKind.PAYMENT), "txn_2": Fee("txn_2", -15, FeeKind.DISPUTE)},
        ),
        registered_minor=1200,
        registered_subscription_id=8,
        amount_told_at=OPENED_AT,
        subscription_id=7,
        credited_minor=700,
        fee_minor=25,
        method="edahabia",
        failure_reason="none of it",
        completed_at=LATER,
    )
    with school.books() as books:
        books.save(changed)
    assert school.payment(payment_id) == changed
    with school.books() as books:
        assert books.find("psp", "R7", None) == changed


def test_every_state_is_read_as_it_was_written(school: School) -> None:
    user_id = school.add_user()
    statuses = [
        PaymentState(
            stage,
            Total(refunded, OPENED_AT if refunded else None),
            {"re_1": Refund("re_1", 300, refund, OPENED_AT)},
            {"dp_1": Dispute("dp_1", 300, dispute)},
        )
        for stage, refunded, dispute, refund in itertools.product(Stage, (0, 1000), DisputeState, RefundState)
    ]
    for number, state in enumerate(statuses):
        for amount_minor in (0, 300, 1000):
            reference = f"{number} of {amount_minor}"
            with school.books() as books:
                opened = books.open(a_payment(user_id, amount_minor, reference=reference))
                assert opened is not None
                books.save(replace(opened, state=state))
                found = books.find("psp", reference, None)
            assert found is not None
            assert found.state == state


def test_no_payment_is_opened_for_a_user_who_is_not_there(school: School) -> None:
    user_id = school.add_user()
    with school.books() as books:
        assert books.open(a_payment(user_id + 1)) is None
        assert books.find("psp", "R1", None) is None
        assert books.balance(user_id) == 0
    assert school.payments() == []


def test_what_waits_for_a_wallet_is_what_came_with_the_event_or_the_payment(school: School) -> None:
    user_id = school.add_user()
    first, second = school.add_subscription(user_id, 10), school.add_subscription(user_id, 20)
    school.add_subscription(school.add_user(), 30)
    event_id = an_event(school)
    with school.books() as books:
        assert books.claim([event_id])
        payment = books.open(a_payment(user_id))
        assert payment is not None
        assert books.balance(user_id) == 0
        assert [one.id for one in books.pending_subscriptions(user_id)] == [first, second]
        moved = payment_moved(
            payment_id=payment.id, user_id=user_id, provider="psp", credit_minor=1000, fee_minor=0, currency="DZD"
        )
        books.post(moved, event_id)
        books.activate(first, LATER)
        assert books.balance(user_id) == 1000
        assert [one.id for one in books.pending_subscriptions(user_id)] == [second]


def test_posting_moves_the_wallets_and_no_other_balance(school: School) -> None:
    payer, bystander = school.add_user(), school.add_user()
    payment_id = school.add_payment(a_payment(payer))
    credit(school, payer, 1000, an_event(school), payment_id, fee_minor=25)
    assert (school.balance(payer), school.balance(bystander)) == (1000, 0)
    assert [(line.account, line.amount_minor) for line in school.lines()] == [
        (Account(AccountKind.WALLET, user_id=payer), 1000),
        (Account(AccountKind.CLEARING, provider="psp"), -975),
        (Account(AccountKind.FEES, provider="psp"), -25),
    ]


def test_one_event_posts_a_payment_once(school: School) -> None:
    user_id = school.add_user()
    payment_id, event_id = school.add_payment(a_payment(user_id)), an_event(school)
    credit(school, user_id, 400, event_id, payment_id)
    with pytest.raises(school.refusal):
        credit(school, user_id, 400, event_id, payment_id)
    assert school.balance(user_id) == 400


def test_a_balance_beyond_a_bigint_is_refused_whole(school: School) -> None:
    user_id = school.add_user()
    largest = 2**63 - 1
    credit(school, user_id, largest, an_event(school, "first"), school.add_payment(a_payment(user_id, largest)))
    second = school.add_payment(a_payment(user_id, 1, reference="R2"))
    with pytest.raises(school.refusal):
        credit(school, user_id, 1, an_event(school, "second"), second)
    assert school.balance(user_id) == largest
    assert sum(line.amount_minor for line in school.lines()) == 0


def test_more_credit_than_was_paid_is_refused(school: School) -> None:
    payment = a_payment(school.add_user(), 1000)
    payment = replace(payment, id=school.add_payment(payment))
    for credited_minor in (1001, -1):
        with pytest.raises(school.refusal), school.books() as books:
            books.save(replace(payment, credited_minor=credited_minor))


def test_a_reference_belongs_to_one_payment(school: School) -> None:
    user_id = school.add_user()
    school.add_payment(a_payment(user_id, reference="R1"))
    other = a_payment(user_id, reference=None, order_number="O1")
    other = replace(other, id=school.add_payment(other))
    with pytest.raises(school.refusal), school.books() as books:
        books.save(replace(other, reference="R1"))


def test_pending_subscriptions_come_oldest_first(school: School) -> None:
    user_id = school.add_user()
    newest = school.add_subscription(user_id, 30, created_at=LATER)
    oldest = school.add_subscription(user_id, 10)
    same_age = school.add_subscription(user_id, 20)
    for status in ("active", "expired", "cancelled"):
        school.add_subscription(user_id, 10, status=status)
    school.add_subscription(school.add_user(), 10)
    with school.books() as books:
        assert list(books.pending_subscriptions(user_id)) == [
            Subscription(oldest, 10, OPENED_AT),
            Subscription(same_age, 20, OPENED_AT),
            Subscription(newest, 30, LATER),
        ]


def test_an_activated_subscription_runs_for_the_period_and_its_reversal_leaves_no_trace(school: School) -> None:
    subscription_id = school.add_subscription(school.add_user(), 10)
    before = school.subscription(subscription_id)
    with school.books() as books:
        books.activate(subscription_id, LATER)
    row = school.subscription(subscription_id)
    assert (row.status, row.activated_at, row.ends_at) == ("active", LATER, LATER + timedelta(days=30))
    with school.books() as books:
        books.deactivate(subscription_id)
    assert school.subscription(subscription_id) == before


def test_an_end_that_the_school_had_set_stays(school: School) -> None:
    end = OPENED_AT + timedelta(days=90)
    subscription_id = school.add_subscription(school.add_user(), 10, ends_at=end)
    before = school.subscription(subscription_id)
    with school.books() as books:
        books.activate(subscription_id, LATER)
    assert school.subscription(subscription_id).ends_at == end
    with school.books() as books:
        books.deactivate(subscription_id)
    assert school.subscription(subscription_id) == before


def test_only_what_the_wallet_paid_can_be_given_back_and_for_what_it_paid_newest_first(school: School) -> None:
    user_id = school.add_user()
    by_school = school.add_subscription(user_id, 10, status="active")
    oldest, newest, returned, free = (
        school.add_subscription(user_id, amount, created_at=OPENED_AT + timedelta(days=day))
        for day, amount in enumerate((100, 200, 300, 0), start=1)
    )
    event_id, later_id = an_event(school), an_event(school, "e2")
    with school.books() as books:
        for number, amount in ((oldest, 100), (newest, 200), (returned, 300), (free, 0)):
            books.post(subscription_paid(Subscription(number, amount, OPENED_AT), user_id, "DZD"), event_id)
            books.activate(number, LATER)
        books.post(subscription_returned(Subscription(returned, 300, OPENED_AT), user_id, "DZD"), later_id)
        books.deactivate(returned)
    school.change_price(newest, 999)
    with school.books() as books:
        paid = list(books.paid_subscriptions(user_id))
    assert [(one.id, one.amount_minor, one.created_at) for one in paid] == [
        (free, 0, OPENED_AT + timedelta(days=4)),
        (newest, 200, OPENED_AT + timedelta(days=2)),
        (oldest, 100, OPENED_AT + timedelta(days=1)),
    ]
    assert {one.ends_at for one in paid} == {LATER + timedelta(days=30)}
    assert by_school not in {subscription.id for subscription in paid}
    assert school.balance(user_id) == -300


def test_an_announcement_is_made_by_the_commit(school: School) -> None:
    payment_id = school.add_payment(a_payment(school.add_user()))
    with school.books() as books:
        books.announce(payment_id, date(2026, 3, 1))
        assert school.messages() == []
    assert school.messages() == [PaymentSettled(payment_id=payment_id, day=date(2026, 3, 1))]


def test_nothing_is_kept_when_anything_is_raised(school: School) -> None:
    user_id = school.add_user()
    subscription_id, event_id, parked_id = (
        school.add_subscription(user_id, 10),
        an_event(school),
        an_event(school, "e2"),
    )
    before = (school.events(), school.payments(), school.subscription(subscription_id), school.balance(user_id))

    def write_everything_and_fail() -> None:
        with school.books() as books:
            assert books.claim([event_id])
            payment = books.open(a_payment(user_id))
            assert payment is not None
            moved = payment_moved(
                payment_id=payment.id, user_id=user_id, provider="psp", credit_minor=1000, fee_minor=0, currency="DZD"
            )
            books.post(moved, event_id)
            books.save(replace(payment, state=PaymentState(Stage.COMPLETED), credited_minor=1000))
            books.post(subscription_paid(Subscription(subscription_id, 10, OPENED_AT), user_id, "DZD"), event_id)
            books.activate(subscription_id, LATER)
            books.park(parked_id, "not yet", LATER)
            books.close(event_id, SettlementResult(EventState.APPLIED, "done", payment.id))
            books.announce(payment.id, date(2026, 3, 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_everything_and_fail()
    after = (school.events(), school.payments(), school.subscription(subscription_id), school.balance(user_id))
    assert after == before
    assert (school.lines(), school.messages()) == ([], [])
