"""SATIM, the processor of CIB and EDAHABIA cards (the BPC platform): requests are hints, the bank's answer counts.

A payer's browser comes back with `?orderId=`, which nobody signs; a bank that has callbacks switched on sends
`mdOrder, operation, status` and perhaps a `checksum`, which does not say when it was made. Either may only make us ask.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Final, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from services.webhook_gateway.errors import CheckoutRefusedError, InvalidSignatureError, UnreadableEventError
from services.webhook_gateway.payments.objects import Refund, RefundState
from services.webhook_gateway.providers.base import (
    ANSWER,
    ASKED_ABOUT,
    REFUND_OF_OURS,
    REFUNDED_BEFORE,
    CheckoutOrder,
    Clock,
    Mode,
    PaymentNotice,
    Proof,
    ProviderCheckout,
    ProviderReply,
    Request,
)
from services.webhook_gateway.providers.satim.bpc_checksum import UNSIGNED, Checksum, checksum_of
from services.webhook_gateway.providers.satim.orders import OrderCalls
from services.webhook_gateway.providers.settings import ProviderSettings

_ORDER_NUMBER = re.compile(r"[0-9A-Za-z]{1,10}")
#: Fifty dinars.
SMALLEST_ORDER_MINOR: Final = 5000
_ORDER_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_WORD = re.compile(r"[0-9A-Za-z_-]{0,40}")
_PARAMETERS_LIMIT: Final = 50
_DIGEST_CHARACTERS: Final = 16
#: What is kept of a request that nobody signed: less than 1 KiB, whatever came with it.
_HINT_PARAMETERS: Final = ("mdOrder", "operation", "status")
#: The platform's operations; another word in an unsigned request is no reason of its own to ask.
_OPERATIONS: Final = frozenset(
    {"approved", "deposited", "reversed", "refunded", "declinedByTimeout", "declinedCardPresent", "declined"}
)
#: A hint that is repeated within this is the same hint; later, it is a new reason to ask.
HINT_SECONDS: Final = 60


class Satim:
    """Three steps instead of two: verify, parse, and ask."""

    name = "satim"
    methods = frozenset({"GET", "POST"})
    kept_headers: frozenset[str] = frozenset()

    def __init__(
        self,
        *,
        username: str,
        password: str,
        base_url: str,
        checksum: Checksum | None = None,
        terminal: str | None = None,
        now: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self._checksum = checksum
        self._terminal = terminal
        self._now = now
        self._base_url = base_url
        self._credentials = {"userName": username, "password": password}

    @classmethod
    def build(cls, settings: ProviderSettings, now: Clock) -> Self | None:
        """The adapter that the settings describe, or None where they leave it off."""
        if not settings.satim_is_on or settings.satim_username is None or settings.satim_password is None:
            return None
        return cls(
            username=settings.satim_username,
            password=settings.satim_password.get_secret_value(),
            base_url=settings.satim_base_url,
            checksum=checksum_of(settings),
            terminal=settings.satim_terminal,
            now=now,
        )

    def verify(self, request: Request) -> Proof:
        """A callback's checksum, where the bank makes them. A hint that is not one order's plain name is refused."""
        parameters = _parameters(request.body)
        if self._is_signed(parameters):
            assert self._checksum is not None
            secret = self._checksum.matching_key(parameters)
            return Proof(signed=True, secret=secret, body=_signed_form(parameters))
        try:
            body = _hint_form(parameters)
        except UnreadableEventError as error:
            # nobody vouches for it, so it is not kept either
            raise InvalidSignatureError(str(error)) from None
        return Proof(signed=False, body=body)

    def parse(self, request: Request) -> PaymentNotice:
        """Which order to ask for, never more."""
        if request.method == ANSWER:
            return self._read(request)
        parameters = _parameters(request.body)
        order_id, (operation, status) = _order_id(parameters), _words(parameters)
        kind = operation or "redirect"
        if self._is_signed(parameters):
            # the platform numbers no events: two callbacks that differ in what is signed (a second refund) are two
            # reasons to ask; order, encoding and unsigned parameters are anybody's
            digest = hashlib.sha256(_signed_form(parameters)).hexdigest()[:_DIGEST_CHARACTERS]
            return PaymentNotice(key=f"{order_id}:{kind}:{status}:{digest}", kind=kind, reference=order_id, hint=True)
        named = operation if operation in _OPERATIONS else ""
        minute = int(self._now().timestamp()) // HINT_SECONDS
        key = f"hint:{order_id}:{named}:{status if status in ('0', '1') else ''}:{minute}"
        return PaymentNotice(key=key, kind=kind, reference=order_id, hint=True)

    def _is_signed(self, parameters: Mapping[str, str]) -> bool:
        return self._checksum is not None and not _is_browser(parameters)

    def ask(self, notice: PaymentNotice) -> PaymentNotice:
        """Confirm the order and read its state."""
        return self._orders.ask(notice)

    def enquire(self, reference: str) -> ProviderReply | None:
        """The same as it came; confirming keeps the bank from cancelling what was paid."""
        body = self._orders.enquire(reference)
        if body is None:
            return None
        return ProviderReply(
            Request(ANSWER, {ASKED_ABOUT: reference}, body), Proof(signed=True, mode=_mode(self._base_url))
        )

    def check_order(self, order: CheckoutOrder) -> None:
        """SATIM takes dinars, and numbers of at most ten letters and digits."""
        if self._terminal is None:
            raise CheckoutRefusedError("Set NOUBA_PSP_SATIM_TERMINAL to the bank's terminal (force_terminal_id).")
        if order.currency != "DZD" or order.amount_minor < SMALLEST_ORDER_MINOR:
            raise CheckoutRefusedError(f"SATIM takes DZD, amount_minor {SMALLEST_ORDER_MINOR} at least.")
        if not _ORDER_NUMBER.fullmatch(order.order_number):
            raise CheckoutRefusedError("SATIM takes an order_number of 1 to 10 letters and digits.")

    def create_checkout(self, order: CheckoutOrder) -> ProviderCheckout:
        """An order at the bank, whose mdOrder is the payment's reference."""
        assert self._terminal is not None
        return self._orders.register(order, self._terminal)

    def refund(self, reference: str, amount_minor: int, key: str) -> ProviderReply:
        """Refund a part or all; the bank makes a refund of every request, and knows no keys."""
        return self._refund_reply(reference, amount_minor, key, self._orders.refund(reference, amount_minor))

    def refunded_minor(self, reference: str) -> int | None:
        """All that is refunded of the order."""
        return self._orders.refunded_minor(reference)

    def refund_made(self, reference: str, amount_minor: int, key: str) -> ProviderReply:
        """The answer that was lost."""
        return self._refund_reply(reference, amount_minor, key, b'{"errorCode": 0}')

    def _refund_reply(self, reference: str, amount_minor: int, key: str, body: bytes) -> ProviderReply:
        # the bank's answer names neither the order nor the amount
        asked = f"{amount_minor} {int(self._now().timestamp())} {key}"
        headers = {ASKED_ABOUT: reference, REFUND_OF_OURS: asked}
        return ProviderReply(Request(ANSWER, headers, body), Proof(signed=True, mode=_mode(self._base_url)))

    def _read(self, answer: Request) -> PaymentNotice:
        reference = answer.headers[ASKED_ABOUT]
        if REFUND_OF_OURS in answer.headers:
            return _refund_notice(reference, answer.headers, _mode(self._base_url))
        found = self._orders.read(PaymentNotice(key="", kind="answer", reference=reference), answer.body)
        # the platform numbers no events: the state is what can repeat
        return replace(
            found,
            key=f"answer:{reference}:{found.stage.name.lower()}:{found.amount_minor}:{found.refunded_minor}",
        )

    @cached_property
    def _orders(self) -> OrderCalls:
        # made where it is first used, after the process forked: only workers ask
        return OrderCalls(self._base_url, self._credentials, _mode(self._base_url))


