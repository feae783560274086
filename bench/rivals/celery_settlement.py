"""Settlement as a Celery task with psycopg2: a paid event statement by statement, as a back end would write it."""

import os
import threading
import uuid
from typing import Any

import psycopg2
from celery import Celery

QUEUE = "celery_settlement"

app = Celery(broker=os.environ["BENCH_RABBITMQ_URL"])
app.conf.task_default_queue = QUEUE
app.conf.task_acks_late = True
app.conf.task_ignore_result = True
_of_thread = threading.local()

_MESSAGE = (
    '{"queue_name": "default", "actor_name": "payments.settled.v1", "args": [], "options": {}, '
    '"kwargs": {"payment_id": %s, "day": "2026-01-01"}, "message_id": "%s", "message_timestamp": 0}'
)


@app.task(name="settle")  # type: ignore[untyped-decorator]
def settle(event_id: int, student: int) -> None:
    """One transaction, as in settlement.sql."""
    if not hasattr(_of_thread, "connection"):
        _of_thread.connection = psycopg2.connect(os.environ["BENCH_DATABASE_URL"])
    with _of_thread.connection as connection, connection.cursor() as cursor:
        _settle(cursor, event_id, student)


def _settle(cursor: Any, event_id: int, student: int) -> None:
    reference, amount = f"tr_{event_id}", 250_000

    def ask(statement: str, *values: object) -> Any:
        cursor.execute(statement, values)
        return cursor.fetchone() if cursor.description else None

    if ask("SELECT state FROM webhook_events WHERE id = %s FOR UPDATE", event_id)[0] != "received":
        return
    of_reference = "FROM payments WHERE provider = 'generic' AND provider_reference = %s FOR NO KEY UPDATE"
    ask(f"SELECT * {of_reference}", reference)
    ask(
        "INSERT INTO payments (provider, provider_reference, user_id, amount_minor, currency) "
        "VALUES ('generic', %s, %s, %s, 'DZD') ON CONFLICT DO NOTHING",
        reference,
        student,
        amount,
    )
    (payment,) = ask(f"SELECT id {of_reference}", reference)
    ask("SELECT id FROM users WHERE id = %s", student)
    (booking,) = ask(
        "INSERT INTO ledger_transactions (kind, event_id, payment_id) VALUES ('payment', %s, %s) RETURNING id",
        event_id,
        payment,
    )
    (clearing,) = ask("SELECT id FROM ledger_accounts WHERE kind = 'psp_clearing' AND provider = 'generic'")
    (wallet,) = ask("SELECT id FROM ledger_accounts WHERE kind = 'user_wallet' AND user_id = %s", student)
    ask(
        "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) "
        "VALUES (%s, %s, %s, 'DZD'), (%s, %s, %s, 'DZD')",
        *(booking, clearing, -amount, booking, wallet, amount),
    )
    ask("UPDATE users SET balance_minor = balance_minor + %s WHERE id = %s", amount, student)
    ask("SELECT balance_minor FROM users WHERE id = %s FOR NO KEY UPDATE", student)
    ask(
        "SELECT id, amount_minor FROM subscriptions WHERE user_id = %s AND status = 'pending_payment' "
        "ORDER BY created_at, id FOR UPDATE",
        student,
    )
    ask(
        "UPDATE payments SET status = 'completed', credited_minor = %s, completed_at = now() WHERE id = %s",
        amount,
        payment,
    )
    ask("INSERT INTO outbox (service, message) VALUES ('gateway', %s)", _MESSAGE % (payment, uuid.uuid4()))
    ask(
        "UPDATE webhook_events SET state = 'applied', payment_id = %s, processed_at = clock_timestamp(), "
        "next_attempt_at = NULL WHERE id = %s",
        payment,
        event_id,
    )
