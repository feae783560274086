"""Random histories of a user's payments, and what they leave behind when they are settled in some order."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from operator import itemgetter
from typing import Any

from hypothesis import strategies as st

from services.webhook_gateway.payments.ledger import AccountKind
from services.webhook_gateway.payments.objects import Dispute, DisputeState, Fee, FeeKind, Refund, RefundState
from services.webhook_gateway.payments.payment_state import PaymentState, Stage
from services.webhook_gateway.settlement.settle import MIN_TRIES
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.factories import OPENED_AT, School
from tests.webhook_gateway.settlement.harness import Harness

#: What an event may report beside its payment; an amount of 0 stands for the payment's own.
Reported = dict[str, Any]

_AMOUNT_MINOR = st.integers(0, 300)
#: Which of the user's subscriptions an event says that the payment is for.
_PURPOSE = st.sampled_from([None, None, None, 0, 1])
_REASON = st.sampled_from([None, "expired card", "no funds"])


@dataclass(frozen=True, slots=True)
class Story:
    """One payment: whether the school's checkout made a row before, and what is reported of it."""

    reference: str
    order_number: str | None
    amount_minor: int
    has_checkout: bool
    events: tuple[Reported, ...]
    #: no event names the user: only the provider's customer says who pays
    is_by_customer: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """A user's payments and subscriptions (amount, the status at first, and whether the term is over)."""

    stories: tuple[Story, ...]
    subscriptions: tuple[tuple[int, str, bool], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What must not depend on the order: payments by reference, subscriptions in turn, sums by account, refusals."""

    payments: tuple[tuple[Any, ...], ...]
    balance: int
    subscriptions: tuple[str, ...]
    sums: tuple[tuple[str, int], ...]
    refused: tuple[EventState | None, ...]


@st.composite
def _captures(draw: st.DrawFn, amount: int) -> list[Reported]:
    """One payment as a provider with objects describes it: captured in parts, refunded, disputed; all at its own times.

    First it happens, second by second, as it may happen to a real payment; then some or all of it is reported.
    """
    at = OPENED_AT - timedelta(hours=2)
    captured, refunded, refunds, reported = 0, 0, list[Refund](), list[Reported]()
    for number in range(draw(st.integers(1, 5))):
        at += timedelta(seconds=1)
        live = sum(refund.amount_minor for refund in refunds if not refund.is_ended)
        what = draw(st.sampled_from(["capture", "refund", "fail"]))
        if what == "refund" and captured > live:
            state = draw(st.sampled_from([RefundState.PENDING, RefundState.SUCCEEDED]))
            refunds.append(Refund(f"re_{number}", draw(st.integers(1, captured - live)), state, at))
            reported.append({"refunds": (refunds[-1],), "occurred_at": at})
        elif what == "fail" and live:
            place = draw(st.sampled_from([place for place, one in enumerate(refunds) if not one.is_ended]))
            state = draw(st.sampled_from([RefundState.CANCELED, RefundState.FAILED]))
            refunds[place] = replace(refunds[place], state=state, ended_at=at)
            reported.append({"refunds": (refunds[place],), "occurred_at": at})
        else:
            captured = draw(st.integers(captured, amount))
        total = sum(refund.amount_minor for refund in refunds if not refund.is_ended)
        fee = Fee(f"txn_{number}", draw(st.integers(-3, 9)))
        figure: Reported = {
            "stage": Stage.COMPLETED,
            "amount_minor": captured,
            "authorized_minor": amount,
            "refunded_minor": draw(st.sampled_from([None, total])),
            "refunded_fell_minor": draw(st.sampled_from([0, max(0, refunded - total)])),
            "fees": (fee,) if fee.amount_minor else (),
            "occurred_at": at,
        }
        refunded = total
        reported.append(figure)
        if draw(st.integers(0, 3)) == 0:
            # an invoice or a session, which knows less of what was collected
            billed = {"amount_minor": draw(st.integers(0, amount)), "refunded_minor": None, "is_billed": True}
            reported.append({**figure, **billed})
    chosen = draw(st.lists(st.sampled_from(reported), min_size=1, max_size=7))
    if any("refunds" in one for one in chosen) and any("stage" in one for one in chosen):
        # a refund of what is never reported as captured waits for it in one order, and is booked in another
        figures = [one for one in reported if "stage" in one and "is_billed" not in one]
        chosen.append(max(figures, key=itemgetter("amount_minor")))
    return chosen


@st.composite
def _disputes(draw: st.DrawFn, amount: int) -> Reported:
    """What is reported of one of two disputes of a payment."""
    number = draw(st.integers(1, 2))
    state = draw(st.sampled_from(DisputeState))
    is_closed = state in (DisputeState.WON, DisputeState.LOST)
    closed_at = OPENED_AT - timedelta(minutes=draw(st.integers(0, 3))) if is_closed and draw(st.booleans()) else None
    # a dispute may become smaller, or larger
    disputed, reported_at = max(1, amount // (number + draw(st.integers(1, 2)))), None
    if draw(st.booleans()):
        reported_at = OPENED_AT - timedelta(minutes=draw(st.integers(0, 3)))
    return {
        "disputes": (Dispute(f"dp_{number}", disputed, state, closed_at, reported_at),),
        "fees": draw(st.sampled_from([(), (Fee(f"txn_dp_{number}", 15, FeeKind.DISPUTE),)])),
        "failure_reason": draw(_REASON),
    }


@st.composite
def _stories(draw: st.DrawFn, number: int) -> Story:
    amount = draw(_AMOUNT_MINOR)
    is_of_order = draw(st.booleans())
    shape = st.one_of(
        st.fixed_dictionaries(
            {
                "stage": st.just(Stage.COMPLETED),
                "amount_minor": st.just(amount),
                "refunded_minor": st.one_of(st.just(0), st.integers(0, amount)),
                "fee_minor": st.sampled_from([None, 0, 3, 7]),
                "method": st.sampled_from([None, "cib", "edahabia"]),
                "occurred_at": st.sampled_from([None, OPENED_AT - timedelta(hours=30), OPENED_AT - timedelta(days=5)]),
            }
        ),
        st.fixed_dictionaries(
            {
                "stage": st.sampled_from([stage for stage in Stage if stage is not Stage.COMPLETED]),
                # a hold may be for more than is collected, and so may an attempt that failed
                "amount_minor": st.one_of(st.just(amount), _AMOUNT_MINOR),
                "fee_minor": st.sampled_from([None, 5]),
                "method": st.sampled_from([None, "card"]),
                "failure_reason": _REASON,
            }
        ),
        # nothing but a total given back; sometimes more than was paid
        st.fixed_dictionaries({"refunded_minor": st.one_of(st.integers(0, amount), st.just(amount + 1))}),
        _disputes(amount),
        st.just({"stage": Stage.COMPLETED, "amount_minor": amount, "currency": "EUR"}),
    )
    events = st.lists(shape, min_size=1, max_size=6)
    objects = st.tuples(_captures(amount), st.lists(_disputes(amount), max_size=3)).map(lambda two: two[0] + two[1])
    return Story(
        reference=f"R{number}",
        order_number=f"O{number}" if is_of_order else None,
        amount_minor=amount,
        has_checkout=is_of_order and draw(st.booleans()),
        events=tuple({**reported, "purpose": draw(_PURPOSE)} for reported in draw(st.one_of(events, objects))),
        is_by_customer=draw(st.integers(0, 4)) == 0,
    )


@st.composite
def histories(draw: st.DrawFn) -> History:
    """One to three payments, some for one order, and up to four subscriptions."""
    stories = [draw(_stories(number)) for number in range(draw(st.integers(1, 3)))]
    if len(stories) > 1 and stories[0].has_checkout and draw(st.booleans()):
        # a second try for the same order, which has no row of its own; nothing is refunded of it one by one
        amount = stories[0].amount_minor
        again = tuple(
            {
                **reported,
                "refunds": (),
                **({"amount_minor": amount, "authorized_minor": None} if "stage" in reported else {}),
            }
            for reported in stories[1].events
        )
        first = stories[0]
        stories[1] = replace(
            stories[1],
            order_number=first.order_number,
            amount_minor=first.amount_minor,
            has_checkout=False,
            events=again,
        )
    status = st.sampled_from(["pending_payment"] * 4 + ["active", "cancelled"])
    is_over = st.sampled_from([False] * 4 + [True])
    subscriptions = draw(st.lists(st.tuples(st.integers(0, 250), status, is_over), max_size=4))
    return History(tuple(stories), tuple(subscriptions))


class Reporting:
    """One history sent to one school."""

    def __init__(self, history: History, school: School, provider: str) -> None:
        self.school = school
        self.harness = Harness(school, provider=provider)
        self.user_id = school.add_user()
        self.subscription_ids = [
            school.add_subscription(
                self.user_id,
                amount,
                status=status,
                created_at=OPENED_AT + timedelta(minutes=turn),
                ends_at=OPENED_AT - timedelta(days=1) if is_over else None,
            )
            for turn, (amount, status, is_over) in enumerate(history.subscriptions)
        ]
        for story in history.stories:
            if story.has_checkout:
                self.harness.check_out(
                    self.user_id,
                    story.amount_minor,
                    order_number=story.order_number,
                    method=self._method(story, history),
                )
        self.event_ids = [self._report(story, reported) for story in history.stories for reported in story.events]

    def repeat(self, index: int) -> int:
        """The event of that index sent again under an id of its own."""
        row = self.school.event(self.event_ids[index])
        body = self.harness.psp.write(self.harness.psp.written(row.body))
        return self.school.add_event(row.provider, row.reference, body, row.received_at)

    def settle_all(self, event_ids: Iterable[int]) -> list[EventState | None]:
        """Settle them one after the other, then those that wait until none of them moves, then let the rest die."""
        verdicts = [self._settle(event_id) for event_id in event_ids]
        while self._waiting():
            before = len(self._waiting())
            verdicts += [self._settle(event_id) for event_id in self._waiting()]
            if len(self._waiting()) == before:
                break
        self.harness.pass_time(timedelta(hours=25))
        for _ in range(MIN_TRIES):
            verdicts += [self._settle(event_id) for event_id in self._waiting()]
        assert not self._waiting()
        return verdicts

    def settle_together(self, event_ids: Sequence[int], size: int) -> None:
        """The same in batches of so many, each understood before any of it is booked."""
        for first in range(0, len(event_ids), size):
            understood = [self.harness.settlement.understand(number) for number in event_ids[first : first + size]]
            self.harness.settlement.book_all([one for one in understood if one])
            self.check()
        self.settle_all([])

    def outcome(self) -> Outcome:
        mine = [payment for payment in self.school.payments() if payment.provider == self.harness.provider]
        rows = [
            tuple(str(value) for value in (
                payment.reference, payment.order_number, payment.user_id == self.user_id, payment.amount_minor,
                payment.currency, payment.status, _sorted(payment.state), payment.credited_minor, payment.fee_minor,
                payment.method, payment.failure_reason, payment.completed_at, payment.registered_minor,
                payment.amount_told_at, self._place(payment.subscription_id),
            ))
            for payment in mine
        ]  # fmt: skip
        sums: Counter[str] = Counter()
        for line in self._lines():
            sums[line.account.kind] += line.amount_minor
        return Outcome(
            payments=tuple(sorted(rows)),
            balance=self.school.balance(self.user_id),
            subscriptions=tuple(self.school.subscription(number).status for number in self.subscription_ids),
            sums=tuple(sorted((kind, total) for kind, total in sums.items() if total)),
            refused=tuple(self._refused(event_id) for event_id in self.event_ids),
        )

    def _report(self, story: Story, reported: Reported) -> int:
        # only what has the amount names the payer, as with a provider that sends its metadata with the payment alone
        names_user = "amount_minor" in reported and not story.has_checkout and not story.is_by_customer
        reported = {**reported}
        purpose = reported.pop("purpose")
        if purpose is not None and purpose < len(self.subscription_ids):
            reported["subscription_id"] = self.subscription_ids[purpose]
        return self.harness.receive(
            reference=story.reference,
            order_number=story.order_number,
            user_id=self.user_id if names_user else None,
            payers=(f"cus_{self.user_id}",),
            **reported,
        )

    def _place(self, subscription_id: int | None) -> int | None:
        return None if subscription_id is None else self.subscription_ids.index(subscription_id)

    @staticmethod
    def _method(story: Story, history: History) -> str | None:
        """What the checkout alone knows goes to whichever payment of the order is first: no order can change that."""
        shares = [other for other in history.stories if other.order_number == story.order_number]
        return "cib" if len(shares) == 1 else None

    def _refused(self, event_id: int) -> EventState | None:
        """Which of two events that report the same is applied, and which is ignored, is the order's to say."""
        state = self.school.event(event_id).state
        return None if state in (EventState.APPLIED, EventState.IGNORED) else state

    def _settle(self, event_id: int) -> EventState | None:
        verdict = self.harness.settle(event_id)
        self.check()
        return None if verdict is None else verdict.state

    def _waiting(self) -> Sequence[int]:
        return [
            row.id
            for row in self.school.events()
            if row.provider == self.harness.provider and row.state is EventState.RECEIVED
        ]

    def _lines(self) -> list[Any]:
        mine = {row.id for row in self.school.events() if row.provider == self.harness.provider}
        return [line for line in self.school.lines() if line.event_id in mine]

    def check(self) -> None:
        """What holds after every single step."""
        lines = self._lines()
        for currency in {line.currency for line in lines}:
            assert sum(line.amount_minor for line in lines if line.currency == currency) == 0
        wallet = [line for line in lines if line.account.kind is AccountKind.WALLET]
        assert all(line.account.user_id == self.user_id for line in wallet)
        assert self.school.balance(self.user_id) == sum(line.amount_minor for line in wallet)
        assert self.school.balance(self.user_id) >= 0
        for payment in self.school.payments():
            assert 0 <= payment.credited_minor <= payment.amount_minor
        postings = Counter((line.event_id, line.kind, line.account) for line in lines if "activation" not in line.kind)
        assert set(postings.values()) <= {1}


def _sorted(state: PaymentState) -> tuple[Any, ...]:
    objects = (state.refunds, state.disputes, state.fees)
    return state.stage, state.refunded, *(tuple(sorted(known.items())) for known in objects)


def schedules(count: int) -> st.SearchStrategy[list[int]]:
    """Every event at least once, in any order, some more than once."""
    again = st.lists(st.integers(0, count - 1), max_size=4)
    return again.flatmap(lambda extra: st.permutations(list(itertools.chain(range(count), extra))))
