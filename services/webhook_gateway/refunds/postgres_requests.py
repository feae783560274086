"""The refunds that operators asked for, in PostgreSQL: a lease is one row's update."""

from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from services.webhook_gateway.reconciliation.postgres_schedule import FOLLOWED
from services.webhook_gateway.refunds.send_to_provider import LEASE, DueRefund

# One of a payment at a time: what the provider says was refunded before it and after it shows whether it was made.
_TAKE = """
UPDATE refund_requests AS refund SET attempts = attempts + 1, next_attempt_at = now() + %(lease)s
FROM payments AS payment
WHERE payment.id = refund.payment_id AND refund.id = (
    SELECT id FROM refund_requests AS due WHERE state IN ('requested', 'sending') AND next_attempt_at <= now()
      AND NOT EXISTS (SELECT FROM refund_requests WHERE payment_id = due.payment_id AND id < due.id
                      AND state IN ('requested', 'sending'))
    ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING refund.id, payment_id, provider, provider_reference AS reference, idempotency_key AS key,
    refund.amount_minor, refund.created_at, attempts, state = 'sending' AS was_sent, note,
    refunded_before_minor
"""
# one whose lease ran out belongs to another worker
_MOVE = """
UPDATE refund_requests SET state = %(state)s, note = %(note)s,
    event_id = coalesce(%(event_id)s, event_id), next_attempt_at = coalesce(%(until)s, next_attempt_at),
    refunded_before_minor = coalesce(%(before_minor)s, refunded_before_minor)
WHERE id = %(id)s AND attempts = %(attempts)s
"""
_FOLLOW_UP = "UPDATE payments SET next_ask_at = now() + interval '1 hour' WHERE id = %(payment_id)s"


class PostgresRefundRequests:
    """Implements `RefundRequests`. `engine` has to commit by itself (isolation level AUTOCOMMIT)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take(self) -> DueRefund | None:
        with self._engine.connect() as connection:
            row = connection.exec_driver_sql(_TAKE, {"lease": LEASE}).one_or_none()
        return None if row is None else DueRefund(**row._mapping)

    def note_sending(self, refund: DueRefund, refunded_before_minor: int | None) -> None:
        self._move(refund, "sending", None, before_minor=refunded_before_minor)

    def accept(self, refund: DueRefund, event_id: int | None) -> None:
        self._move(refund, "accepted", None, event_id=event_id)
        if refund.provider in FOLLOWED:
            with self._engine.connect() as connection:
                connection.exec_driver_sql(_FOLLOW_UP, {"payment_id": refund.payment_id})

    def refuse(self, refund: DueRefund, reason: str) -> None:
        self._move(refund, "refused", reason)

    def leave_unknown(self, refund: DueRefund, reason: str) -> None:
        self._move(refund, "unknown", reason)

    def put_off(self, refund: DueRefund, until: datetime, reason: str) -> None:
        with self._engine.connect() as connection:
            statement = "UPDATE refund_requests SET next_attempt_at = %(until)s, note = %(note)s WHERE id = %(id)s"
            values = {"until": until, "note": reason, "id": refund.id, "attempts": refund.attempts}
            connection.exec_driver_sql(f"{statement} AND attempts = %(attempts)s", values)

    def _move(self, refund: DueRefund, state: str, note: str | None, **more: Any) -> None:
        values = {"event_id": None, "until": None, "before_minor": None, **more}
        given = {"id": refund.id, "attempts": refund.attempts, "state": state, "note": note, **values}
        with self._engine.connect() as connection:
            connection.exec_driver_sql(_MOVE, given)
