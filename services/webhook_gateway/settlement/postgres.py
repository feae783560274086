"""The settlement store in PostgreSQL: one transaction, rows locked until its end.

What a batch of settlements is about is locked and read at once, kept here while it is booked, and written at once with
the commit: three round trips, however many events they are. See `statements` for the order of the locks.
"""

import json
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from services.webhook_gateway.errors import ConcurrentInsertError
from services.webhook_gateway.payments.ledger import AccountKind, Transaction
from services.webhook_gateway.payments.model import Credit, Event, Link, Payment, Subscription
from services.webhook_gateway.settlement import sql
from services.webhook_gateway.settlement.rows import (
    credit_of,
    read_credit,
    read_payment,
    read_subscription,
    write_objects,
    write_payment,
)
from services.webhook_gateway.settlement.settlement_store import SettlementKeys, SettlementResult
from services.webhook_gateway.settlement.sql import Statement
from shared.contracts.message import Message
from shared.contracts.payments import PaymentSettled, PaymentsSettled
from shared.contracts.routes import GATEWAY
from shared.messaging.actors import encode_message
from shared.runtime.database import fetch_all

_ONE_REFERENCE = "uq_payments_provider_provider_reference"
#: What a connection is marked with that has prepared the statements: when it last planned them anew.
_PLANNED_AT = "statements of the books planned at"
PLANS_KEPT_SECONDS = 10.0


def read_events(engine: Engine, event_ids: Sequence[int]) -> Sequence[Event | None]:
    """The events as they were kept; None for each that does not exist or is final. See `open_books` for `engine`."""
    with _prepared(engine) as connection:
        rows = fetch_all(connection, sql.READ.execute(1), (list(event_ids),))
    found = {row.id: Event(**{**row._asdict(), "body": bytes(row.body)}) for row in rows}
    return [found.get(event_id) for event_id in event_ids]


@contextmanager
def open_store(
    engine: Engine, subscription_period: timedelta, longest_lock_ms: int | None = None
) -> Iterator["PostgresSettlementStore"]:
    """The books for one transaction: committed at the end, rolled back where anything is raised.

    A lock that is waited for longer than `longest_lock_ms` is an error; without, the connection says how long.

    `engine` has to commit by itself (isolation level AUTOCOMMIT): to begin and to end a transaction would be round
    trips of their own. Raises ConcurrentInsertError where another transaction opened one of the same payments at the
    same time.
    """
    with _prepared(engine) as connection:
        books = PostgresSettlementStore(connection, subscription_period, longest_lock_ms)
        try:
            yield books
            books.commit()
        except BaseException:
            books.roll_back()
            raise


@contextmanager
def _prepared(engine: Engine) -> Iterator[Connection]:
    """A connection that knows the statements: it gets them once, and plans them anew as the tables grow."""
    with engine.connect() as connection:
        now = time.monotonic()
        if _PLANNED_AT not in connection.info:
            try:
                connection.exec_driver_sql(sql.PREPARE)
            except BaseException:
                # it may know some of them, and must not get those again
                connection.invalidate()
                raise
            connection.info[_PLANNED_AT] = now
        elif now - connection.info[_PLANNED_AT] > PLANS_KEPT_SECONDS:
            connection.exec_driver_sql(sql.FORGET_PLANS)
            connection.info[_PLANNED_AT] = now
        yield connection


class _Key(NamedTuple):
    """What payments are searched for by: the reference or the order number."""

    provider: str
    reference: str | None
    order_number: str | None


@dataclass(slots=True)
class _Wallet:
    balance_minor: int
    pending: list[Subscription] = field(default_factory=list)
    paid: list[Subscription] = field(default_factory=list)
    #: by payment
    credits: dict[int, Credit] = field(default_factory=dict)


