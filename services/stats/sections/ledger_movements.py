"""Reads the ledger's movements of each day by kind, once for all sections that use them.

Money counts on the day on which it was booked: what is taken back later is taken off that later day.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from services.stats.days import ONE_DAY, Days
from services.stats.sections.base import NONE, Query, by_bucket, keyed, span

#: What has added up before the days, and the numbers that are kept of it.
TO_DATE = {
    "revenue": "revenue.net_to_date",
    "topped_up": "payments.topped_up_to_date",
    "wallets": "wallets.total",
    "disputes_open": "payments.disputes_open",
    "clearing": "payments.clearing",
}


@dataclass(frozen=True, slots=True)
class Movements:
    """By bucket, in minor units of the school's currency."""

    #: What wallets paid for subscriptions, and what of it went back to them.
    billed: list[int]
    returned: list[int]
    #: billed less returned, by the chapter and by the teacher whom it had when it was booked.
    by_chapter: dict[str, list[int]]
    by_teacher: dict[str, list[int]]
    #: What payments brought to wallets, altogether and by the payment's provider and method.
    topped_up: list[int]
    by_provider: dict[str, list[int]]
    by_method: dict[str, list[int]]
    #: What went back to payers, and what disputes took for good.
    refunded: list[int]
    charged_back: list[int]
    #: How much more is withheld for open disputes than before.
    withheld: list[int]
    #: How much more the providers owe to the school; and the entries of that, by provider.
    clearing: list[int]
    due: dict[str, list[int]]
    #: What operators' corrections gave to wallets.
    adjusted: list[int]
    #: What providers kept of payments, and for disputes.
    fees: list[int]
    #: What all wallets got less what they spent.
    wallets: list[int]
    #: What had added up before the days, by the names of TO_DATE.
    before: Mapping[str, int] = field(default_factory=dict)
    #: What each provider owed before the days.
    due_before: Mapping[str, int] = field(default_factory=dict)


# Releases that did not distinguish refunds and disputes booked both as negative payments.
_CASE = """
CASE WHEN entry.account_id = ANY (%(revenue)s::bigint[])
          THEN CASE WHEN booked.kind = 'deactivation' THEN 'returned' ELSE 'billed' END
     WHEN entry.account_id = ANY (%(fees)s::bigint[]) THEN 'fees'
     WHEN entry.account_id = ANY (%(withheld)s::bigint[]) THEN 'withheld'
     WHEN entry.account_id = ANY (%(clearing)s::bigint[]) THEN 'clearing'
     WHEN entry.account_id = ANY (%(own)s::bigint[]) THEN 'own'
     WHEN booked.kind = 'payment' THEN CASE WHEN entry.amount_minor > 0 THEN 'topped_up' ELSE 'refunded' END
     WHEN booked.kind IN ('refund', 'refund_reversed') THEN 'refunded'
     WHEN booked.kind IN ('dispute_withheld', 'dispute_released', 'dispute_lost', 'dispute_fee') THEN 'disputed'
     WHEN booked.kind IN ('activation', 'deactivation') THEN 'spent'
     ELSE 'adjusted' END
"""

# Wallets are many and the school's own accounts few, so what belongs to none of those is a wallet's. OFFSET 0 keeps the
# planner from reading the day of each entry instead of each transaction; in the order of their numbers, transactions
# meet their entries without a table of all of them.
_ENTRIES = """
SELECT entry.id, entry.transaction_id, booked.created_at AS at, booked.bucket,
       coalesce(subscription.user_id, account.user_id) AS user_id, entry.amount_minor, {case} AS what,
       subscription.chapter_id,
       CASE WHEN taught.chapter_id IS NULL THEN chapter.teacher_id ELSE taught.teacher_id END AS teacher_id,
       payment.provider, payment.method, account.provider AS account_provider,
       CASE WHEN entry.account_id = ANY (%(clearing)s::bigint[]) THEN entry.account_id END AS clearing_account
FROM (
    SELECT id, kind, created_at, subscription_id, payment_id, width_bucket(created_at, %(edges)s) AS bucket
    FROM ledger_transactions
    WHERE {booked} AND created_at < %(ends_at)s ORDER BY id OFFSET 0
) AS booked
JOIN ledger_entries AS entry ON entry.transaction_id = booked.id AND entry.currency = %(currency)s
LEFT JOIN ledger_accounts AS account ON account.id = entry.account_id
LEFT JOIN subscriptions AS subscription ON subscription.id = booked.subscription_id
LEFT JOIN chapters AS chapter ON chapter.id = subscription.chapter_id
LEFT JOIN (
    SELECT chapter_id, teacher_id, since,
           coalesce(lead(since) OVER (PARTITION BY chapter_id ORDER BY since), 'infinity') AS until
    FROM chapter_teachers
) AS taught ON taught.chapter_id = subscription.chapter_id
           AND booked.created_at >= taught.since AND booked.created_at < taught.until
LEFT JOIN payments AS payment ON payment.id = booked.payment_id AND booked.kind = 'payment'
"""
ENTRIES = _ENTRIES.format(case=_CASE, booked="created_at >= %(begins_at)s")
#: The same of these transactions alone.
ENTRIES_OF = _ENTRIES.format(case=_CASE, booked="id = ANY (%(transactions)s::bigint[])")

