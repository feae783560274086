"""The books in PostgreSQL: one connection, one transaction, rows locked until its end.

Locks are taken in one order (event, payment, user, subscriptions), so that two settlements never wait for each other.
What is written is held back until the end, or until something is read that it could change, and goes out in one round
trip with the commit: while a wallet is locked, the next event of its user waits.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import SQLAlchemyError

from services.webhook_gateway.payments import statements
from services.webhook_gateway.payments.books import State, Verdict
from services.webhook_gateway.payments.ledger import AccountKind, Transaction
from services.webhook_gateway.payments.payment import Event, Payment, Subscription
from services.webhook_gateway.payments.statements import Statement
from services.webhook_gateway.payments.states import Dispute, Stage, Standing
from shared.contracts.payments import PaymentSettled
from shared.runtime import outbox

SERVICE = "gateway"
#: What a connection is marked with that has prepared the statements.
_KNOWS = "knows the statements of the books"


def read_event(engine: Engine, event_id: int) -> Event | None:
    """The event as it was kept; None where it does not exist or is final. See `open_books` for `engine`."""
    with _prepared(engine) as connection:
        row = connection.exec_driver_sql(statements.READ.execute(1), (event_id,)).one_or_none()
    return None if row is None else Event(**{**row._mapping, "body": bytes(row.body)})


@contextmanager
def open_books(engine: Engine, subscription_period: timedelta) -> Iterator["SqlBooks"]:
    """The books for one settlement: committed at the end, rolled back where anything is raised.

    `engine` has to commit by itself (isolation level AUTOCOMMIT): to begin and to end a transaction would be round
    trips of their own.
    """
    with _prepared(engine) as connection:
        books = SqlBooks(connection, subscription_period)
        try:
            yield books
            books.commit()
        except BaseException:
            books.roll_back()
            raise


@contextmanager
def _prepared(engine: Engine) -> Iterator[Connection]:
    """A connection that knows the statements: it is told them once."""
    with engine.connect() as connection:
        if _KNOWS not in connection.info:
            try:
                connection.exec_driver_sql(statements.PREPARE)
            except BaseException:
                # it may know some of them, and can be told none of those again
                connection.invalidate()
                raise
            connection.info[_KNOWS] = True
        yield connection


class SqlBooks:
    """Implements `Books`; a subscription that has no end of its own runs for `subscription_period`."""

    def __init__(self, connection: Connection, subscription_period: timedelta) -> None:
        self._connection = connection
        self._period = subscription_period
        self._has_begun = False
        self._written: list[str] = []
        self._values: list[Any] = []
        # what was read, and locked, along with something else
        self._found: tuple[str, str | None, Payment | None] | None = None
        self._balance: tuple[int, int] | None = None
        self._pending: tuple[int, Sequence[Subscription]] | None = None

    def commit(self) -> None:
        """Write what was held back, and make all of it durable."""
        if self._has_begun or self._written:
            self._send("COMMIT")
            self._has_begun = False

    def roll_back(self) -> None:
        """Forget all of it. A connection that cannot do that is not used again."""
        if self._has_begun:
            try:
                self._connection.exec_driver_sql("ROLLBACK")
            except BaseException as error:
                # Also where a time limit strikes just here: the next to use it would commit what is half done.
                self._connection.invalidate()
                if not isinstance(error, SQLAlchemyError):
                    raise

    def claim(self, event_id: int) -> bool:
        self._write(statements.LOCK_EVENT, event_id)
        self._write(statements.LOCK_PAYMENT, event_id)
        rows = self._ask(statements.CLAIM, event_id).all()
        if not rows:
            return False
        self._found = (rows[0].event_provider, rows[0].event_reference, self._with_wallet(rows))
        return bool(rows[0].event_state == State.RECEIVED)

    def find(self, provider: str, reference: str, order_number: str | None) -> Payment | None:
        if self._found is not None and self._found[:2] == (provider, reference):
            payment = self._found[2]
            if payment is not None or order_number is None:
                return payment
        row = self._ask(statements.FIND, provider, reference, order_number).one_or_none()
        return None if row is None else _payment(row)

    def open(self, payment: Payment) -> Payment | None:
        assert payment.reference is not None
        self._found = None
        key = (payment.provider, payment.reference)
        told = (payment.order_number, payment.user_id, payment.amount_minor, payment.amount_is_final, payment.currency)
        # inserted, or kept by whoever was first
        self._write(statements.OPEN, *key, *told)
        self._write(statements.LOCK_OPENED, *key)
        return self._with_wallet(self._ask(statements.OPENED, *key).all())

    def save(self, payment: Payment) -> None:
        self._found = None
        self._write(
            statements.SAVE,
            payment.id,
            payment.reference,
            payment.order_number,
            payment.amount_minor,
            payment.amount_is_final,
            payment.status,
            payment.standing.refunded_minor,
            payment.standing.dispute.name.lower(),
            payment.credited_minor,
            payment.fee_minor or None,
            payment.method,
            payment.failure_reason,
            payment.completed_at,
        )

    def balance(self, user_id: int) -> int:
        if self._balance is None or self._balance[0] != user_id:
            self._write(statements.LOCK_WALLET, user_id)
            self._see_wallet(user_id, self._ask(statements.BALANCE, user_id).all())
        assert self._balance is not None
        return self._balance[1]

    def post(self, transaction: Transaction, event_id: int | None) -> None:
        self._balance = None
        entries = json.dumps(
            [
                {
                    "kind": account.kind,
                    "user_id": account.user_id,
                    "provider": account.provider,
                    "amount_minor": amount_minor,
                }
                for account, amount_minor in transaction.entries
            ]
        )
        caused_by = (event_id, transaction.payment_id, transaction.subscription_id)
        self._write(statements.OPEN_ACCOUNTS, entries)
        self._write(statements.POST, entries, transaction.currency, transaction.kind, *caused_by)
        for account, amount_minor in transaction.entries:
            if account.kind is AccountKind.WALLET:
                self._write(statements.CREDIT, account.user_id, amount_minor)

    def pending_subscriptions(self, user_id: int) -> Sequence[Subscription]:
        if self._pending is not None and self._pending[0] == user_id:
            return self._pending[1]
        rows = self._ask(statements.PENDING, user_id)
        return [Subscription(row.pending_id, row.pending_minor) for row in rows]

    def paid_subscriptions(self, user_id: int) -> Sequence[Subscription]:
        return [Subscription(row.id, row.amount_minor) for row in self._ask(statements.PAID, user_id)]

    def activate(self, subscription_id: int, at: datetime) -> None:
        self._pending = None
        self._write(statements.ACTIVATE, subscription_id, at, at + self._period)

    def deactivate(self, subscription_id: int) -> None:
        self._pending = None
        self._write(statements.DEACTIVATE, subscription_id, self._period.total_seconds())

    def close(self, event_id: int, verdict: Verdict) -> None:
        self._write(statements.CLOSE, event_id, verdict.state, verdict.reason, verdict.payment_id)

    def park(self, event_id: int, reason: str, until: datetime) -> None:
        self._write(statements.PARK, event_id, reason, until)

    def release(self, provider: str, reference: str, at: datetime) -> None:
        self._write(statements.RELEASE, provider, reference, at)

    def announce(self, payment_id: int, day: date) -> None:
        self._write(statements.ANNOUNCE, SERVICE, outbox.encode(PaymentSettled(payment_id=payment_id, day=day)).body)

    def _with_wallet(self, rows: Sequence[Row[Any]]) -> Payment | None:
        """The payment of these rows, if there is one; the wallet that came with it is seen."""
        if not rows or rows[0].id is None:
            return None
        self._see_wallet(rows[0].user_id, rows)
        return _payment(rows[0])

    def _see_wallet(self, user_id: int, rows: Sequence[Row[Any]]) -> None:
        pending = [Subscription(row.pending_id, row.pending_minor) for row in rows if row.pending_id is not None]
        self._balance, self._pending = (user_id, rows[0].balance_minor), (user_id, pending)

    def _write(self, statement: Statement, *values: Any) -> None:
        self._written.append(statement.execute(len(values)))
        self._values += values

    def _ask(self, statement: Statement, *values: Any) -> Any:
        """The rows of `statement`, which goes out after all that was held back, in one round trip with it."""
        self._write(statement, *values)
        return self._send()

    def _send(self, *ending: str) -> Any:
        beginning = [] if self._has_begun else ["BEGIN"]
        text, values = ";".join([*beginning, *self._written, *ending]), tuple(self._values)
        self._written, self._values, self._has_begun = [], [], True
        return self._connection.exec_driver_sql(text, values)


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
