"""What the ledger moved in each day, read once for all sections that tell of it."""

from dataclasses import dataclass
from datetime import datetime

from services.stats.activity import span
from services.stats.days import Days
from services.stats.numbers import Ask, by_bucket, keyed


@dataclass(frozen=True, slots=True)
class Movements:
    """By bucket: what all wallets got less what they spent, and the revenue of chapters by their teacher."""

    wallets: list[int]
    revenue_by_teacher: dict[str, list[int]]


# The outer joins keep the planner from walking through all entries of an account: a day is found by its transactions.
_MOVED = """
SELECT width_bucket(booked.created_at, %(edges)s) AS bucket, account.kind, chapter.teacher_id,
       sum(entry.amount_minor)::bigint AS amount_minor
FROM ledger_transactions AS booked
JOIN ledger_entries AS entry ON entry.transaction_id = booked.id
LEFT JOIN ledger_accounts AS account ON account.id = entry.account_id
LEFT JOIN (subscriptions AS subscription JOIN chapters AS chapter ON chapter.id = subscription.chapter_id)
       ON subscription.id = booked.subscription_id
WHERE booked.created_at >= %(begins_at)s AND booked.created_at < %(ends_at)s
GROUP BY bucket, account.kind, chapter.teacher_id
"""

_HELD = """
SELECT coalesce(sum(entry.amount_minor), 0)::bigint AS amount_minor
FROM ledger_transactions AS booked
JOIN ledger_entries AS entry ON entry.transaction_id = booked.id
JOIN ledger_accounts AS account ON account.id = entry.account_id
WHERE booked.created_at < %(at)s AND account.kind = 'user_wallet'
"""


def movements(ask: Ask, days: Days) -> Movements:
    """What moved in `days`."""
    rows = ask(_MOVED, **span(days))
    wallets = by_bucket(days, ((row.bucket, row.amount_minor) for row in rows if row.kind == "user_wallet"))
    earned = [row for row in rows if row.kind == "subscription_revenue" and row.teacher_id is not None]
    return Movements(wallets, keyed(days, ((row.bucket, row.teacher_id, row.amount_minor) for row in earned)))


def held(ask: Ask, at: datetime) -> int:
    """What all wallets together held at an instant, counted from the first entry."""
    amount: int = ask(_HELD, at=at)[0].amount_minor
    return amount
