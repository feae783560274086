"""Polls SATIM about an order, and parses its answer."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import httpx

from services.webhook_gateway.errors import (
    CheckoutRefusedError,
    PaymentPendingError,
    PaymentUnknownToProviderError,
    ProviderUnavailableError,
    RefundRefusedError,
    UnreadableEventError,
)
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers import fields
from services.webhook_gateway.providers.base import CheckoutOrder, Mode, PaymentNotice, ProviderCheckout
from services.webhook_gateway.providers.http_client import TIMEOUT, WITHIN_REQUEST_SECONDS, WITHIN_SECONDS, fetch
from shared.runtime.trusted_certificates import trusted_certificates

#: In this order: the first confirms (an order that nobody confirms is cancelled after a while), the others only read.
#: Which of the two a merchant may use is the bank's choice.
CALLS: Final = (
    ("public/acknowledgeTransaction.do", "mdOrder"),
    ("getOrderStatusExtended.do", "orderId"),
    ("getOrderStatus.do", "orderId"),
)
_REGISTER_CALL: Final = "register.do"
#: `register.do`: an order of this number exists; the credentials or the terminal are wrong.
_KNOWN_NUMBER, _ACCESS_DENIED = 1, 5
_REFUND_CALL: Final = "refund.do"
_REFUNDED_CALL: Final = "getOrderStatusExtended.do"
STAGES: Final[Mapping[int, Stage]] = {
    -1: Stage.FAILED,
    0: Stage.PENDING,
    1: Stage.AUTHORIZED,
    2: Stage.COMPLETED,
    3: Stage.CANCELED,
    4: Stage.COMPLETED,  # and given back since
    5: Stage.PENDING,  # the card holder is with the bank's 3-D Secure page
    6: Stage.FAILED,
}
PAID, REVERSED, REFUNDED = 2, 3, 4
#: An answer with one of these is final whatever its ErrorCode says.
_DECLINED: Final = frozenset({-1, 3, 6})
_UNKNOWN_ORDER: Final = 6
#: `actionCode` says why an order that is not paid is not.
_ACTIONS: Final[Mapping[int, Stage]] = {10: Stage.CANCELED, -2007: Stage.EXPIRED}
_CURRENCIES: Final[Mapping[str, str]] = {"012": "DZD", "12": "DZD", "978": "EUR", "840": "USD"}
_INTEGER = re.compile(r"(-?[0-9]{1,18})(?:\.0+)?")


class OrderCalls:
    """SATIM's REST interface with one merchant's credentials."""

    def __init__(self, base_url: str, credentials: Mapping[str, str], mode: Mode | None) -> None:
        self._credentials = credentials
        self._mode = mode
        self._client = httpx.Client(base_url=base_url, timeout=TIMEOUT, verify=trusted_certificates())

    def ask(self, notice: PaymentNotice) -> PaymentNotice:
        """What the bank says of `notice.reference`; see `ConfirmsPayments.ask`."""
        assert notice.reference is not None
        body = self.enquire(notice.reference)
        if body is None:
            return replace(notice, reference=None, hint=False, failure_reason="SATIM knows no such order")
        answer = self.read(notice, body)
        if answer.stage is Stage.PENDING:
            raise PaymentPendingError("The payer has not finished at the bank; the order will be asked for again.")
        return answer

    def enquire(self, order_id: str) -> bytes | None:
        """The bank's answer about the order as it came, from the first call that gives its state."""
        codes = []
        for call, parameter in CALLS:
            body = self._call(call, {parameter: order_id})
            answer = _object(body) or {}
            status, code = _integer(answer, "orderStatus"), _integer(answer, "errorCode")
            if status is not None and (code == 0 or status in _DECLINED):
                return body
            codes.append(code)
        # a call that is not switched on for the merchant says nothing against the others
        if {code for code in codes if code is not None} == {_UNKNOWN_ORDER}:
            return None
        raise PaymentUnknownToProviderError(
            f"SATIM answered with ErrorCode {', '.join(map(str, codes))}; "
            "5 means that NOUBA_PSP_SATIM_USERNAME or _PASSWORD is wrong or may not make this call."
        )

    def register(self, order: CheckoutOrder, terminal: str) -> ProviderCheckout:
        """Register an order (`register.do`), which a payer pays at `formUrl`."""
        form = {
            "orderNumber": order.order_number,
            "amount": str(order.amount_minor),
            "currency": "012",
            "returnUrl": order.return_url,
            "jsonParams": json.dumps({"force_terminal_id": terminal, "udf1": order.order_number}),
        }
        answer = _object(self._call(_REGISTER_CALL, form, WITHIN_REQUEST_SECONDS)) or {}
        code = _integer(answer, "errorCode")
        if code == _ACCESS_DENIED:
            raise ProviderUnavailableError(
                "SATIM answered register.do with ErrorCode 5: check NOUBA_PSP_SATIM_USERNAME, _PASSWORD and _TERMINAL."
            )
        if code == _KNOWN_NUMBER:
            raise CheckoutRefusedError(
                f"SATIM has an order {order.order_number} already; begin again with a new order_number."
            )
        if code is None:
            raise ProviderUnavailableError("SATIM's register.do gave no ErrorCode.")
        if code != 0:
            reason = fields.description(answer.get("errormessage")) or "without a word"
            raise CheckoutRefusedError(f"SATIM refuses the order with ErrorCode {code}: {reason}")
        try:
            order_id = fields.identifier(answer.get("orderid"), "orderId")
            return ProviderCheckout(order_id, fields.checkout_url(answer.get("formurl")), order_id)
        except UnreadableEventError as error:
            raise ProviderUnavailableError(f"SATIM's register.do gave no order: {error}") from None

    def refund(self, order_id: str, amount_minor: int) -> bytes:
        """The bank's answer to a refund, as it came. It makes one of every request. Raises RefundRefusedError."""
        body = self._call(_REFUND_CALL, {"orderId": order_id, "amount": str(amount_minor)})
        answer = _object(body) or {}
        code = _integer(answer, "errorCode")
        if code is None:
            raise ProviderUnavailableError("SATIM's refund.do gave no ErrorCode: nobody knows whether it refunded.")
        if code != 0:
            reason = fields.description(answer.get("errormessage")) or "without a word"
            raise RefundRefusedError(f"SATIM refuses it with ErrorCode {code}: {reason}")
        return body

    def refunded_minor(self, order_id: str) -> int | None:
        """What is refunded of the order, where the bank's newer call reports it; None where it does not."""
        answer = _object(self._call(_REFUNDED_CALL, {"orderId": order_id})) or {}
        return _integer(_within(answer, "paymentAmountInfo"), "refundedAmount")

    def _call(self, call: str, parameters: Mapping[str, str], within_seconds: float = WITHIN_SECONDS) -> bytes:
        # by POST, so that the password stays out of every access log
        form = {**self._credentials, **parameters, "language": "FR"}
        fetched = fetch(self._client, "POST", call, name=f"SATIM's {call}", within_seconds=within_seconds, data=form)
        if 400 <= fetched.status < 500:
            return b"{}"  # a call that the bank has not switched on for this merchant: the next one is tried
        if fetched.status != 200 or _object(fetched.body) is None:
            raise ProviderUnavailableError(f"SATIM's {call} did not answer with a JSON object.")
        return fetched.body

    def read(self, notice: PaymentNotice, body: bytes) -> PaymentNotice:
        """What the bank's answer `body` says of the order in `notice`.

        Raises UnreadableEventError where it says no state.
        """
        answer = _object(body, _one_value_each) or {}
        status = _integer(answer, "orderStatus")
        if status is None:
            raise UnreadableEventError("SATIM's answer has no OrderStatus.")
        stage = _stage(answer, status)
        amount = _amount(answer, stage, status)
        return replace(
            notice,
            hint=False,
            order_number=fields.loose_identifier(answer.get("ordernumber")),
            stage=stage,
            amount_minor=amount,
            refunded_minor=_refunded(answer, status, amount),
            currency=_currency(answer, stage),
            method="card",
            failure_reason=None if stage is Stage.COMPLETED else _reason(answer),
            mode=self._mode,
        )


