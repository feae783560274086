"""A wallet's statement: every entry with the balance after it, and why each subscription runs or does not."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, text

from shared.operations.payments.queries import PaymentFilter, PaymentLine, find_payments
from shared.runtime.currency import Money
from shared.runtime.translatable_sentence import Sentence, join

#: A statement of a page; the command line and the API may ask for more.
ENTRIES = 100

_ENTRIES = """
SELECT * FROM (
    SELECT posting.id AS posting_id, posting.created_at AS at, posting.kind, entry.amount_minor, entry.currency,
        sum(entry.amount_minor) OVER (ORDER BY entry.id)::bigint AS balance_minor, posting.payment_id,
        posting.event_id, posting.subscription_id
    FROM ledger_entries AS entry JOIN ledger_transactions AS posting ON posting.id = entry.transaction_id
    WHERE entry.account_id = (
        SELECT id FROM ledger_accounts WHERE kind = 'user_wallet' AND user_id = :user_id AND provider IS NULL)
      AND (CAST(:at AS timestamptz) IS NULL OR posting.created_at <= :at)
) AS entry
LEFT JOIN LATERAL (
    SELECT reason || ' (' || actor_name || ')' AS note FROM ledger_adjustments
    WHERE user_id = :user_id AND transaction_id = entry.posting_id LIMIT 1
) AS adjustment ON true
ORDER BY entry.posting_id DESC LIMIT :limit
"""
_BALANCE_AT = """
SELECT coalesce(sum(entry.amount_minor), 0)::bigint
FROM ledger_entries AS entry JOIN ledger_transactions AS posting ON posting.id = entry.transaction_id
JOIN ledger_accounts AS account ON account.id = entry.account_id
WHERE account.kind = 'user_wallet' AND account.user_id = :user_id AND posting.created_at <= :at
"""
_SUBSCRIPTIONS = """
SELECT id, chapter_id, amount_minor, status, created_at, activated_at, ends_at, (
    SELECT max(created_at) FROM ledger_transactions
    WHERE subscription_id = subscriptions.id AND kind = 'deactivation'
) AS returned_at
FROM subscriptions WHERE user_id = :user_id ORDER BY created_at, id
"""
# Money that may come: payments that have begun, and what a person has to decide about.
_WAITING = """
SELECT id, amount_minor, currency, status, subscription_id, NULL::bigint AS event_id FROM payments
WHERE user_id = :user_id AND status IN ('pending', 'authorized')
UNION ALL
SELECT payment.id, payment.amount_minor, payment.currency, event.state, payment.subscription_id, event.id
FROM payments AS payment JOIN webhook_events AS event ON event.payment_id = payment.id
WHERE payment.user_id = :user_id AND event.state IN ('quarantined', 'dead') AND event.resolution IS NULL
ORDER BY id DESC LIMIT 20
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One movement of the wallet, and what caused it. `note` is a correction's reason and who made it."""

    posting_id: int
    at: datetime
    kind: str
    amount_minor: int
    currency: str
    balance_minor: int
    payment_id: int | None
    event_id: int | None
    subscription_id: int | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionLine:
    """A subscription, and why it is active or not, in a sentence."""

    id: int
    chapter_id: int | None
    amount_minor: int
    status: str
    created_at: datetime
    activated_at: datetime | None
    ends_at: datetime | None
    is_active: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """A user's wallet at `at`; the entries are the newest first, the payments too."""

    user_id: int
    at: datetime
    currency: str
    balance_minor: int
    entries: Sequence[Entry]
    #: Whether there are older entries than those.
    has_more: bool
    subscriptions: Sequence[SubscriptionLine]
    payments: Sequence[PaymentLine]

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = _json(asdict(self))
        return found


