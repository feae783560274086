"""What the tests of settlement see of the school, whether it is in memory or in PostgreSQL."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from services.webhook_gateway.payments.ledger import Account
from services.webhook_gateway.payments.model import Event, Payment
from services.webhook_gateway.settlement.settlement_store import SettlementStore
from shared.contracts.payments import PaymentSettled
from shared.contracts.webhooks import EventState

#: When the school of the tests began, and the time on their clock at first.
OPENED_AT = datetime(2026, 3, 1, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """An event as it is kept."""

    id: int
    provider: str
    reference: str | None
    body: bytes
    received_at: datetime
    state: EventState = EventState.RECEIVED
    reason: str | None = None
    payment_id: int | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = None
    tries: int = 0
    taken_up_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SubscriptionRow:
    """A subscription as it is kept."""

    id: int
    user_id: int
    amount_minor: int
    status: str
    created_at: datetime
    ends_at: datetime | None = None
    activated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the ledger with its transaction's kind and event."""

    event_id: int | None
    kind: str
    account: Account
    amount_minor: int
    currency: str


class School(Protocol):
    """Puts rows in place as the school and the gateway would, opens the books, and shows what they hold."""

    #: What the books raise where a rule of the database is broken.
    refusal: type[Exception]

    def add_user(self) -> int: ...
    def add_subscription(
        self,
        user_id: int,
        amount_minor: int,
        *,
        status: str = ...,
        ends_at: datetime | None = ...,
        created_at: datetime = ...,
    ) -> int: ...
    def change_price(self, subscription_id: int, amount_minor: int) -> None: ...
    def add_payment(self, payment: Payment) -> int: ...
    def add_event(self, provider: str, reference: str | None, body: bytes, received_at: datetime) -> int: ...

    def accept(self, event_id: int) -> None: ...
    def read(self, event_id: int) -> Event | None: ...
    def books(self) -> AbstractContextManager[SettlementStore]: ...

    def event(self, event_id: int) -> EventRow: ...
    def events(self) -> Sequence[EventRow]: ...
    def payment(self, payment_id: int) -> Payment: ...
    def payments(self) -> Sequence[Payment]: ...
    def subscription(self, subscription_id: int) -> SubscriptionRow: ...
    def balance(self, user_id: int) -> int: ...
    def lines(self) -> Sequence[Line]: ...
    def messages(self) -> Sequence[PaymentSettled]: ...
