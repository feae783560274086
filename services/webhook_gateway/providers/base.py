"""The protocol of a payment provider: verify a request, and parse it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

from services.webhook_gateway.payments.objects import Dispute, Fee, FeeKind, Refund, Total, merge_objects
from services.webhook_gateway.payments.payment_state import PaymentState, Stage

#: Where an adapter that checks a signed time gets ours from; aware.
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Request:
    """A provider's request as it came: nothing decoded, nothing inflated.

    `headers` have lower-case names. `body` is the raw bytes that carry the message: the body, or the query string of
    a GET.
    """

    method: str
    headers: Mapping[str, str]
    body: bytes


class Mode(StrEnum):
    """Whether real money moved."""

    LIVE = "live"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Proof:
    """Why a request is believed.

    `signed` is false for a request that nobody signed: it is a hint, and may only make us ask the provider.
    `secret` says which of the active secrets matched, by its place in the setting (0 is the first).
    `mode` is what the matching secret is for, where it says so.
    `body` is what is kept in place of the request's body, where strangers can change that without a trace: the
    canonical form of what is signed or, of a hint, its named parameters.
    """

    signed: bool
    secret: int | None = None
    mode: Mode | None = None
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentNotice:
    """What a request reports about one payment, in our words: integers of minor units, ISO 4217 codes, aware instants.

    `key` is what makes the event the same event when it comes again. `kind` is the provider's own word.
    `reference` is the provider's id of the payment, `order_number` ours. `None` means that it was not reported.
    `hint` means that the provider has to be asked before any of it is believed. A notice without a `reference` reports
    nothing about a payment and is ignored, unless it says who pays (`payers`).

    `amount_minor` is what was collected (or held, or tried); `authorized_minor` is what that was a part of, where a
    provider lets the school collect less than the payer agreed to. `refunded_minor` is the provider's cumulative
    figure; `refunds`, `disputes` and `fees` are its objects, which rule where they are known. `payers` are the
    provider's ids of what says who pays (an invoice, a subscription, a customer; the nearest first), `invoice` is the
    invoice that the payment pays, and `subscription_id` is the school's subscription that it is made for.
    `checkout` is the provider's id of the page on which the payer paid: a school may have registered the payment under
    it, and a payment that the payer has not begun has no other id. `checkout_prefix` is how such an id begins, where
    a separate event names the checkout of a payment.
    `is_billed` is true where `amount_minor` is what a bill asked for (an invoice, a checkout session): what the payment
    itself collected outranks it. `refunded_fell_minor` is by how much the cumulative figure fell with this event.
    `unbooked` says what of the money is not booked, with both values. `api_version` is the version of its API in which
    the provider wrote the event, where it writes one event in several.
    """

    key: str
    kind: str
    reference: str | None = None
    order_number: str | None = None
    user_id: int | None = None
    stage: Stage = Stage.PENDING
    amount_minor: int | None = None
    authorized_minor: int | None = None
    refunded_minor: int | None = None
    refunds: tuple[Refund, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    fees: tuple[Fee, ...] = ()
    fee_minor: int | None = None
    currency: str | None = None
    method: str | None = None
    failure_reason: str | None = None
    mode: Mode | None = None
    occurred_at: datetime | None = None
    hint: bool = False
    payers: tuple[str, ...] = ()
    invoice: str | None = None
    subscription_id: int | None = None
    checkout: str | None = None
    checkout_prefix: str | None = None
    is_billed: bool = False
    refunded_fell_minor: int = 0
    unbooked: str | None = None
    api_version: str | None = None

    @property
    def state(self) -> PaymentState:
        """The part of the notice that moves a payment."""
        refunded = Total()
        if self.refunded_minor is not None:
            refunded = Total(self.refunded_minor, self.occurred_at, self.refunded_fell_minor)
        return PaymentState(
            self.stage,
            refunded,
            merge_objects({}, self.refunds),
            merge_objects({}, self.disputes),
            merge_objects({}, self.fees),
        )


#: The method of a request that is a provider's answer to a question of ours. No server of ours takes it from outside.
ANSWER: Final = "ANSWER"
#: The header of such a request that says which payment was asked about, where the answer itself may not.
ASKED_ABOUT: Final = "asked-about"
#: The header of such a request that says when it was asked, in Unix seconds, where the answer itself does not.
ASKED_AT: Final = "asked-at"
#: The header of such an answer to a refund of ours: its key, its amount and when it was asked for.
REFUND_OF_OURS: Final = "refund-of-ours"
#: The header of such an answer that says how much of the payment was refunded before it (minor units).
REFUNDED_BEFORE: Final = "refunded-before"
#: The kept header that says what the key is for that proved a request; intake writes it, and no sender's is kept.
KEY_MODE: Final = "key-mode"
#: The kept header that says in which version of its API the provider wrote the event; written by intake likewise.
API_VERSION: Final = "api-version"


def notice_fault(
    payments_mode: Mode, key_mode: str | None, notice: PaymentNotice, *, is_accepted: bool = False
) -> str | None:
    """Why `notice` moves no money whatever it is about, with both values; None where it may.

    `payments_mode` is the mode of this installation (`NOUBA_PAYMENTS_MODE`), `key_mode` that of the key that signed.
    An operator can accept a fee, and never a mode.
    """
    if key_mode is not None and notice.mode is not None and key_mode != notice.mode:
        return f"signed with a {key_mode} key, but says it is {notice.mode}"
    mode = notice.mode or key_mode
    if mode is not None and mode != payments_mode:
        return f"a {mode} payment, NOUBA_PAYMENTS_MODE is {payments_mode}"
    fee, amount = notice.fee_minor, notice.amount_minor
    if notice.stage is Stage.COMPLETED and notice.fees:
        # of a charge, and not of its refund or dispute, which may cost more than they move
        fee = sum(one.amount_minor for one in notice.fees if one.kind is FeeKind.PAYMENT)
    if fee is not None and amount is not None and fee > amount and not is_accepted:
        return f"the fee {fee} is above the amount {amount} (minor units)"
    return None


@dataclass(frozen=True, slots=True)
class ProviderReply:
    """What a provider said when it was asked: its own bytes, as a request of method `ANSWER` that `parse` reads."""

    request: Request
    proof: Proof


class Provider(Protocol):
    """One provider. To add one, write these names in a file of its own and one line in `registry`."""

    #: The name in the address, the settings and the tables.
    name: str
    #: The HTTP methods it uses.
    methods: frozenset[str]
    #: The request headers that `parse` needs; no other header is ever kept.
    kept_headers: frozenset[str]

    def verify(self, request: Request) -> Proof:
        """Prove that the provider sent `request`, over the raw bytes and in constant time.

        Raises InvalidSignatureError where it cannot be proved.
        """
        ...

    def parse(self, request: Request) -> PaymentNotice:
        """Say what `request` reports; called only on what `verify` let pass.

        Raises UnreadableEventError where it does not have the provider's form.
        """
        ...


@runtime_checkable
class ConfirmsPayments(Protocol):
    """A provider whose requests are only hints: the truth comes from asking it."""

    def ask(self, notice: PaymentNotice) -> PaymentNotice:
        """What the provider itself says about `notice.reference`, never a hint; `key` is kept.

        Without a `reference` where the provider knows no such payment.
        Raises ProviderUnavailableError where it does not answer now or has not decided yet, and UnreadableEventError
        where its
        answer does not have its form.
        """
        ...


@runtime_checkable
class CountsDeliveries(Protocol):
    """A provider whose event holds something that differs from one delivery of it to the next."""

    def without_count(self, body: bytes) -> bytes:
        """The body with that made equal: two deliveries are of one event where this is the same."""
        ...


@runtime_checkable
class PollsPayments(Provider, Protocol):
    """A provider that can be asked how a payment stands, so that one whose webhook was lost is found."""

    def enquire(self, reference: str) -> ProviderReply | None:
        """What the provider says of the payment `reference` now; None where it knows none.

        Raises ProviderUnavailableError where it gives no answer that can be used.
        """
        ...


@runtime_checkable
class RefundsPayments(Provider, Protocol):
    """A provider that can be asked for a refund. Of two requests with the same key it makes one (see CountsRefunds)."""

    def refund(self, reference: str, amount_minor: int, key: str) -> ProviderReply:
        """Begin a refund of the payment `reference`: what the provider says of it, as `parse` reads it.

        Raises RefundRefusedError where it will not, and ProviderUnavailableError where it is not known whether it has.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutOrder:
    """What a payer is sent to a provider for. `payment_id` is ours and the same at every try."""

    payment_id: int
    user_id: int
    order_number: str
    amount_minor: int
    currency: str
    subscription_id: int | None
    return_url: str


