"""What the ledger moved in each day, read once for all sections that tell of it."""

from dataclasses import dataclass
from datetime import datetime

from services.stats.days import Days
from services.stats.sections.activity import span
from services.stats.sections.base import Query, by_bucket, keyed


@dataclass(frozen=True, slots=True)
class Movements:
    """By bucket: what all wallets got less what they spent, and the revenue of chapters by their teacher."""

    wallets: list[int]
    revenue_by_teacher: dict[str, list[int]]


# Wallets are many and the school's own accounts few, so what belongs to none of those is a wallet's. OFFSET 0 keeps the
# planner from looking up the day of each entry instead of each transaction; in the order of their numbers, transactions
# meet their entries without a table of all of them.
_MOVED = """
SELECT bucket::bigint, sum(entry.amount_minor)::bigint AS amount_minor,
       CASE WHEN entry.account_id = ANY (%(revenue)s::bigint[]) THEN coalesce(teacher_id, %(nobody)s)
            WHEN entry.account_id = ANY (%(own)s::bigint[]) THEN %(nobody)s ELSE %(wallets)s END AS earner
FROM (
    SELECT id, subscription_id, width_bucket(created_at, %(edges)s) AS bucket FROM ledger_transactions
    WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s ORDER BY id OFFSET 0
) AS booked
JOIN ledger_entries AS entry ON entry.transaction_id = booked.id
LEFT JOIN (subscriptions AS subscription JOIN chapters AS chapter ON chapter.id = subscription.chapter_id)
       ON subscription.id = booked.subscription_id
GROUP BY bucket, earner
"""
# nobody's id is so far down
_WALLETS, _NOBODY = -(2**62), -(2**62) - 1

# in two ranges, which an index finds
_OWN = "SELECT id, kind FROM ledger_accounts WHERE kind < 'user_wallet' OR kind > 'user_wallet'"

_HELD = """
SELECT coalesce(sum(entry.amount_minor), 0)::bigint AS amount_minor
FROM ledger_transactions AS booked
JOIN ledger_entries AS entry ON entry.transaction_id = booked.id
JOIN ledger_accounts AS account ON account.id = entry.account_id
WHERE booked.created_at < %(at)s AND account.kind = 'user_wallet'
"""


def movements(ask: Query, days: Days) -> Movements:
    """What moved in `days`."""
    accounts = ask(_OWN)
    own = [row.id for row in accounts]
    revenue = [row.id for row in accounts if row.kind == "subscription_revenue"]
    names, others = ("bucket", "earner", "amount_minor"), {"wallets": _WALLETS, "nobody": _NOBODY}
    buckets, earners, amounts = ask.columns(_MOVED, names, own=own, revenue=revenue, **others, **span(days))
    is_wallet, is_teacher = earners == _WALLETS, earners > _WALLETS
    wallets = by_bucket(days, zip(buckets[is_wallet].tolist(), amounts[is_wallet].tolist(), strict=True))
    earned = (column[is_teacher].tolist() for column in (buckets, earners, amounts))
    return Movements(wallets, keyed(days, zip(*earned, strict=True)))


def held(ask: Query, at: datetime) -> int:
    """What all wallets together held at an instant, counted from the first entry."""
    amount: int = ask(_HELD, at=at)[0].amount_minor
    return amount
