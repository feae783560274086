"""Settlement harness: a provider that sends what the test wants, a clock, and the school."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from services.webhook_gateway.errors import UnreadableEventError
from services.webhook_gateway.payments.model import Payment
from services.webhook_gateway.payments.payment_state import PaymentState
from services.webhook_gateway.providers.base import PaymentNotice, Proof, Request
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.settlement.settle import Settlement
from services.webhook_gateway.settlement.settlement_store import SettlementResult
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.factories import OPENED_AT, School


class FakePsp:
    """A provider whose request means the notice that was given for it, and which answers what it was given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.methods = frozenset({"POST"})
        self.kept_headers: frozenset[str] = frozenset()
        self.asked: list[str | None] = []
        self.parsed: list[bytes] = []
        self.answer: PaymentNotice | Exception | None = None
        self._notices: dict[bytes, PaymentNotice] = {}

    def write(self, notice: PaymentNotice) -> bytes:
        """The body that means `notice`, another one each time."""
        body = f"{self.name}-{len(self._notices)}".encode()
        self._notices[body] = notice
        return body

    def written(self, body: bytes) -> PaymentNotice:
        """What `body` means."""
        return self._notices[body]

    def verify(self, request: Request) -> Proof:
        return Proof(signed=True)

    def parse(self, request: Request) -> PaymentNotice:
        self.parsed.append(request.body)
        if request.body not in self._notices:
            raise UnreadableEventError("The body must be one that was written before.")
        return self._notices[request.body]

    def ask(self, notice: PaymentNotice) -> PaymentNotice:
        self.asked.append(notice.reference)
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer


@dataclass
class Clock:
    """Shows what it is set to."""

    at: datetime = OPENED_AT

    def __call__(self) -> datetime:
        return self.at


@dataclass
class Harness:
    """One provider's notices to one school."""

    school: School
    zone: str = "Africa/Algiers"
    provider: str = "psp"
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.psp = FakePsp(self.provider)
        self.settlement = Settlement(
            read=self.school.read,
            books=self.school.books,
            providers={self.provider: self.psp},
            asks={self.provider: self.psp},
            terms=WalletPolicy("DZD", ZoneInfo(self.zone), now=self.clock),
        )

    def receive(self, **reported: Any) -> int:
        """Keep an event that reports this, and return its id."""
        notice = PaymentNotice(**{"key": "", "kind": "reported", "reference": "R1", **reported})
        return self.school.add_event(self.provider, notice.reference, self.psp.write(notice), self.clock())

    def settle(self, event_id: int) -> SettlementResult | None:
        return self.settlement.settle(event_id)

    def book(self, **reported: Any) -> SettlementResult:
        """Keep an event that reports this, and settle it."""
        verdict = self.settle(self.receive(**reported))
        assert verdict is not None
        return verdict

    def check_out(self, user_id: int, amount_minor: int, **known: Any) -> int:
        """The row that the school's checkout makes before the payer goes to the provider."""
        row = {"reference": None, "order_number": None, "currency": "DZD", "state": PaymentState(), **known}
        return self.school.add_payment(
            Payment(id=0, provider=self.provider, user_id=user_id, amount_minor=amount_minor, **row)
        )

    def pass_time(self, duration: timedelta) -> None:
        self.clock.at += duration

    def settle_due(self) -> int:
        """Settle the parked events whose time has come, as their messages would, and say how many there were."""
        due = [
            row.id
            for row in self.school.events()
            if row.state is EventState.RECEIVED
            and row.next_attempt_at is not None
            and row.next_attempt_at <= self.clock()
        ]
        for event_id in due:
            self.settle(event_id)
        return len(due)
