"""A student of a school, and Stripe's events about what that student pays, settled in every order."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from zoneinfo import ZoneInfo

from services.webhook_gateway.payments.model import Payment
from services.webhook_gateway.providers.base import PaymentNotice, Request
from services.webhook_gateway.providers.stripe import Stripe
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.settlement.settle import Settlement
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.factories import OPENED_AT, School
from tests.webhook_gateway.settlement.harness import Clock
from tests.webhook_gateway.settlement.stripe_bodies import TURNS, Body, charge

PAID = charge("succeeded", 1)


def parse(body: Body | str, account: str | None = None) -> PaymentNotice:
    """What Stripe's parser reads in an event; text is sent as it stands."""
    text = body if isinstance(body, str) else json.dumps(body)
    return Stripe(["x"], account=account).parse(Request("POST", {}, text.encode()))


@dataclass
class Books:
    """A student of a school, and Stripe's events about what that student pays."""

    school: School
    turn: int = field(default_factory=lambda: next(TURNS))

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.user_id = self.school.add_user()
        self.settlement = Settlement(
            read=self.school.read,
            books=self.school.books,
            providers={"stripe": Stripe(["whsec_x"])},
            asks={},
            terms=WalletPolicy("DZD", ZoneInfo("Africa/Algiers"), now=self.clock),
        )

    def check_out(
        self, reference: str | None, amount_minor: int, subscription_id: int | None = None, order: str | None = None
    ) -> int:
        """The school registers a payment by its checkout session or its order; returns the number of the row."""
        payment = Payment.begun(
            "stripe",
            (reference or "").replace("cs_", f"cs_{self.turn}_"),
            order_number=order,
            user_id=self.user_id,
            amount_minor=amount_minor,
            currency="DZD",
            subscription_id=subscription_id,
        )
        return self.school.add_payment(replace(payment, reference=payment.reference or None))

    def subscribe(self, *prices: int) -> list[int]:
        created_at = OPENED_AT - timedelta(days=1)
        return [
            self.school.add_subscription(self.user_id, price, created_at=created_at + timedelta(minutes=turn))
            for turn, price in enumerate(prices)
        ]

    def settle(self, bodies: Sequence[Body]) -> None:
        """Settle them in this order, then again those that wait."""
        ids = []
        for body in bodies:
            text = json.dumps(body).replace("USER", str(self.user_id))
            # every run has payments, refunds and customers of its own
            for name in ("pi_", "ch_", "re_", "dp_", "cus_", "cs_", "sub_", "in_", "txn_", "evt_"):
                text = text.replace(f'"{name}', f'"{name}{self.turn}_')
            ids.append(self.school.add_event("stripe", parse(text).reference, text.encode(), self.clock()))
        for _ in range(len(ids) + 1):
            for number in ids:
                self.settlement.settle(number)
        self.states = [self.school.event(number).state for number in ids]

    @property
    def balance(self) -> int:
        return self.school.balance(self.user_id)

    @property
    def rows(self) -> list[tuple[str, int, int]]:
        mine = [one for one in self.school.payments() if one.user_id == self.user_id]
        return sorted((str(one.status), one.amount_minor, one.credited_minor) for one in mine)

    def statuses(self, subscriptions: Sequence[int]) -> list[str]:
        return [self.school.subscription(number).status for number in subscriptions]

    def sums(self, before: Counter[str] | None = None) -> Counter[str]:
        found: Counter[str] = Counter()
        for line in self.school.lines():
            found[line.account.kind] += line.amount_minor
        for kind, amount in (before or {}).items():
            found[kind] -= amount
        return Counter({kind: amount for kind, amount in found.items() if amount})


def orders(*bodies: Body) -> list[list[Body]]:
    return [list(order) for order in itertools.permutations(bodies)]


def check(school: School, bodies: Sequence[Body], row: tuple[str, int, int], **sums: int) -> None:
    """Every order of `bodies`, with one of them twice, ends in this row and moves these sums."""
    for order in orders(*bodies):
        before = Books(school).sums()
        books = Books(school)
        books.settle([*order, {**order[0], "id": f"evt_{next(TURNS)}"}])
        assert books.rows == [row], [one["type"] for one in order]
        assert books.balance == row[2]
        expected = {"user_wallet": row[2], "psp_clearing": -row[2], **sums}
        assert books.sums(before) == {kind: amount for kind, amount in expected.items() if amount}
        assert EventState.QUARANTINED not in books.states
