"""The school in memory: books that keep a transaction or none of it, and refuse what the database would refuse."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from services.webhook_gateway.payments.ledger import AccountKind, Transaction, TransactionKind
from services.webhook_gateway.payments.model import Credit, Event, Link, Payment, Subscription
from services.webhook_gateway.settlement.settlement_store import SettlementKeys, SettlementResult
from shared.contracts.payments import PaymentSettled
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.factories import OPENED_AT, EventRow, Line, SubscriptionRow

BIGINT = range(-(2**63), 2**63)


class RefusedError(Exception):
    """What PostgreSQL would raise: the transaction is lost."""


class NoRateLimit:
    """A rate limit that is never reached; fails the test if a request is refused."""

    def count_refusal(self, provider: str) -> None:
        raise AssertionError(f"a request of {provider} was refused")

    def count_hint(self, provider: str, reference: str | None, client: str) -> None:
        """A payer's return is not signed."""


@dataclass(frozen=True, slots=True)
class Posting:
    """A transaction of the ledger and the event that caused it."""

    event_id: int | None
    transaction: Transaction


@dataclass(slots=True)
class Tables:
    """Rows are values, so a copy of the tables is a copy of everything."""

    users: dict[int, int] = field(default_factory=dict)
    payments: dict[int, Payment] = field(default_factory=dict)
    subscriptions: dict[int, SubscriptionRow] = field(default_factory=dict)
    events: dict[int, EventRow] = field(default_factory=dict)
    postings: list[Posting] = field(default_factory=list)
    messages: list[PaymentSettled] = field(default_factory=list)
    links: list[tuple[str, Link]] = field(default_factory=list)

    def copy(self) -> "Tables":
        return Tables(
            dict(self.users),
            dict(self.payments),
            dict(self.subscriptions),
            dict(self.events),
            list(self.postings),
            list(self.messages),
            list(self.links),
        )


class FakeSchool:
    """Implements `School` without a database."""

    refusal: type[Exception] = RefusedError

    def __init__(self, subscription_period: timedelta = timedelta(days=30)) -> None:
        self._period = subscription_period
        self._tables = Tables()
        self._accepted: set[int] = set()

    def accept(self, event_id: int) -> None:
        """An operator accepts a quarantined or dead event."""
        self._accepted.add(event_id)
        self._tables.events[event_id] = replace(self._tables.events[event_id], state=EventState.RECEIVED)

    def add_user(self) -> int:
        user_id = len(self._tables.users) + 1
        self._tables.users[user_id] = 0
        return user_id

    def add_subscription(
        self,
        user_id: int,
        amount_minor: int,
        *,
        status: str = "pending_payment",
        ends_at: datetime | None = None,
        created_at: datetime = OPENED_AT,
    ) -> int:
        row = SubscriptionRow(len(self._tables.subscriptions) + 1, user_id, amount_minor, status, created_at, ends_at)
        self._tables.subscriptions[row.id] = row
        return row.id

    def change_price(self, subscription_id: int, amount_minor: int) -> None:
        row = self._tables.subscriptions[subscription_id]
        self._tables.subscriptions[subscription_id] = replace(row, amount_minor=amount_minor)

    def add_payment(self, payment: Payment) -> int:
        payment_id = len(self._tables.payments) + 1
        self._tables.payments[payment_id] = replace(payment, id=payment_id)
        return payment_id

    def add_event(self, provider: str, reference: str | None, body: bytes, received_at: datetime) -> int:
        row = EventRow(
            id=len(self._tables.events) + 1, provider=provider, reference=reference, body=body, received_at=received_at
        )
        self._tables.events[row.id] = row
        return row.id

    def read(self, event_id: int) -> Event | None:
        row = self._tables.events.get(event_id)
        if row is None or row.state is not EventState.RECEIVED:
            return None
        return Event(
            id=row.id,
            provider=row.provider,
            method="POST",
            headers={},
            body=row.body,
            received_at=row.received_at,
            attempts=row.attempts,
            tries=row.tries,
            taken_up_at=row.taken_up_at,
            accepted=event_id in self._accepted,
        )

    @contextmanager
    def books(self) -> Iterator["FakeBooks"]:
        draft = self._tables.copy()
        yield FakeBooks(draft, self._period)
        self._tables = draft

    def event(self, event_id: int) -> EventRow:
        return self._tables.events[event_id]

    def events(self) -> Sequence[EventRow]:
        return list(self._tables.events.values())

    def payment(self, payment_id: int) -> Payment:
        return self._tables.payments[payment_id]

    def payments(self) -> Sequence[Payment]:
        return list(self._tables.payments.values())

    def subscription(self, subscription_id: int) -> SubscriptionRow:
        return self._tables.subscriptions[subscription_id]

    def balance(self, user_id: int) -> int:
        return self._tables.users[user_id]

    def lines(self) -> Sequence[Line]:
        return [
            Line(posting.event_id, posting.transaction.kind, account, amount, posting.transaction.currency)
            for posting in self._tables.postings
            for account, amount in posting.transaction.entries
        ]

    def messages(self) -> Sequence[PaymentSettled]:
        return list(self._tables.messages)


