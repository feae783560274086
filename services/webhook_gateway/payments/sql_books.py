"""The books in PostgreSQL: one connection, one transaction, rows locked until its end.

Locks are taken in one order (event, payment, user, subscriptions), so that two settlements never wait for each other.
What is written is held back until the end, or until something is read that it could change, and goes out in one round
trip with the commit: while a wallet is locked, the next event of its user waits.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import SQLAlchemyError

from services.webhook_gateway.payments import statements
from services.webhook_gateway.payments.books import State, Verdict
from services.webhook_gateway.payments.ledger import Account, AccountKind, Transaction
from services.webhook_gateway.payments.payment import Event, Payment, Subscription
from services.webhook_gateway.payments.states import Dispute, Stage, Standing
from shared.contracts.payments import PaymentSettled
from shared.runtime import outbox

SERVICE = "gateway"


def read_event(engine: Engine, event_id: int) -> Event | None:
    """The event as it was kept; None where it does not exist or is final."""
    with _alone(engine) as connection:
        row = connection.exec_driver_sql(statements.READ, (event_id,)).one_or_none()
    return None if row is None else Event(**{**row._mapping, "body": bytes(row.body)})


@contextmanager
def open_books(engine: Engine, subscription_period: timedelta) -> Iterator["SqlBooks"]:
    """The books for one settlement: committed at the end, rolled back where anything is raised."""
    with _alone(engine) as connection:
        books = SqlBooks(connection, subscription_period)
        try:
            yield books
            books.commit()
        except BaseException:
            books.roll_back()
            raise


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A connection on which nobody else begins or ends a transaction: that would be round trips of their own."""
    with engine.connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


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
        self._pending: tuple[int, Sequence[Subscription]] | None = None

    def commit(self) -> None:
        """Write what was held back, and make all of it durable."""
        if self._has_begun or self._written:
            self._ask("COMMIT")
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
        row = self._ask(statements.CLAIM, event_id, event_id).one_or_none()
        if row is None:
            return False
        payment = None if row.id is None else _payment(row)
        self._found = (row.event_provider, row.event_reference, payment)
        return bool(row.event_state == State.RECEIVED)

    def find(self, provider: str, reference: str, order_number: str | None) -> Payment | None:
        if self._found is not None and self._found[:2] == (provider, reference):
            payment = self._found[2]
            if payment is not None or order_number is None:
                return payment
        row = self._ask(statements.FIND, provider, reference, order_number, reference).one_or_none()
        return None if row is None else _payment(row)

    def open(self, payment: Payment) -> Payment:
        assert payment.reference is not None
        self._found = None
        key = (payment.provider, payment.reference)
        told = (payment.order_number, payment.user_id, payment.amount_minor, payment.amount_is_final, payment.currency)
        # inserted, or kept by whoever was first
        return _payment(self._ask(statements.OPEN, *key, *told, *key).one())

    def save(self, payment: Payment) -> None:
        self._found = None
        self._write(
            statements.SAVE,
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
            payment.id,
        )

    def has_user(self, user_id: int) -> bool:
        return self._ask(statements.HAS_USER, user_id).one_or_none() is not None

    def balance(self, user_id: int) -> int:
        first, *others = self._ask(statements.BALANCE, user_id, user_id, user_id).all()
        rows = [] if first.id is None else [first, *others]
        self._pending = (user_id, [Subscription(row.id, row.amount_minor) for row in rows])
        return int(first.balance_minor)

    def post(self, transaction: Transaction, event_id: int | None) -> None:
        found_by, entries = [], []
        for account, amount_minor in transaction.entries:
            columns, values = _account(account)
            self._write(statements.open_account(columns), *values, *values)
            found_by.append(columns)
            entries += [*values, amount_minor, transaction.currency]
        caused_by = (event_id, transaction.payment_id, transaction.subscription_id)
        self._write(statements.post(found_by), transaction.kind, *caused_by, *entries)
        for account, amount_minor in transaction.entries:
            if account.kind is AccountKind.WALLET:
                self._write(statements.CREDIT, amount_minor, account.user_id)

    def pending_subscriptions(self, user_id: int) -> Sequence[Subscription]:
        if self._pending is not None and self._pending[0] == user_id:
            return self._pending[1]
        return self._subscriptions(statements.PENDING, user_id)

    def paid_subscriptions(self, user_id: int) -> Sequence[Subscription]:
        return self._subscriptions(statements.PAID, user_id)

    def activate(self, subscription_id: int, at: datetime) -> None:
        self._pending = None
        self._write(statements.ACTIVATE, at, at + self._period, subscription_id)

    def deactivate(self, subscription_id: int) -> None:
        self._pending = None
        self._write(statements.DEACTIVATE, self._period.total_seconds(), subscription_id)

    def close(self, event_id: int, verdict: Verdict) -> None:
        self._write(statements.CLOSE, verdict.state, verdict.reason, verdict.payment_id, event_id)

    def park(self, event_id: int, reason: str, until: datetime) -> None:
        self._write(statements.PARK, reason, until, event_id)

    def release(self, provider: str, reference: str, at: datetime) -> None:
        self._write(statements.RELEASE, at, provider, reference, at)

    def announce(self, payment_id: int, day: date) -> None:
        self._write(outbox.ADD, SERVICE, outbox.encode(PaymentSettled(payment_id=payment_id, day=day)).body)

    def _write(self, statement: str, *values: Any) -> None:
        self._written.append(statement)
        self._values += values

    def _ask(self, statement: str, *values: Any) -> Any:
        """The rows of `statement`, which goes out after all that was held back, in one round trip with it."""
        texts, all_values = [*self._written, statement], (*self._values, *values)
        self._written, self._values = [], []
        if not self._has_begun:
            texts.insert(0, "BEGIN")
        self._has_begun = True
        return self._connection.exec_driver_sql(";".join(texts), all_values)

    def _subscriptions(self, statement: str, user_id: int) -> Sequence[Subscription]:
        return [Subscription(row.id, row.amount_minor) for row in self._ask(statement, user_id)]


def _account(account: Account) -> tuple[str, tuple[Any, ...]]:
    """By which columns the account is found, and their values."""
    if account.user_id is not None:
        return statements.OF_USER, (account.kind, account.user_id)
    if account.provider is not None:
        return statements.OF_PROVIDER, (account.kind, account.provider)
    return statements.OF_SCHOOL, (account.kind,)


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
