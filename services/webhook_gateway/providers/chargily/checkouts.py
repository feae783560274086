"""Reads a checkout from Chargily's API: with the same secret keys that sign its webhooks, each in its own mode."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import httpx

from services.webhook_gateway.errors import CheckoutRefusedError, ProviderUnavailableError, UnreadableEventError
from services.webhook_gateway.providers import fields
from services.webhook_gateway.providers.base import (
    ANSWER,
    CheckoutOrder,
    Mode,
    Proof,
    ProviderCheckout,
    ProviderReply,
    Request,
)
from services.webhook_gateway.providers.fields import checkout_url
from services.webhook_gateway.providers.http_client import TIMEOUT, WITHIN_REQUEST_SECONDS, fetch
from shared.runtime.trusted_certificates import trusted_certificates

CENTIMES_PER_DINAR: Final = 100
_CREATE_NAME: Final = "Chargily's checkout creation"
_LIVE_PATH: Final = "/api/v2"
_TEST_PATH: Final = "/test/api/v2"


class CheckoutCalls:
    """Chargily's REST interface with one merchant's keys. A checkout is known to the keys of its own mode only."""

    def __init__(self, base_url: str, keys: Sequence[tuple[str, Mode | None]]) -> None:
        self._keys = keys
        self._client = httpx.Client(base_url=base_url, timeout=TIMEOUT, verify=trusted_certificates())

    def create(self, order: CheckoutOrder) -> ProviderCheckout:
        """A checkout of the first key's mode. See `CreatesCheckouts.create_checkout`."""
        key, mode = self._keys[0]
        metadata = {"order_id": order.order_number, "user_id": order.user_id, "payment_id": order.payment_id}
        if order.subscription_id is not None:
            metadata["subscription_id"] = order.subscription_id
        wanted = {
            "amount": order.amount_minor // CENTIMES_PER_DINAR,
            "currency": "dzd",
            "success_url": order.return_url,
            "failure_url": order.return_url,
            "metadata": metadata,
        }
        fetched = fetch(
            self._client,
            "POST",
            f"{_TEST_PATH if mode is Mode.TEST else _LIVE_PATH}/checkouts",
            name=_CREATE_NAME,
            within_seconds=WITHIN_REQUEST_SECONDS,
            headers={"Authorization": f"Bearer {key}"},
            json=wanted,
        )
        if fetched.status in (401, 403):
            raise ProviderUnavailableError("Chargily refuses NOUBA_PSP_CHARGILY_SECRETS; renew the first key.")
        if fetched.status >= 400:
            raise CheckoutRefusedError(f"Chargily refuses the checkout with status {fetched.status}.")
        try:
            made = fields.json_object(fetched.body)
            checkout_id = fields.identifier(made.get("id"), "id")
            redirect_url = checkout_url(made.get("checkout_url"))
        except UnreadableEventError as error:
            raise ProviderUnavailableError(f"{_CREATE_NAME} gave no checkout: {error}") from None
        return ProviderCheckout(checkout_id, redirect_url, checkout_id)

    def enquire(self, checkout_id: str) -> ProviderReply | None:
        """The checkout as it came; None where no key's mode knows it. See `PollsPayments.enquire`."""
        refused = False
        for place, (key, mode) in enumerate(self._keys):
            path = f"{_TEST_PATH if mode is Mode.TEST else _LIVE_PATH}/checkouts/{quote(checkout_id, safe='')}"
            authorization = {"Authorization": f"Bearer {key}"}
            fetched = fetch(self._client, "GET", path, name="Chargily's checkout call", headers=authorization)
            if fetched.status == httpx.codes.OK:
                _require_checkout(fetched.body, checkout_id)
                return ProviderReply(Request(ANSWER, {}, fetched.body), Proof(signed=True, secret=place, mode=mode))
            if fetched.status != httpx.codes.NOT_FOUND:
                refused = True  # perhaps a key that was taken away at Chargily; another may still do
        if refused:
            raise ProviderUnavailableError(
                "Chargily refuses a key of NOUBA_PSP_CHARGILY_SECRETS; take it out or renew it."
            )
        return None


def _require_checkout(body: bytes, checkout_id: str) -> None:
    """An answer about something else is none: it must not be booked, and the question stays open."""
    try:
        answered_id = fields.json_object(body).get("id")
    except UnreadableEventError:
        raise ProviderUnavailableError("Chargily's checkout call did not answer with a JSON object.") from None
    if answered_id != checkout_id:
        raise ProviderUnavailableError("Chargily's checkout call answered about another checkout.")
