"""The school in PostgreSQL, behind the same interface as the one in memory."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import DBAPIError

from services.webhook_gateway.payments.ledger import Account, AccountKind
from services.webhook_gateway.payments.model import Event, Payment
from services.webhook_gateway.payments.objects import (
    Dispute,
    DisputeState,
    Fee,
    FeeKind,
    Refund,
    RefundState,
    Total,
)
from services.webhook_gateway.payments.payment_state import PaymentState, Stage
from services.webhook_gateway.settlement.postgres import PostgresSettlementStore, open_store, read_events
from shared.contracts.payments import PaymentSettled, PaymentsSettled
from shared.contracts.webhooks import EventState
from shared.schema.tables import (
    ledger_accounts,
    ledger_entries,
    ledger_transactions,
    outbox,
    payment_objects,
    payments,
    subscriptions,
    users,
    webhook_events,
)
from tests.webhook_gateway.settlement.factories import OPENED_AT, EventRow, Line, SubscriptionRow


class SqlSchool:
    """Implements `School` over the real tables and the real books."""

    refusal: type[Exception] = DBAPIError

    def __init__(self, engine: Engine, subscription_period: timedelta = timedelta(days=30)) -> None:
        self.engine = engine
        self._period = subscription_period

    def add_user(self) -> int:
        return self._insert(users)

    def add_subscription(
        self,
        user_id: int,
        amount_minor: int,
        *,
        status: str = "pending_payment",
        ends_at: datetime | None = None,
        created_at: datetime = OPENED_AT,
    ) -> int:
        return self._insert(
            subscriptions,
            user_id=user_id,
            amount_minor=amount_minor,
            status=status,
            ends_at=ends_at,
            created_at=created_at,
        )

    def change_price(self, subscription_id: int, amount_minor: int) -> None:
        with self.engine.begin() as connection:
            connection.execute(
                update(subscriptions).where(subscriptions.c.id == subscription_id).values(amount_minor=amount_minor)
            )

    def add_payment(self, payment: Payment) -> int:
        return self._insert(
            payments,
            provider=payment.provider,
            provider_reference=payment.reference,
            order_number=payment.order_number,
            user_id=payment.user_id,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            method=payment.method,
            status=payment.status,
            subscription_id=payment.subscription_id,
            registered_subscription_id=payment.registered_subscription_id,
        )

    def accept(self, event_id: int) -> None:
        """An operator accepts a quarantined event."""
        with self.engine.begin() as connection:
            connection.execute(
                update(webhook_events)
                .where(webhook_events.c.id == event_id)
                .values(state="received", resolution="accepted", processed_at=None)
            )

    def add_event(self, provider: str, reference: str | None, body: bytes, received_at: datetime) -> int:
        return self._insert(
            webhook_events,
            provider=provider,
            dedupe_key=body.decode(),
            reference=reference,
            body=body,
            body_sha256=b"",
            received_at=received_at,
        )

    def read(self, event_id: int) -> Event | None:
        return read_events(self.engine, [event_id])[0]

    def books(self) -> AbstractContextManager[PostgresSettlementStore]:
        return open_store(self.engine, self._period)

    def event(self, event_id: int) -> EventRow:
        return _event(self._rows(select(webhook_events).where(webhook_events.c.id == event_id))[0])

    def events(self) -> Sequence[EventRow]:
        return [_event(row) for row in self._rows(select(webhook_events).order_by(webhook_events.c.id))]

    def payment(self, payment_id: int) -> Payment:
        row = self._rows(select(payments).where(payments.c.id == payment_id))[0]
        return _payment(row, self._objects())

    def payments(self) -> Sequence[Payment]:
        objects = self._objects()
        return [_payment(row, objects) for row in self._rows(select(payments).order_by(payments.c.id))]

    def subscription(self, subscription_id: int) -> SubscriptionRow:
        columns = subscriptions.c["id", "user_id", "amount_minor", "status", "created_at", "ends_at", "activated_at"]
        return SubscriptionRow(*self._rows(select(*columns).where(subscriptions.c.id == subscription_id))[0])

    def balance(self, user_id: int) -> int:
        return int(self._rows(select(users.c.balance_minor).where(users.c.id == user_id))[0][0])

    def lines(self) -> Sequence[Line]:
        account = ledger_accounts.c["kind", "user_id", "provider"]
        statement = (
            select(ledger_transactions.c.event_id, ledger_transactions.c.kind.label("why"), *account)
            .add_columns(ledger_entries.c.amount_minor, ledger_entries.c.currency)
            .join_from(ledger_entries, ledger_transactions)
            .join(ledger_accounts)
            .order_by(ledger_entries.c.id)
        )
        return [
            Line(
                row.event_id,
                row.why,
                Account(AccountKind(row.kind), row.user_id, row.provider),
                row.amount_minor,
                row.currency,
            )
            for row in self._rows(statement)
        ]

    def messages(self) -> Sequence[PaymentSettled]:
        rows = self._rows(select(outbox.c.message).order_by(outbox.c.id))
        return [one for row in rows for one in _settled(row.message)]

    def _objects(self) -> Sequence[Any]:
        return self._rows(select(payment_objects).order_by(payment_objects.c.object_id))

    def _insert(self, table: Any, **values: Any) -> int:
        with self.engine.begin() as connection:
            return int(connection.scalar(insert(table).values(**values).returning(table.c.id)))

    def _rows(self, statement: Any) -> Sequence[Any]:
        with self.engine.connect() as connection:
            return connection.execute(statement).all()


def _event(row: Any) -> EventRow:
    return EventRow(
        id=row.id,
        provider=row.provider,
        reference=row.reference,
        body=bytes(row.body),
        received_at=row.received_at,
        state=EventState(row.state),
        reason=row.reason,
        payment_id=row.payment_id,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        tries=row.tries,
        taken_up_at=row.taken_up_at,
    )


def _payment(row: Any, objects: Sequence[Any]) -> Payment:
    """Read by hand and not through the books, which are what is tested."""
    unfinished = {stage.name.lower(): stage for stage in Stage if stage is not Stage.COMPLETED}
    mine = [one for one in objects if one.payment_id == row.id]
    state = PaymentState(
        stage=unfinished.get(row.status, Stage.COMPLETED),
        refunded=Total(row.refunded_total_minor or 0, row.refunded_told_at, row.refunded_fell_minor or 0),
        refunds={
            one.object_id: Refund(
                one.object_id, one.amount_minor, RefundState[one.state.upper()], one.began_at, one.ended_at
            )
            for one in mine
            if one.kind == "refund"
        },
        disputes={
            one.object_id: Dispute(
                one.object_id, one.amount_minor, DisputeState[one.state.upper()], one.ended_at, one.reported_at
            )
            for one in mine
            if one.kind == "dispute"
        },
        fees={
            one.object_id: Fee(one.object_id, one.amount_minor, FeeKind[one.state.upper()])
            for one in mine
            if one.kind == "fee"
        },
    )
    payment = Payment(
        id=row.id,
        provider=row.provider,
        reference=row.provider_reference,
        order_number=row.order_number,
        user_id=row.user_id,
        amount_minor=row.amount_minor,
        registered_minor=row.registered_minor,
        amount_told_at=row.amount_told_at,
        subscription_id=row.subscription_id,
        registered_subscription_id=row.registered_subscription_id,
        currency=row.currency,
        state=state,
        credited_minor=row.credited_minor,
        fee_minor=row.fee_minor or 0,
        method=row.method,
        failure_reason=row.failure_reason,
        completed_at=row.completed_at,
    )
    assert payment.status == row.status
    assert row.refunded_minor == state.refunded_minor
    return payment


def _settled(message: dict[str, Any]) -> list[PaymentSettled]:
    """The payments of a message of either version."""
    if message["actor_name"] == PaymentSettled.wire_name():
        return [PaymentSettled.load(message["kwargs"])]
    reported = PaymentsSettled.load(message["kwargs"])
    pairs = zip(reported.payment_ids, reported.days, strict=True)
    return [PaymentSettled(payment_id=payment_id, day=day) for payment_id, day in pairs]