def _refund_notice(reference: str, headers: Mapping[str, str], mode: Mode | None) -> PaymentNotice:
    """A refund that the bank has made for us: it has no number of its own, so the key of ours is its id.

    The bank's total grew by it. Like the totals of the bank, this one has no time: the largest counts.
    """
    amount, seconds, key = headers[REFUND_OF_OURS].split(" ", 2)
    before = headers.get(REFUNDED_BEFORE)
    began_at = datetime.fromtimestamp(int(seconds), UTC)
    refund = Refund(id=key, amount_minor=int(amount), state=RefundState.SUCCEEDED, began_at=began_at)
    return PaymentNotice(
        key=f"refund:{reference}:{key}",
        kind="refund",
        reference=reference,
        refunded_minor=None if before is None else int(before) + refund.amount_minor,
        refunds=(refund,),
        mode=mode,
    )


def _parameters(body: bytes) -> dict[str, str]:
    """The form or query. What two readers could read differently is refused, before its checksum is checked."""
    try:
        pairs: Sequence[tuple[str, str]] = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_PARAMETERS_LIMIT
        )
    except ValueError:
        raise InvalidSignatureError(f"The parameters are not a form of at most {_PARAMETERS_LIMIT} fields.") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise InvalidSignatureError("A parameter is given twice.")
    if any(";" in name or ";" in value for name, value in pairs):
        raise InvalidSignatureError("A parameter holds a semicolon, which the checksum uses between parameters.")
    return parameters


def _is_browser(parameters: Mapping[str, str]) -> bool:
    return "orderId" in parameters and not parameters.keys() & {"mdOrder", "operation", "checksum"}


def _order_id(parameters: Mapping[str, str]) -> str:
    named = {parameters[name] for name in ("mdOrder", "orderId") if name in parameters}
    if len(named) != 1 or not _ORDER_ID.fullmatch(order_id := named.pop()):
        raise UnreadableEventError("The request must name one order, in mdOrder (a callback) or orderId (a browser).")
    return order_id


def _words(parameters: Mapping[str, str]) -> tuple[str, str]:
    operation, status = parameters.get("operation", ""), parameters.get("status", "")
    if not _WORD.fullmatch(operation) or not _WORD.fullmatch(status):
        raise UnreadableEventError("operation and status must be plain words.")
    return operation, status


def _signed_form(parameters: Mapping[str, str]) -> bytes:
    """What the checksum covers, and the checksum: one spelling, whatever order and encoding came."""
    kept = [(name, value) for name, value in parameters.items() if name == "checksum" or name not in UNSIGNED]
    return urlencode(sorted(kept)).encode()


def _hint_form(parameters: Mapping[str, str]) -> bytes:
    """One order's name and what is said to have happened. Raises UnreadableEventError where that is no plain hint."""
    order_id, (operation, status) = _order_id(parameters), _words(parameters)
    if not operation and not status:
        return urlencode({"orderId": order_id}).encode()
    given = zip(_HINT_PARAMETERS, (order_id, operation, status), strict=True)
    return urlencode([(name, value) for name, value in given if value]).encode()


def _mode(base_url: str) -> Mode | None:
    """SATIM's certification hosts move no money; another address says nothing either way."""
    host = urlsplit(base_url).hostname or ""
    if not host.endswith("satim.dz"):
        return None
    return Mode.TEST if host.startswith("test") else Mode.LIVE