@dataclass(frozen=True, slots=True)
class ProviderCheckout:
    """A checkout at the provider, and where the payer goes. `reference` is the payment's, where it has one already."""

    checkout_id: str
    redirect_url: str
    reference: str | None


@runtime_checkable
class CreatesCheckouts(Provider, Protocol):
    """A provider that makes checkouts: pages where a payer pays."""

    def check_order(self, order: CheckoutOrder) -> None:
        """Raises CheckoutRefusedError for an order that the provider's documentation rules out; asks nobody."""
        ...

    def create_checkout(self, order: CheckoutOrder) -> ProviderCheckout:
        """A new checkout, whose events name the order and the user.

        Raises CheckoutRefusedError where the provider will not, and ProviderUnavailableError where it is not known
        whether it
        has: nobody was sent to that checkout, so a second one is harmless.
        """
        ...


@runtime_checkable
class CountsRefunds(Protocol):
    """A provider that makes a refund of every request, and says how much was refunded."""

    def refunded_minor(self, reference: str) -> int | None:
        """How much of the payment is refunded now; None where the provider does not report.

        Raises ProviderUnavailableError where it gives no answer that can be used.
        """
        ...

    def refund_made(self, reference: str, amount_minor: int, key: str) -> ProviderReply:
        """The answer to a refund that was lost, once the provider's figure shows that the refund was made."""
        ...