# Of no column of `account`, so that the planner leaves it out: there are as many wallets as users. OFFSET 0: what an
# entry is is found once.
_MOVED = f"""
SELECT bucket, what, chapter_id, teacher_id, provider, method, clearing_account,
       sum(amount_minor)::bigint AS amount_minor
FROM ({ENTRIES} OFFSET 0) AS moved WHERE what <> 'own'
GROUP BY bucket, what, chapter_id, teacher_id, provider, method, clearing_account
"""  # noqa: S608

# in two ranges, which an index finds
_OWN = "SELECT id, kind FROM ledger_accounts WHERE kind < 'user_wallet' OR kind > 'user_wallet'"

_BEFORE = f"""
SELECT what, account_id, sum(amount_minor)::bigint AS amount_minor FROM (
    SELECT entry.amount_minor, {_CASE} AS what,
           CASE WHEN entry.account_id = ANY (%(clearing)s::bigint[]) THEN entry.account_id END AS account_id
    FROM ledger_transactions AS booked
    JOIN ledger_entries AS entry ON entry.transaction_id = booked.id AND entry.currency = %(currency)s
    WHERE booked.created_at < %(begins_at)s
) AS moved WHERE what <> 'own' GROUP BY what, account_id
"""  # noqa: S608

_PROVIDERS = "SELECT id, provider FROM ledger_accounts WHERE kind = 'psp_clearing'"

#: What moves wallets.
OF_WALLETS = ("topped_up", "refunded", "disputed", "spent", "adjusted")


def movements(ask: Query, days: Days, currency: str) -> Movements:
    """What was booked in `days`, and before them."""
    own = accounts(ask)
    rows: dict[str, list[Any]] = {}
    for row in ask(_MOVED, **own, **span(days), currency=currency):
        rows.setdefault(row.what, []).append(row)
    providers = {row.id: row.provider or NONE for row in ask(_PROVIDERS)}
    before, due_before = _before(ask, days, currency, own, providers)

    def of(names: Iterable[str]) -> Iterator[Any]:
        return chain.from_iterable(rows.get(name, ()) for name in names)

    def total(*names: str) -> list[int]:
        return by_bucket(days, ((row.bucket, row.amount_minor) for row in of(names)))

    def split(key: str, *names: str) -> dict[str, list[int]]:
        return keyed(days, ((row.bucket, getattr(row, key), row.amount_minor) for row in of(names)))

    return Movements(
        billed=total("billed"),
        returned=_negative(total("returned")),
        by_chapter=split("chapter_id", "billed", "returned"),
        by_teacher=split("teacher_id", "billed", "returned"),
        topped_up=total("topped_up"),
        by_provider=split("provider", "topped_up"),
        by_method=split("method", "topped_up"),
        refunded=_negative(total("refunded")),
        charged_back=_negative(total("disputed", "withheld")),
        withheld=total("withheld"),
        clearing=_negative(total("clearing")),
        due=keyed(days, ((row.bucket, providers[row.clearing_account], row.amount_minor) for row in of(["clearing"]))),
        adjusted=total("adjusted"),
        fees=_negative(total("fees")),
        wallets=total(*OF_WALLETS),
        before=before,
        due_before=due_before,
    )


def _before(
    ask: Query, days: Days, currency: str, own: Mapping[str, list[int]], providers: Mapping[int, str]
) -> tuple[dict[str, int], dict[str, int]]:
    kept = {name: ask.kept(days.first - ONE_DAY, kept_as) for name, kept_as in TO_DATE.items()}
    found = {name: amount for name, amount in kept.items() if amount is not None}
    due = ask.kept_keys(days.first - ONE_DAY, "payments.clearing_by_provider")
    if len(found) == len(kept) and due is not None:
        return found, due
    rows = ask(_BEFORE, **own, begins_at=days.begins_at, currency=currency)
    sums: dict[str, int] = {}
    due = {}
    for row in rows:
        sums[row.what] = sums.get(row.what, 0) + int(row.amount_minor)
        if row.account_id is not None:
            due[providers[row.account_id]] = due.get(providers[row.account_id], 0) - int(row.amount_minor)

    def total(*names: str) -> int:
        return sum(sums.get(name, 0) for name in names)

    totals = {
        "revenue": total("billed", "returned"),
        "topped_up": total("topped_up"),
        "wallets": total(*OF_WALLETS),
        "disputes_open": total("withheld"),
        "clearing": -total("clearing"),
    }
    return totals, due


def accounts(ask: Query) -> dict[str, list[int]]:
    """The school's own accounts, by what they are for."""
    rows = ask(_OWN)
    kinds = {
        "revenue": ("subscription_revenue",),
        "fees": ("psp_fees", "dispute_fees"),
        "withheld": ("dispute_withheld",),
        "clearing": ("psp_clearing",),
    }
    found = {name: [row.id for row in rows if row.kind in of] for name, of in kinds.items()}
    return {**found, "own": [row.id for row in rows]}


def _negative(amounts: list[int]) -> list[int]:
    return [-amount for amount in amounts]