def read_wallet(
    engine: Engine, user_id: int, currency: str, *, at: datetime | None = None, limit: int = ENTRIES
) -> Wallet | None:
    """The wallet now, or as it was at `at`; None where there is no such user.

    Subscriptions and payments are as they are now. `currency` is the school's.
    """
    now = datetime.now(UTC)
    values = {"user_id": user_id, "at": at, "limit": limit + 1}
    with engine.connect() as connection:
        balance_minor = connection.scalar(text("SELECT balance_minor FROM users WHERE id = :user_id"), values)
        if balance_minor is None:
            return None
        entries = [Entry(**row) for row in connection.execute(text(_ENTRIES), values).mappings()]
        subscriptions = _subscriptions(connection, user_id, balance_minor, currency, now)
        if at is not None:
            balance_minor = connection.scalar(text(_BALANCE_AT), values) or 0
    return Wallet(
        user_id=user_id,
        at=at or now,
        currency=currency,
        balance_minor=balance_minor,
        entries=entries[:limit],
        has_more=len(entries) > limit,
        subscriptions=subscriptions,
        payments=find_payments(engine, PaymentFilter(user_id=user_id), limit=20),
    )


def _subscriptions(
    connection: Connection, user_id: int, balance_minor: int, currency: str, now: datetime
) -> list[SubscriptionLine]:
    lines = []
    left_minor = balance_minor
    rows = connection.execute(text(_SUBSCRIPTIONS), {"user_id": user_id}).mappings().all()
    waiting = connection.execute(text(_WAITING), {"user_id": user_id}).all()
    for row in rows:
        known = {name: row[name] for name in row if name != "returned_at"}
        has_ended = row["ends_at"] is not None and row["ends_at"] <= now
        line = SubscriptionLine(**known, is_active=row["status"] == "active" and not has_ended, reason="")
        if line.status == "pending_payment" and not has_ended:
            reasons = [_why_pending(line.amount_minor, balance_minor, left_minor, currency)]
            if line.amount_minor > left_minor:
                reasons += _what_may_come(line.id, waiting)
            if row["returned_at"]:
                pattern = "It was active, and was deactivated on %(day)s when the money was returned."
                reasons.append(Sentence(pattern, day=row["returned_at"].date()))
            if line.amount_minor <= left_minor:
                left_minor -= line.amount_minor
            reason = join(reasons)
        else:
            reason = _why(line, has_ended=has_ended)
        lines.append(replace(line, reason=reason))
    return lines


def _why_pending(amount_minor: int, balance_minor: int, left_minor: int, currency: str) -> Sentence:
    known = {"price": Money(amount_minor, currency), "balance": Money(balance_minor, currency)}
    if amount_minor <= left_minor:
        pattern = "It costs %(price)s, and the wallet has %(balance)s: a worker activates it within seconds."
        return Sentence(pattern, **known)
    if amount_minor <= balance_minor:
        pattern = "It costs %(price)s. The wallet has %(balance)s, which older subscriptions take first."
        return Sentence(pattern, **known)
    missing = Money(amount_minor - balance_minor, currency)
    pattern = "It costs %(price)s, and the wallet has %(balance)s: %(missing)s are missing."
    return Sentence(pattern, missing=missing, **known)


def _what_may_come(subscription_id: int, waiting: Sequence[Row[Any]]) -> list[Sentence]:
    """The money on its way that may pay the subscription, in sentences."""
    sentences = []
    for one in waiting:
        if one.subscription_id not in (None, subscription_id):
            continue
        known = {"id": one.id, "amount": Money(one.amount_minor, one.currency), "state": Sentence(one.status)}
        if one.event_id is None:
            sentences.append(Sentence("Payment %(id)s of %(amount)s is %(state)s.", **known))
        else:
            pattern = "Payment %(id)s of %(amount)s is not booked: its webhook %(event)s is %(state)s."
            sentences.append(Sentence(pattern, event=one.event_id, **known))
    return sentences[:3]


def _why(line: SubscriptionLine, *, has_ended: bool) -> Sentence:
    end = line.ends_at.date() if line.ends_at else None
    match line.status:
        case "pending_payment":
            return Sentence("It was not paid before its term ended on %(day)s.", day=end)
        case "cancelled":
            return Sentence("The school has cancelled it.")
        case "active" if not has_ended:
            return Sentence("It runs until %(day)s.", day=end) if end else Sentence("It runs without an end date.")
        case _:
            return Sentence("It ended on %(day)s.", day=end) if end else Sentence("The school has ended it.")


def _json(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case dict():
            return {name: _json(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_json(inner) for inner in value]
    return value