def _one_value_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return fields.one_value_each([(name.lower(), value) for name, value in pairs])


def _object(
    body: bytes, make: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None
) -> dict[str, Any] | None:
    """The answer with its names in lower case; None where it is no JSON object."""
    try:
        answer = json.loads(body.decode(), parse_float=str, object_pairs_hook=make)
    except (ValueError, RecursionError):
        return None
    return {str(name).lower(): value for name, value in answer.items()} if isinstance(answer, dict) else None


def _stage(answer: Mapping[str, Any], status: int) -> Stage:
    if status not in STAGES:
        raise UnreadableEventError(f"SATIM's OrderStatus {status} is not a payment's.")
    if status == REVERSED and _within(answer, "params").get("respcode") == "00":
        # SATIM's certification wants this one reported to the payer as a rejection, though the card's bank said yes
        return Stage.FAILED
    if status not in (PAID, REFUNDED):
        return _ACTIONS.get(_integer(answer, "actionCode") or 0, STAGES[status])
    return STAGES[status]


def _refunded(answer: Mapping[str, Any], status: int, amount: int | None) -> int:
    if amount is None:
        return 0
    if status == REVERSED:
        return amount  # of a payment that was collected before, all of it went back
    if status != REFUNDED:
        return 0
    sums = _within(answer, "paymentAmountInfo")
    refunded = _integer(sums, "refundedAmount")
    kept = _integer(answer, "depositAmount")
    kept = _integer(sums, "depositedAmount") if kept is None else kept
    if refunded is None and kept is not None:
        refunded = amount - kept
    if refunded is None or not 0 < refunded <= amount:
        figures = f"Amount {amount}, depositAmount {kept}, refundedAmount {_integer(sums, 'refundedAmount')}"
        raise UnreadableEventError(
            f"SATIM says that the order is refunded, and its figures do not say how much: {figures}"
        )
    return refunded


def _amount(answer: Mapping[str, Any], stage: Stage, status: int) -> int | None:
    """What was collected, which can be less than what was ordered; only money that came needs an amount."""
    amount = _integer(answer, "amount")
    if status == PAID:
        amount = _integer(answer, "depositAmount") or amount
    return None if amount is None and stage is not Stage.COMPLETED else fields.amount_minor(amount, "SATIM's Amount")


def _currency(answer: Mapping[str, Any], stage: Stage) -> str | None:
    currency = answer.get("currency")
    if currency is None and stage is not Stage.COMPLETED:
        return None
    return _CURRENCIES.get(str(currency)) or fields.currency(currency)


def _reason(answer: Mapping[str, Any]) -> str | None:
    reason = answer.get("actioncodedescription") or _within(answer, "params").get("respcode_desc")
    return fields.description(reason or answer.get("errormessage"))


def _within(answer: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = answer.get(name.lower())
    return {str(key).lower(): inner for key, inner in value.items()} if isinstance(value, dict) else {}


def _integer(answer: Mapping[str, Any], name: str) -> int | None:
    """Numbers arrive as numbers or as text, once even with a decimal point; None where there is none."""
    value = answer.get(name.lower())
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _INTEGER.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(match[1]) if match else None
