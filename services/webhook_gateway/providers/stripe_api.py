"""Stripe's API by its official library: how a payment stands with its refunds, disputes and fees, and a new refund.

This module is imported where Stripe is first asked: the library is large, and processes that only take webhooks do
without it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import httpx
import stripe

from services.webhook_gateway.errors import (
    CheckoutRefusedError,
    ProviderUnavailableError,
    RefundRefusedError,
    UnreadableEventError,
)
from services.webhook_gateway.providers import fields
from services.webhook_gateway.providers.base import (
    ANSWER,
    ASKED_AT,
    CheckoutOrder,
    Mode,
    Proof,
    ProviderCheckout,
    ProviderReply,
    Request,
)
from services.webhook_gateway.providers.http_client import TIMEOUT, WITHIN_SECONDS, fetch
from services.webhook_gateway.providers.stripe_events import stripes_units
from shared.runtime.trusted_certificates import trusted_certificates

#: How many refunds or disputes one page of an answer has, at Stripe's most.
PAGE: Final = 100
#: More of them than any payment has; a list without an end is not followed.
MAX_OBJECTS: Final = 1000
_INTENT: Final = "payment_intent"
_CHARGE: Final = "charge"
_SESSION: Final = "session"


class StripeApi:
    """Stripe's API with one key. `account` is the connected account that the key acts for, where there is one."""

    def __init__(
        self,
        key: str,
        base_url: str,
        account: str | None,
        now: Callable[[], datetime],
        within_seconds: float = WITHIN_SECONDS,
    ) -> None:
        self._mode = _mode_of_key(key)
        self._now = now
        self._client = stripe.StripeClient(
            key,
            stripe_account=account,
            base_addresses={"api": base_url},
            http_client=_BoundedClient(within_seconds),
            # the worker has its own schedule of retries
            max_network_retries=0,
        ).v1

    def enquire(self, reference: str) -> ProviderReply | None:
        """The intent, charge or checkout session, with its refunds and disputes; None where Stripe knows none."""
        kind = _kind_of(reference)
        if kind is None:
            return None
        thing = _call(lambda: self._find(kind, reference))
        if thing is None:
            return None
        if thing.get("id") != reference:
            raise ProviderUnavailableError("Stripe answered about another payment.")
        answer: dict[str, Any] = {"payment": thing, "refunds": [], "disputes": []}
        if kind == _SESSION:
            # its payment intent, once the payer has begun one
            intent = thing.pop("payment_intent", None)
            answer |= {"session": thing, "payment": intent if isinstance(intent, dict) else None}
        paid = answer["payment"]
        if paid is not None and paid.get("status") == "succeeded":
            wanted = {_INTENT if kind == _SESSION else kind: str(paid["id"])}
            answer["refunds"] = _call(lambda: self._refunds(wanted)) or []
            answer["disputes"] = _call(lambda: self._disputes(wanted)) or []
        return self._reply(answer)

    def refund(self, reference: str, amount_minor: int, key: str) -> ProviderReply:
        """Begin a refund. Stripe makes one of all that have the same `key`.

        Raises RefundRefusedError where it will not.
        """
        kind = _kind_of(reference)
        if kind is None or kind == _SESSION:
            raise RefundRefusedError(f"{reference} is neither a payment intent nor a charge of Stripe's.")
        thing = _call(lambda: self._find(kind, reference), refused=RefundRefusedError)
        amount = stripes_units(amount_minor, thing.get("currency"))
        params: Any = {kind: reference, "amount": amount, "metadata": {"nouba_key": key}}
        made = _call(
            lambda: self._client.refunds.create(params, {"idempotency_key": key}).to_dict(for_json=True),
            refused=RefundRefusedError,
        )
        return self._reply({"refund": made})

    def create_checkout(self, order: CheckoutOrder) -> ProviderCheckout:
        """A Checkout Session. Stripe makes one of all that are for the same payment of ours."""
        metadata = {"order_id": order.order_number, "user_id": str(order.user_id)}
        if order.subscription_id is not None:
            metadata["subscription_id"] = str(order.subscription_id)
        price = {
            "currency": order.currency.lower(),
            "unit_amount": stripes_units(order.amount_minor, order.currency),
            "product_data": {"name": f"Order {order.order_number}"},
        }
        params: Any = {
            "mode": "payment",
            "line_items": [{"quantity": 1, "price_data": price}],
            "success_url": order.return_url,
            "cancel_url": order.return_url,
            "client_reference_id": str(order.user_id),
            "metadata": metadata,
            # the events of the payment itself carry these
            "payment_intent_data": {"metadata": metadata},
        }
        key = f"nouba-checkout-{order.payment_id}"
        made = _call(
            lambda: self._client.checkout.sessions.create(params, {"idempotency_key": key}).to_dict(for_json=True),
            refused=CheckoutRefusedError,
        )
        try:
            session_id = fields.identifier(made.get("id"), "id")
            intent = fields.optional_identifier(made.get("payment_intent"), "payment_intent")
            return ProviderCheckout(session_id, fields.checkout_url(made.get("url")), intent)
        except UnreadableEventError as error:
            raise ProviderUnavailableError(f"Stripe gave no checkout: {error}") from None

    def _find(self, kind: str, reference: str) -> dict[str, Any]:
        if kind == _INTENT:
            expand = {"expand": ["latest_charge.balance_transaction"]}
            return self._client.payment_intents.retrieve(reference, expand).to_dict(for_json=True)  # type: ignore[arg-type]
        if kind == _SESSION:
            within = {"expand": ["payment_intent.latest_charge.balance_transaction"]}
            return self._client.checkout.sessions.retrieve(reference, within).to_dict(for_json=True)  # type: ignore[arg-type]
        return self._client.charges.retrieve(reference, {"expand": ["balance_transaction"]}).to_dict(for_json=True)

    def _refunds(self, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
        expand = ["data.balance_transaction", "data.failure_balance_transaction"]
        params: Any = {**wanted, "limit": PAGE, "expand": expand}
        return _all(self._client.refunds.list(params).auto_paging_iter())

    def _disputes(self, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
        params: Any = {**wanted, "limit": PAGE}
        return _all(self._client.disputes.list(params).auto_paging_iter())

    def _reply(self, answer: Mapping[str, Any]) -> ProviderReply:
        body = json.dumps(answer, sort_keys=True).encode()
        # not in the body: the same answer is the same bytes, whenever it was asked for
        headers = {ASKED_AT: str(int(self._now().timestamp()))}
        return ProviderReply(Request(ANSWER, headers, body), Proof(signed=True, mode=self._mode))


class _BoundedClient(stripe.HTTPClient):
    """The library's HTTP, by our client: bounded in time and in size, whatever the other side does."""

    name = "httpx"

    def __init__(self, within_seconds: float) -> None:
        super().__init__()
        self._within_seconds = within_seconds
        self._httpx = httpx.Client(timeout=TIMEOUT, verify=trusted_certificates())

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_usage: Any
    ) -> tuple[str, int, Mapping[str, str]]:
        fetched = fetch(
            self._httpx,
            method.upper(),
            url,
            name="Stripe",
            within_seconds=self._within_seconds,
            headers=headers,
            content=post_data,
        )
        return fetched.body.decode("utf-8", "replace"), fetched.status, {}

    def close(self) -> None:
        self._httpx.close()


def _call(ask: Callable[[], Any], refused: type[Exception] | None = None) -> Any:
    """What `ask` returns; None if Stripe has no such object.

    Raises ProviderUnavailableError if Stripe does not answer.
    """
    try:
        return ask()
    except (stripe.AuthenticationError, stripe.PermissionError):
        raise ProviderUnavailableError("Stripe refuses NOUBA_PSP_STRIPE_API_KEY; renew it, or its rights.") from None
    except stripe.InvalidRequestError as error:
        if refused is not None:
            raise refused(f"Stripe refuses it: {error.user_message or error.code}") from None
        if error.http_status == httpx.codes.NOT_FOUND or error.code == "resource_missing":
            return None
        raise ProviderUnavailableError(f"Stripe did not understand the question ({error.code}).") from None
    except stripe.StripeError as error:
        raise ProviderUnavailableError(f"Stripe did not answer ({type(error).__name__}).") from None


def _all(found: Iterable[Any]) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = []
    for one in found:
        if len(objects) >= MAX_OBJECTS:
            raise ProviderUnavailableError(f"Stripe listed more than {MAX_OBJECTS} objects of one payment.")
        objects.append(one.to_dict(for_json=True))
    return objects


def _kind_of(reference: str) -> str | None:
    prefix = reference.partition("_")[0]
    return {"pi": _INTENT, "ch": _CHARGE, "py": _CHARGE, "cs": _SESSION}.get(prefix)


def _mode_of_key(key: str) -> Mode | None:
    for mode in Mode:
        if f"_{mode.value}_" in key:
            return mode
    return None