class PostgresSettlementStore:
    """Implements `SettlementStore`; a subscription that has no end of its own runs for `subscription_period`."""

    def __init__(self, connection: Connection, subscription_period: timedelta, longest_lock_ms: int | None) -> None:
        self._connection = connection
        self._period = subscription_period
        self._beginning = ["BEGIN"]
        if longest_lock_ms is not None:
            self._beginning.append(f"SET LOCAL lock_timeout = {longest_lock_ms}")
        self._has_begun = False
        # what was locked and read, as it stands after what was written to it since
        self._payments: dict[int, Payment] = {}
        #: ids by provider and reference; that of a payment that has another reference by now may be left
        self._ids: dict[tuple[str, str | None], int] = {}
        self._wallets: dict[int, _Wallet] = {}
        self._read_keys: set[_Key] = set()
        #: completed payments of an order, at any provider: (order, user) to (when, id)
        self._ordered: dict[tuple[str, int], dict[int, datetime]] = defaultdict(dict)
        self._new_ids: list[int] = []
        # what is to be written
        self._opened: set[int] = set()
        self._saved: set[int] = set()
        self._held = _nothing()
        #: payments and days in the order in which they were announced, each pair once
        self._announced: dict[tuple[int, date], None] = {}

    def commit(self) -> None:
        """Write what was held back, and make all of it durable."""
        if self._announced:
            self._write(sql.ANNOUNCE, service=GATEWAY, message=encode_message(_announcement(list(self._announced))))
        held, values = self._take_held()
        if self._has_begun or held:
            self._send([*held, "COMMIT"], values)
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

    def claim(self, event_ids: Collection[int], abouts: Iterable[SettlementKeys] = ()) -> Collection[int]:
        keys: set[_Key] = set()
        users: set[int] = set()
        for provider, reference, order_number, user_id in abouts:
            keys |= _keys(provider, reference, order_number)
            if user_id is not None:
                users.add(user_id)
        return self._read_rows(event_ids, keys, users)

    def find(self, provider: str, reference: str, order_number: str | None) -> Payment | None:
        if not self._read_keys.issuperset(wanted := _keys(provider, reference, order_number)):
            self._read_rows([], wanted, [])
        same = self._payments.get(self._ids.get((provider, reference), 0))
        if same is not None and same.reference == reference:
            return same
        if not order_number:
            return None
        matching = [
            payment
            for payment in self._payments.values()
            if payment.provider == provider and payment.order_number == order_number
        ]
        return min(matching, key=lambda payment: (payment.reference is not None, payment.id), default=None)

    def registered(self, provider: str, user_id: int, prefix: str) -> Sequence[Payment]:
        held, values = self._take_held()
        rows = self._send([*held, sql.REGISTERED.execute(3)], [*values, provider, user_id, prefix])
        return [read_payment(row.payment) for row in rows]

    def open(self, payment: Payment) -> Payment | None:
        assert payment.reference is not None
        known = self.find(payment.provider, payment.reference, None)
        if known is not None:
            return known
        if payment.user_id not in self._wallets:
            self._read_rows([], [], [payment.user_id])
        if payment.user_id not in self._wallets:
            return None
        if not self._new_ids:
            # it was committed between our lock and our read
            raise ConcurrentInsertError
        opened = replace(payment, id=self._new_ids.pop(0))
        self._keep(opened)
        self._opened.add(opened.id)
        return opened

    def save(self, payment: Payment) -> None:
        self._keep(payment)
        if payment.id not in self._opened:
            self._saved.add(payment.id)

    def balance(self, user_id: int) -> int:
        return self._wallet(user_id).balance_minor

    def post(self, transaction: Transaction, event_id: int | None) -> None:
        entries = [
            {
                "kind": account.kind,
                "user_id": account.user_id,
                "provider": account.provider,
                "amount_minor": amount_minor,
            }
            for account, amount_minor in transaction.entries
        ]
        self._write(
            sql.POST,
            kind=transaction.kind,
            currency=transaction.currency,
            event_id=event_id,
            payment_id=transaction.payment_id,
            subscription_id=transaction.subscription_id,
            entries=entries,
        )
        for account, amount_minor in transaction.entries:
            if account.kind is AccountKind.WALLET and account.user_id in self._wallets:
                self._wallets[account.user_id].balance_minor += amount_minor

    def pending_subscriptions(self, user_id: int) -> Sequence[Subscription]:
        return tuple(self._wallet(user_id).pending)

    def paid_subscriptions(self, user_id: int) -> Sequence[Subscription]:
        return tuple(self._wallet(user_id).paid)

    def credits(self, user_id: int) -> Sequence[Credit]:
        mine = {payment.id: payment for payment in self._payments.values() if payment.user_id == user_id}
        here = {number: credit for number, payment in mine.items() if (credit := credit_of(payment))}
        return list({**self._wallet(user_id).credits, **here}.values())

    def links(self, provider: str, object_ids: Iterable[str]) -> Sequence[Link]:
        held, values = self._take_held()
        rows = self._send([*held, sql.LINKS.execute(2)], [*values, provider, list(object_ids)])
        return [Link(row.object_id, row.user_id, row.reference) for row in rows]

    def add_links(self, provider: str, links: Iterable[Link]) -> None:
        for link in links:
            self._write(
                sql.SAVE_LINKS,
                provider=provider,
                object_id=link.object_id,
                user_id=link.user_id,
                reference=link.reference,
            )

    def paid_before(self, payment: Payment) -> int | None:
        if payment.order_number is None:
            return None
        others = dict(self._ordered[payment.order_number, payment.user_id])
        others |= {
            one.id: one.completed_at
            for one in self._payments.values()
            if (one.order_number, one.user_id) == (payment.order_number, payment.user_id) and one.completed_at
        }
        others.pop(payment.id, None)
        return min(others, key=lambda number: (others[number], number), default=None)

    def activate(self, subscription_id: int, at: datetime) -> None:
        self._write(sql.ACTIVATE, id=subscription_id, at=at, until=at + self._period)
        for wallet in self._wallets.values():
            wallet.paid += [one for one in wallet.pending if one.id == subscription_id]
            wallet.pending = [one for one in wallet.pending if one.id != subscription_id]

    def deactivate(self, subscription_id: int) -> None:
        self._write(sql.DEACTIVATE, id=subscription_id, seconds=self._period.total_seconds())
        # one more waits for some wallet: the next caller has to check again
        self._wallets.clear()

    def close(self, event_id: int, verdict: SettlementResult) -> None:
        self._write(sql.CLOSE, id=event_id, state=verdict.state, reason=verdict.reason, payment_id=verdict.payment_id)

    def park(self, event_id: int, reason: str, until: datetime, tried_at: datetime | None = None) -> None:
        self._write(sql.PARK, id=event_id, reason=reason, until=until, tried_at=tried_at)

    def release(self, provider: str, reference: str, at: datetime) -> None:
        self._write(sql.RELEASE, provider=provider, reference=reference, at=at)

    def announce(self, payment_id: int, day: date) -> None:
        self._announced[payment_id, day] = None

    def _keep(self, payment: Payment) -> None:
        self._payments[payment.id] = payment
        self._ids[payment.provider, payment.reference] = payment.id

    def _wallet(self, user_id: int) -> _Wallet:
        if user_id not in self._wallets:
            self._read_rows([], [], [user_id])
        return self._wallets[user_id]

    def _read_rows(self, event_ids: Collection[int], keys: Collection[_Key], users: Collection[int]) -> Collection[int]:
        """Lock these events, the payments of these keys, and the wallets of both; say which events are not final."""
        held, values = self._take_held()
        wanted = json.dumps([key._asdict() for key in keys])
        texts = [
            *held,
            sql.LOCK_EVENTS.execute(1),
            sql.LOCK_PAYMENTS.execute(2),
            sql.LOCK_WALLETS.execute(0),
            sql.READ_PAYMENTS.execute(2),
        ]
        (row,) = self._send(texts, [*values, list(event_ids), wanted, list(users), list(event_ids), wanted])
        self._read_keys.update(keys)
        self._new_ids += row.new_payments
        for payment in row.payments or ():
            self._keep(read_payment(payment))
        self._wallets.update((wallet["id"], _Wallet(wallet["balance_minor"])) for wallet in row.wallets or ())
        for one in row.pending or ():
            self._wallets[one["user_id"]].pending.append(read_subscription(one))
        for one in row.paid or ():
            self._wallets[one["user_id"]].paid.append(read_subscription(one))
        for one in row.credits or ():
            self._wallets[one["user_id"]].credits[one["id"]] = read_credit(one)
        for one in row.ordered or ():
            order = self._ordered[one["order_number"], one["user_id"]]
            order[one["id"]] = datetime.fromisoformat(one["completed_at"])
        return set(row.events)

    def _write(self, statement: Statement, **row: Any) -> None:
        self._held[statement].append(row)

    def _take_held(self) -> tuple[list[str], list[str]]:
        """What writes all that was held back, and its values."""
        held, self._held = self._held, _nothing()
        held[sql.OPEN] = [write_payment(self._payments[number]) for number in self._opened]
        held[sql.SAVE] = [write_payment(self._payments[number]) for number in self._saved]
        written = sorted(self._opened | self._saved)
        held[sql.SAVE_OBJECTS] = [row for number in written for row in write_objects(self._payments[number])]
        held[sql.OPEN_ACCOUNTS] = held[sql.POST]
        self._opened, self._saved = set(), set()
        texts = [statement.execute(1) for statement, rows in held.items() if rows]
        return texts, [json.dumps(rows, default=datetime.isoformat) for rows in held.values() if rows]

    def _send(self, texts: Sequence[str], values: Sequence[Any]) -> list[Any]:
        beginning = [] if self._has_begun else self._beginning
        self._has_begun = True
        try:
            return fetch_all(self._connection, ";".join([*beginning, *texts]), tuple(values))
        except IntegrityError as error:
            is_taken = getattr(getattr(error.orig, "diag", None), "constraint_name", None) == _ONE_REFERENCE
            if is_taken and sql.OPEN.execute(1) in texts:
                raise ConcurrentInsertError from error
            raise


def _announcement(changed: Sequence[tuple[int, date]]) -> Message:
    if len(changed) == 1:
        ((payment_id, day),) = changed
        return PaymentSettled(payment_id=payment_id, day=day)
    payment_ids, days = zip(*changed, strict=True)
    return PaymentsSettled(payment_ids=payment_ids, days=days)


def _keys(provider: str, reference: str, order_number: str | None) -> set[_Key]:
    keys = {_Key(provider, reference, None)}
    return keys if order_number is None else keys | {_Key(provider, None, order_number)}


def _nothing() -> dict[Statement, list[Mapping[str, Any]]]:
    return {statement: [] for statement in sql.WRITES}