class FakeBooks:
    """Implements `SettlementStore` over tables that only its transaction sees."""

    def __init__(self, tables: Tables, subscription_period: timedelta) -> None:
        self._tables = tables
        self._period = subscription_period

    def claim(self, event_ids: Collection[int], abouts: Iterable[SettlementKeys] = ()) -> Collection[int]:
        rows = self._tables.events
        return {number for number in event_ids if number in rows and rows[number].state is EventState.RECEIVED}

    def find(self, provider: str, reference: str, order_number: str | None) -> Payment | None:
        ranked = [
            (0 if row.reference == reference else 1 if row.reference is None else 2, row.id)
            for row in self._tables.payments.values()
            if row.provider == provider
            and (row.reference == reference or (order_number is not None and row.order_number == order_number))
        ]
        return self._tables.payments[min(ranked)[1]] if ranked else None

    def registered(self, provider: str, user_id: int, prefix: str) -> Sequence[Payment]:
        return [
            row
            for row in self._tables.payments.values()
            if (row.provider, row.user_id, row.status) == (provider, user_id, "pending")
            and (row.reference is None or row.reference.startswith(prefix))
        ]

    def open(self, payment: Payment) -> Payment | None:
        assert payment.reference is not None
        found = self.find(payment.provider, payment.reference, None)
        if found is not None:
            return found
        if payment.user_id not in self._tables.users:
            return None
        opened = replace(payment, id=len(self._tables.payments) + 1)
        self._tables.payments[opened.id] = opened
        return opened

    def save(self, payment: Payment) -> None:
        _require(0 <= payment.credited_minor <= payment.amount_minor, "credit_within_amount")
        others = (row for row in self._tables.payments.values() if row.id != payment.id)
        taken = any((row.provider, row.reference) == (payment.provider, payment.reference) for row in others)
        _require(payment.reference is None or not taken, "a reference names one payment")
        self._tables.payments[payment.id] = payment

    def balance(self, user_id: int) -> int:
        return self._tables.users[user_id]

    def post(self, transaction: Transaction, event_id: int | None) -> None:
        key = (event_id, transaction.kind, transaction.subscription_id)
        keys = {
            (posting.event_id, posting.transaction.kind, posting.transaction.subscription_id)
            for posting in self._tables.postings
        }
        _require(event_id is None or key not in keys, "an event moves the money of a payment or a subscription once")
        self._tables.postings.append(Posting(event_id, transaction))
        for account, amount_minor in transaction.entries:
            _require(amount_minor != 0 and amount_minor in BIGINT, "an entry is an amount")
            if account.kind is AccountKind.WALLET:
                assert account.user_id is not None
                balance = self._tables.users[account.user_id] + amount_minor
                _require(balance in BIGINT, "a balance is a bigint")
                self._tables.users[account.user_id] = balance

    def pending_subscriptions(self, user_id: int) -> Sequence[Subscription]:
        return [
            Subscription(row.id, row.amount_minor, row.created_at, row.ends_at)
            for row in self._of(user_id, "pending_payment")
        ]

    def paid_subscriptions(self, user_id: int) -> Sequence[Subscription]:
        rows = reversed(self._of(user_id, "active"))
        return [
            Subscription(row.id, self._paid_minor(row.id), row.created_at, row.ends_at)
            for row in rows
            if self._is_paid(row.id)
        ]

    def credits(self, user_id: int) -> Sequence[Credit]:
        return [
            Credit(
                payment.completed_at,
                (payment.provider, payment.reference or ""),
                payment.credited_minor,
                payment.subscription_id,
            )
            for payment in self._tables.payments.values()
            if payment.user_id == user_id and payment.completed_at is not None
        ]

    def links(self, provider: str, object_ids: Iterable[str]) -> Sequence[Link]:
        wanted = set(object_ids)
        return [link for owner, link in self._tables.links if owner == provider and link.object_id in wanted]

    def add_links(self, provider: str, links: Iterable[Link]) -> None:
        for link in links:
            is_known = (provider, link) in self._tables.links
            if not is_known and (link.user_id is None or link.user_id in self._tables.users):
                self._tables.links.append((provider, link))

    def paid_before(self, payment: Payment) -> int | None:
        others = [
            (one.completed_at, one.id)
            for one in self._tables.payments.values()
            if (one.order_number, one.user_id) == (payment.order_number, payment.user_id)
            and one.completed_at is not None
            and one.id != payment.id
        ]
        return min(others)[1] if others and payment.order_number is not None else None

    def activate(self, subscription_id: int, at: datetime) -> None:
        row = self._tables.subscriptions[subscription_id]
        self._tables.subscriptions[subscription_id] = replace(
            row, status="active", activated_at=at, ends_at=row.ends_at or at + self._period
        )

    def deactivate(self, subscription_id: int) -> None:
        row = self._tables.subscriptions[subscription_id]
        assert row.activated_at is not None
        ours = row.ends_at == row.activated_at + self._period
        self._tables.subscriptions[subscription_id] = replace(
            row, status="pending_payment", activated_at=None, ends_at=None if ours else row.ends_at
        )

    def close(self, event_id: int, verdict: SettlementResult) -> None:
        row = self._tables.events[event_id]
        self._tables.events[event_id] = replace(
            row, state=verdict.state, reason=verdict.reason, payment_id=verdict.payment_id, next_attempt_at=None
        )

    def park(self, event_id: int, reason: str, until: datetime, tried_at: datetime | None = None) -> None:
        row = self._tables.events[event_id]
        row = replace(row, reason=reason, attempts=row.attempts + 1, next_attempt_at=until)
        if tried_at is not None:
            row = replace(row, tries=row.tries + 1, taken_up_at=row.taken_up_at or tried_at)
        self._tables.events[event_id] = row

    def release(self, provider: str, reference: str, at: datetime) -> None:
        for row in list(self._tables.events.values()):
            is_about_it = (row.provider, row.reference, row.state) == (provider, reference, EventState.RECEIVED)
            if is_about_it and row.attempts > 0 and row.next_attempt_at is not None and row.next_attempt_at > at:
                self._tables.events[row.id] = replace(row, next_attempt_at=at)

    def announce(self, payment_id: int, day: date) -> None:
        self._tables.messages.append(PaymentSettled(payment_id=payment_id, day=day))

    def _of(self, user_id: int, status: str) -> list[SubscriptionRow]:
        rows = (row for row in self._tables.subscriptions.values() if (row.user_id, row.status) == (user_id, status))
        return sorted(rows, key=lambda row: (row.created_at, row.id))

    def _is_paid(self, subscription_id: int) -> bool:
        turns = [posting.transaction.kind for posting in self._of_subscription(subscription_id)]
        return turns.count(TransactionKind.ACTIVATION) > turns.count(TransactionKind.DEACTIVATION)

    def _paid_minor(self, subscription_id: int) -> int:
        return sum(
            amount_minor
            for posting in self._of_subscription(subscription_id)
            for account, amount_minor in posting.transaction.entries
            if account.kind is AccountKind.REVENUE
        )

    def _of_subscription(self, subscription_id: int) -> list[Posting]:
        return [row for row in self._tables.postings if row.transaction.subscription_id == subscription_id]


def _require(condition: bool, rule: str) -> None:
    if not condition:
        raise RefusedError(rule)
