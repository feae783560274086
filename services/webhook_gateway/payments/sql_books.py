"""The books in PostgreSQL: one connection, one transaction, rows locked until its end.

Locks are taken in one order (event, payment, user, subscriptions), so that two settlements never wait for each other.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, Engine, Row, case, cast, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.webhook_gateway.payments.books import State, Verdict
from services.webhook_gateway.payments.ledger import Account, AccountKind, Transaction, TransactionKind
from services.webhook_gateway.payments.payment import Event, Payment, Subscription
from services.webhook_gateway.payments.states import Dispute, Stage, Standing
from shared.contracts.payments import PaymentSettled
from shared.runtime import outbox
from shared.schema.tables import (
    ledger_accounts,
    ledger_entries,
    ledger_transactions,
    payments,
    subscriptions,
    users,
    webhook_events,
)

SERVICE = "gateway"


def read_event(engine: Engine, event_id: int) -> Event | None:
    """The event as it was kept; None where it does not exist or is final."""
    statement = select(
        *webhook_events.c["id", "provider", "method", "headers", "body", "received_at", "attempts"]
    ).where(webhook_events.c.id == event_id, webhook_events.c.state == State.RECEIVED)
    with engine.connect() as connection:
        row = connection.execute(statement).one_or_none()
    return None if row is None else Event(**{**row._mapping, "body": bytes(row.body)})


@contextmanager
def open_books(engine: Engine, subscription_period: timedelta) -> Iterator["SqlBooks"]:
    """The books for one settlement: committed at the end, rolled back where anything is raised."""
    with engine.begin() as connection:
        yield SqlBooks(connection, subscription_period)


class SqlBooks:
    """Implements `Books`; a subscription that has no end of its own runs for `subscription_period`."""

    def __init__(self, connection: Connection, subscription_period: timedelta) -> None:
        self._connection = connection
        self._period = subscription_period

    def claim(self, event_id: int) -> bool:
        state = self._connection.scalar(
            select(webhook_events.c.state).where(webhook_events.c.id == event_id).with_for_update()
        )
        return bool(state == State.RECEIVED)

    def find(self, provider: str, reference: str, order_number: str | None) -> Payment | None:
        of_reference = payments.c.provider_reference == reference
        either = of_reference if order_number is None else or_(of_reference, payments.c.order_number == order_number)
        row = self._connection.execute(
            select(payments)
            .where(payments.c.provider == provider, either)
            .order_by(case((of_reference, 0), (payments.c.provider_reference.is_(None), 1), else_=2), payments.c.id)
            .limit(1)
            .with_for_update(key_share=True)
        ).one_or_none()
        return None if row is None else _payment(row)

    def open(self, payment: Payment) -> Payment:
        self._connection.execute(
            upsert(payments)
            .values(
                provider=payment.provider,
                provider_reference=payment.reference,
                order_number=payment.order_number,
                user_id=payment.user_id,
                amount_minor=payment.amount_minor,
                amount_is_final=payment.amount_is_final,
                currency=payment.currency,
            )
            .on_conflict_do_nothing(index_elements=["provider", "provider_reference"])
        )
        assert payment.reference is not None
        opened = self.find(payment.provider, payment.reference, None)
        assert opened is not None, "inserted above, or kept by whoever was first"
        return opened

    def save(self, payment: Payment) -> None:
        self._connection.execute(
            update(payments)
            .where(payments.c.id == payment.id)
            .values(
                provider_reference=payment.reference,
                order_number=payment.order_number,
                amount_minor=payment.amount_minor,
                amount_is_final=payment.amount_is_final,
                status=payment.status,
                refunded_minor=payment.standing.refunded_minor,
                dispute=payment.standing.dispute.name.lower(),
                credited_minor=payment.credited_minor,
                fee_minor=payment.fee_minor or None,
                method=payment.method,
                failure_reason=payment.failure_reason,
                completed_at=payment.completed_at,
            )
        )

    def has_user(self, user_id: int) -> bool:
        # a lock here would come before the payment's: two settlements of a new payment could wait for each other
        return self._connection.scalar(select(users.c.id).where(users.c.id == user_id)) is not None

    def balance(self, user_id: int) -> int:
        # FOR NO KEY UPDATE: a payment that is being opened for this user holds a key share of the row
        statement = select(users.c.balance_minor).where(users.c.id == user_id).with_for_update(key_share=True)
        return int(self._connection.execute(statement).scalar_one())

    def post(self, transaction: Transaction, event_id: int) -> None:
        transaction_id = self._connection.scalar(
            insert(ledger_transactions)
            .values(
                kind=transaction.kind,
                event_id=event_id,
                payment_id=transaction.payment_id,
                subscription_id=transaction.subscription_id,
            )
            .returning(ledger_transactions.c.id)
        )
        entries = [
            {
                "transaction_id": transaction_id,
                "account_id": self._account_id(account),
                "amount_minor": amount_minor,
                "currency": transaction.currency,
            }
            for account, amount_minor in transaction.entries
        ]
        if entries:
            self._connection.execute(insert(ledger_entries), entries)
        for account, amount_minor in transaction.entries:
            if account.kind is AccountKind.WALLET:
                self._connection.execute(
                    update(users)
                    .where(users.c.id == account.user_id)
                    .values(balance_minor=users.c.balance_minor + amount_minor)
                )

    def pending_subscriptions(self, user_id: int) -> Sequence[Subscription]:
        return self._subscriptions(
            select(*subscriptions.c["id", "amount_minor"])
            .where(subscriptions.c.user_id == user_id, subscriptions.c.status == "pending_payment")
            .order_by(subscriptions.c.created_at, subscriptions.c.id)
        )

    def paid_subscriptions(self, user_id: int) -> Sequence[Subscription]:
        of_it = ledger_transactions.c.subscription_id == subscriptions.c.id
        turn = case((ledger_transactions.c.kind == TransactionKind.ACTIVATION, 1), else_=-1)
        turns = select(func.sum(turn)).where(of_it).scalar_subquery()
        # what was paid: the school may have changed the price since
        paid = (
            select(func.coalesce(func.sum(ledger_entries.c.amount_minor), 0))
            .join_from(ledger_entries, ledger_transactions)
            .join(ledger_accounts, ledger_accounts.c.id == ledger_entries.c.account_id)
            .where(of_it, ledger_accounts.c.kind == AccountKind.REVENUE)
            .scalar_subquery()
        )
        return self._subscriptions(
            select(subscriptions.c.id, cast(paid, BigInteger).label("amount_minor"))
            .where(subscriptions.c.user_id == user_id, subscriptions.c.status == "active", turns > 0)
            .order_by(subscriptions.c.created_at.desc(), subscriptions.c.id.desc())
        )

    def activate(self, subscription_id: int, at: datetime) -> None:
        self._connection.execute(
            update(subscriptions)
            .where(subscriptions.c.id == subscription_id)
            .values(status="active", activated_at=at, ends_at=func.coalesce(subscriptions.c.ends_at, at + self._period))
        )

    def deactivate(self, subscription_id: int) -> None:
        # an end that the school had set stays; the one that the activation set goes. In seconds: the database's zone
        # would make another instant of days, where a clock was changed in between
        period = func.make_interval(0, 0, 0, 0, 0, 0, self._period.total_seconds())
        self._connection.execute(
            update(subscriptions)
            .where(subscriptions.c.id == subscription_id)
            .values(
                status="pending_payment",
                activated_at=None,
                ends_at=func.nullif(subscriptions.c.ends_at, subscriptions.c.activated_at + period),
            )
        )

    def close(self, event_id: int, verdict: Verdict) -> None:
        self._connection.execute(
            update(webhook_events)
            .where(webhook_events.c.id == event_id)
            .values(
                state=verdict.state,
                reason=verdict.reason,
                payment_id=verdict.payment_id,
                processed_at=func.clock_timestamp(),
                next_attempt_at=None,
            )
        )

    def park(self, event_id: int, reason: str, until: datetime) -> None:
        self._connection.execute(
            update(webhook_events)
            .where(webhook_events.c.id == event_id)
            .values(reason=reason, attempts=webhook_events.c.attempts + 1, next_attempt_at=until)
        )

    def release(self, provider: str, reference: str, at: datetime) -> None:
        # one that is being settled right now is left to that: it may hold its row while it waits for this payment
        parked = (
            select(webhook_events.c.id)
            .where(
                webhook_events.c.provider == provider,
                webhook_events.c.reference == reference,
                webhook_events.c.state == State.RECEIVED,
                webhook_events.c.attempts > 0,
                webhook_events.c.next_attempt_at > at,
            )
            .with_for_update(skip_locked=True)
        )
        self._connection.execute(
            update(webhook_events).where(webhook_events.c.id.in_(parked)).values(next_attempt_at=at)
        )

    def announce(self, payment_id: int, day: date) -> None:
        outbox.add(self._connection, SERVICE, PaymentSettled(payment_id=payment_id, day=day))

    def _account_id(self, account: Account) -> int:
        """The account's number; the account is opened where this is its first entry."""
        table = ledger_accounts
        number = select(table.c.id).where(
            table.c.kind == account.kind,
            table.c.user_id.is_not_distinct_from(account.user_id),
            table.c.provider.is_not_distinct_from(account.provider),
        )
        if (found := self._connection.scalar(number)) is None:
            self._connection.execute(
                upsert(table)
                .values(kind=account.kind, user_id=account.user_id, provider=account.provider)
                .on_conflict_do_nothing()
            )
            found = self._connection.scalar(number)
        assert found is not None, "inserted above, or kept by whoever was first"
        return int(found)

    def _subscriptions(self, statement: Any) -> Sequence[Subscription]:
        rows = self._connection.execute(statement.with_for_update(of=subscriptions)).all()
        return [Subscription(row.id, row.amount_minor) for row in rows]


def _payment(row: Row[Any]) -> Payment:
    # every word beyond the unfinished stages means that the money was collected
    stage = Stage.__members__.get(row.status.upper(), Stage.COMPLETED)
    return Payment(
        id=row.id,
        provider=row.provider,
        reference=row.provider_reference,
        order_number=row.order_number,
        user_id=row.user_id,
        amount_minor=row.amount_minor,
        amount_is_final=row.amount_is_final,
        currency=row.currency,
        standing=Standing(stage, row.refunded_minor, Dispute[row.dispute.upper()]),
        credited_minor=row.credited_minor,
        fee_minor=row.fee_minor or 0,
        method=row.method,
        failure_reason=row.failure_reason,
        completed_at=row.completed_at,
    )
