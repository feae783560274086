"""Use case: create a checkout at a provider, once for each order.

The payment is registered first, then the provider is called, then what the provider answered is kept: a crash between
two steps leaves a pending payment. Where the provider's answer was kept, reconciliation polls it; where it was lost, no
payer was sent anywhere, the next request for the order calls the provider again, and after a day reconciliation marks
the payment as expired.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from services.webhook_gateway.errors import (
    BadRequestError,
    CheckoutInProgressError,
    CheckoutRefusedError,
    ConflictingCheckoutError,
    ProviderUnavailableError,
)
from services.webhook_gateway.providers.base import CheckoutOrder, CreatesCheckouts, ProviderCheckout
from shared.runtime.failpoints import failpoint

_THIS_MACHINE = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutRequest:
    """What the school wants its payer to be sent for."""

    user_id: int
    order_number: str
    amount_minor: int
    currency: str
    subscription_id: int | None
    return_url: str


@dataclass(frozen=True, slots=True)
class KnownCheckout:
    """The checkout of an order as it is kept; `is_leased` where this request has to create it at the provider."""

    payment_id: int
    request: CheckoutRequest
    payment_status: str
    redirect_url: str | None
    is_leased: bool


@dataclass(frozen=True, slots=True)
class CreatedCheckout:
    """The payment, and where the payer goes."""

    payment_id: int
    redirect_url: str


class Checkouts(Protocol):
    """The checkouts of every order."""

    def begin(self, provider: str, request: CheckoutRequest, token_name: str) -> KnownCheckout:
        """The order's checkout, with a new payment where there was none; one request at a time gets it as its own.

        Raises UnknownUserError, and ConflictingCheckoutError where the order is paid already.
        """
        ...

    def finish(self, provider: str, payment_id: int, request: CheckoutRequest, made: ProviderCheckout) -> None:
        """Keep the provider's answer."""
        ...

    def give_up(self, payment_id: int, *, has_ended: bool) -> None:
        """The next request may begin again; with another payment where this one `has_ended`."""
        ...


class ReturnUrls:
    """Where payers may come back to: addresses that begin with one of these, host and port and whole folders."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = [urlsplit(url) for url in allowed]

    def require(self, url: str) -> None:
        """Raises BadRequestError."""
        if not self._allowed:
            raise BadRequestError("return_url: set NOUBA_CHECKOUT_RETURN_URLS to where payers may come back to.")
        if not any(_is_below(url, allowed) for allowed in self._allowed):
            raise BadRequestError("return_url: it begins with none of NOUBA_CHECKOUT_RETURN_URLS.")


def create_checkout(
    psp: CreatesCheckouts, request: CheckoutRequest, token_name: str, checkouts: Checkouts
) -> CreatedCheckout:
    """The order's checkout; asking again for the same order returns the same one.

    Raises UnknownUserError, ConflictingCheckoutError, CheckoutInProgressError, CheckoutRefusedError or
    ProviderUnavailableError.
    """
    psp.check_order(_order(0, request))
    known = checkouts.begin(psp.name, request, token_name)
    _require_same(request, known)
    if known.redirect_url is not None:
        return CreatedCheckout(known.payment_id, known.redirect_url)
    if not known.is_leased:
        raise CheckoutInProgressError
    failpoint("checkout.after_begin")
    try:
        made = psp.create_checkout(_order(known.payment_id, request))
    except CheckoutRefusedError:
        checkouts.give_up(known.payment_id, has_ended=True)
        raise
    except ProviderUnavailableError:
        checkouts.give_up(known.payment_id, has_ended=False)
        raise
    failpoint("checkout.after_call")
    checkouts.finish(psp.name, known.payment_id, request, made)
    return CreatedCheckout(known.payment_id, made.redirect_url)


def _order(payment_id: int, request: CheckoutRequest) -> CheckoutOrder:
    return CheckoutOrder(
        payment_id=payment_id,
        user_id=request.user_id,
        order_number=request.order_number,
        amount_minor=request.amount_minor,
        currency=request.currency,
        subscription_id=request.subscription_id,
        return_url=request.return_url,
    )


def _require_same(request: CheckoutRequest, known: KnownCheckout) -> None:
    if request != known.request:
        raise ConflictingCheckoutError(
            f"Order {request.order_number} has a checkout (payment {known.payment_id}) with another user, amount, "
            "currency, subscription or return_url; give each order its own number."
        )
    if known.payment_status != "pending":
        raise ConflictingCheckoutError(
            f"Payment {known.payment_id} of order {request.order_number} is {known.payment_status}; "
            "begin again with a new order_number."
        )


def _is_below(url: str, allowed: SplitResult) -> bool:
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        given = urlsplit(url)
        # a program on this machine listens on whatever port is free
        is_port_free = allowed.port is None and allowed.hostname in _THIS_MACHINE
        same_place = (given.scheme, given.hostname) == (allowed.scheme, allowed.hostname) and (
            is_port_free or given.port == allowed.port
        )
    except ValueError:
        return False
    folder = allowed.path.rstrip("/")
    # a browser walks up dots before it asks
    is_plain = "@" not in given.netloc and ".." not in given.path and "%2e" not in given.path.lower()
    return same_place and is_plain and (given.path == folder or given.path.startswith(f"{folder}/"))
