"""Checkouts in PostgreSQL: one row for each order at a provider, made with its payment in one transaction."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from services.webhook_gateway.errors import ConflictingCheckoutError, UnknownUserError
from services.webhook_gateway.payments.model import Payment
from services.webhook_gateway.providers.base import ProviderCheckout
from services.webhook_gateway.school_api.checkouts.checkouts import CheckoutRequest, KnownCheckout
from services.webhook_gateway.settlement.register_payment import register_payment
from services.webhook_gateway.settlement.settlement_store import SettlementStore, retry_on_conflict
from shared.runtime.failpoints import failpoint

#: A request that has not kept the provider's answer by then was lost; longer than any request takes.
LEASE: Final = timedelta(minutes=1)
#: PostgreSQL's foreign_key_violation: of a new payment only the user can be unknown.
_FOREIGN_KEY: Final = "23503"

# one request of an order at a time: two of them would each register a payment in place of one that has ended
_LOCK = text("""
SELECT id FROM checkouts WHERE provider = :provider AND order_number = :order_number FOR NO KEY UPDATE
""")
_FIND = text("""
SELECT checkout.id, checkout.payment_id, checkout.return_url, checkout.redirect_url, payment.user_id,
    coalesce(payment.registered_minor, payment.amount_minor) AS amount_minor, payment.currency, payment.status,
    payment.registered_subscription_id
FROM checkouts AS checkout JOIN payments AS payment ON payment.id = checkout.payment_id
WHERE checkout.provider = :provider AND checkout.order_number = :order_number
""")
_PAID = text("SELECT id FROM payments WHERE order_number = :order_number AND completed_at IS NOT NULL LIMIT 1")
_OPEN = text("""
INSERT INTO payments (provider, order_number, user_id, amount_minor, currency, subscription_id,
    registered_subscription_id)
VALUES (:provider, :order_number, :user_id, :amount_minor, :currency, :subscription_id, :subscription_id) RETURNING id
""")
_KEEP = text("""
INSERT INTO checkouts (payment_id, provider, order_number, return_url, token_name)
VALUES (:payment_id, :provider, :order_number, :return_url, :token_name)
""")
_AGAIN = text("""
UPDATE checkouts SET payment_id = :payment_id, return_url = :return_url, token_name = :token_name, begun_at = now()
WHERE id = :id
""")
_LEASE = text("""
UPDATE checkouts SET begun_at = now() WHERE id = :id AND redirect_url IS NULL AND begun_at < now() - :lease RETURNING id
""")
_ANSWER = text("""
UPDATE checkouts SET provider_checkout_id = :checkout_id, redirect_url = :redirect_url WHERE payment_id = :payment_id
""")
_RELEASE = text("UPDATE checkouts SET begun_at = 'epoch' WHERE payment_id = :payment_id AND redirect_url IS NULL")
_END = text("""
UPDATE payments SET status = 'failed', failure_reason = 'the provider refused the checkout', next_ask_at = NULL
WHERE id = :payment_id AND status = 'pending' AND provider_reference IS NULL
""")

Store = Callable[[], AbstractContextManager[SettlementStore]]


class PostgresCheckouts:
    """Implements `Checkouts`. `books` opens the store that a settlement books in."""

    def __init__(self, engine: Engine, books: Store) -> None:
        self._engine = engine.execution_options(isolation_level="READ COMMITTED")
        self._books = books

    def begin(self, provider: str, request: CheckoutRequest, token_name: str) -> KnownCheckout:
        values = {
            "provider": provider,
            "order_number": request.order_number,
            "user_id": request.user_id,
            "amount_minor": request.amount_minor,
            "currency": request.currency,
            "subscription_id": request.subscription_id,
            "return_url": request.return_url,
            "token_name": token_name,
        }
        try:
            with self._engine.begin() as connection:
                return self._begin(connection, request, values)
        except IntegrityError as error:
            if getattr(error.orig, "pgcode", None) == _FOREIGN_KEY:
                raise UnknownUserError(request.user_id) from None
        # another request was first to insert the order's row
        with self._engine.begin() as connection:
            return self._begin(connection, request, values)

    def _begin(self, connection: Connection, request: CheckoutRequest, values: dict[str, Any]) -> KnownCheckout:
        connection.scalar(_LOCK, values)
        row = connection.execute(_FIND, values).one_or_none()
        has_ended = row is not None and row.redirect_url is None and row.status in ("failed", "canceled", "expired")
        if row is not None and not has_ended:
            leased = row.redirect_url is None and connection.scalar(_LEASE, {"id": row.id, "lease": LEASE}) is not None
            kept = CheckoutRequest(
                user_id=row.user_id,
                order_number=request.order_number,
                amount_minor=row.amount_minor,
                currency=row.currency,
                subscription_id=row.registered_subscription_id,
                return_url=row.return_url,
            )
            return KnownCheckout(row.payment_id, kept, row.status, row.redirect_url, leased)
        if paid := connection.scalar(_PAID, values):
            raise ConflictingCheckoutError(f"Order {request.order_number} is paid already, by payment {paid}.")
        payment_id = connection.scalar(_OPEN, values)
        assert payment_id is not None
        values = {**values, "payment_id": payment_id}
        if row is None:
            connection.execute(_KEEP, values)
        else:
            connection.execute(_AGAIN, {**values, "id": row.id})
        return KnownCheckout(payment_id, request, "pending", None, True)

    def finish(self, provider: str, payment_id: int, request: CheckoutRequest, made: ProviderCheckout) -> None:
        values = {"checkout_id": made.checkout_id, "redirect_url": made.redirect_url, "payment_id": payment_id}
        with self._engine.begin() as connection:
            connection.execute(_ANSWER, values)
        failpoint("checkout.after_keep")
        if made.reference is None:
            return
        payment = Payment.begun(
            provider,
            made.reference,
            order_number=request.order_number,
            user_id=request.user_id,
            amount_minor=request.amount_minor,
            currency=request.currency,
            subscription_id=request.subscription_id,
        )

        def write() -> None:
            with self._books() as books:
                register_payment(payment, books, datetime.now(UTC))

        retry_on_conflict(write)

    def give_up(self, payment_id: int, *, has_ended: bool) -> None:
        with self._engine.begin() as connection:
            connection.execute(_RELEASE, {"payment_id": payment_id})
            if has_ended:
                connection.execute(_END, {"payment_id": payment_id})
