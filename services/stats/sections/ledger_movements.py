"""Reads the ledger's movements of each day by kind, once for all sections that use them.

Money counts on the day on which it was booked: what is taken back later is taken off that later day.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.stats.binary_column_reader import Integers
from services.stats.days import ONE_DAY, Days
from services.stats.sections.base import NONE, KeyedBuckets, Query
from services.stats.sections.chapter_teachers import ChapterTeachers
from services.stats.sections.ledger_entries import NO_ID, Entries, IdTable, has_many, limited, read_entries
from services.stats.sections.subscription_terms import buckets
from services.stats.sections.wallet_balances import Balances, Wallets

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
    #: What the providers paid out to the school's bank.
    paid_out: list[int]
    #: What operators' corrections gave to wallets.
    adjusted: list[int]
    #: What providers kept of payments, and for disputes; altogether and by provider.
    fees: list[int]
    fees_by_provider: dict[str, list[int]]
    #: What all wallets got less what they spent.
    wallets: list[int]
    #: What had added up before the days, by the names of TO_DATE.
    before: Mapping[str, int] = field(default_factory=dict)
    #: What each provider owed before the days.
    due_before: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What one pass over the entries finds."""

    moved: Movements
    #: Credit, debt and debtors at the end of each bucket, by bucket.
    balances: Integers


# Releases that did not distinguish refunds and disputes booked both as negative payments.
_CASE = """
CASE WHEN entry.account_id = ANY (%(revenue)s::bigint[])
          THEN CASE WHEN booked.kind = 'deactivation' THEN 'returned' ELSE 'billed' END
     WHEN entry.account_id = ANY (%(fees)s::bigint[]) THEN 'fees'
     WHEN entry.account_id = ANY (%(withheld)s::bigint[]) THEN 'withheld'
     WHEN entry.account_id = ANY (%(clearing)s::bigint[]) THEN 'clearing'
     WHEN entry.account_id = ANY (%(bank)s::bigint[]) THEN 'paid_out'
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
       coalesce(subscription.user_id, account.user_id, payment.user_id) AS user_id, entry.amount_minor, {case} AS what,
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
LEFT JOIN LATERAL (
    SELECT one.chapter_id, one.teacher_id FROM chapter_teachers AS one
    WHERE one.chapter_id = subscription.chapter_id AND one.since <= booked.created_at
    ORDER BY one.since DESC LIMIT 1
) AS taught ON true
LEFT JOIN payments AS payment ON payment.id = booked.payment_id
"""
ENTRIES = _ENTRIES.format(case=_CASE, booked="created_at >= %(begins_at)s")
#: The same of these transactions alone. They are a subquery, since for an array the planner takes the block index of
#: ids and times, and reads all of it once for each id.
ENTRIES_OF = _ENTRIES.format(case=_CASE, booked="id IN (SELECT unnest(%(transactions)s::bigint[]))")

# in two ranges, which an index finds
_OWN = "SELECT id, kind FROM ledger_accounts WHERE kind < 'user_wallet' OR kind > 'user_wallet'"

_BEFORE = f"""
SELECT what, account_id, sum(amount_minor)::bigint AS amount_minor FROM (
    SELECT entry.amount_minor, {_CASE} AS what,
           CASE WHEN entry.account_id = ANY (%(clearing)s::bigint[]) THEN entry.account_id END AS account_id
    FROM ledger_transactions AS booked
    JOIN ledger_entries AS entry ON entry.transaction_id = booked.id AND entry.currency = %(currency)s
    WHERE booked.created_at < %(begins_at)s
) AS moved WHERE what NOT IN ('own', 'paid_out') GROUP BY what, account_id
"""  # noqa: S608

_PROVIDERS = "SELECT id, provider FROM ledger_accounts WHERE kind IN ('psp_clearing', 'psp_fees', 'dispute_fees')"

_CHAPTERS = "SELECT id, coalesce(chapter_id, %(none)s) AS chapter_id FROM subscriptions WHERE {which}"
_WAYS = "SELECT id, provider, method FROM payments WHERE {which}"

#: What moves wallets.
OF_WALLETS = ("topped_up", "refunded", "disputed", "spent", "adjusted")
#: What it is by the transaction's kind, where it is no top-up: the same as in _CASE.
_OF_KIND = {
    "payment": "refunded",
    **dict.fromkeys(("refund", "refund_reversed"), "refunded"),
    **dict.fromkeys(("dispute_withheld", "dispute_released", "dispute_lost", "dispute_fee"), "disputed"),
    **dict.fromkeys(("activation", "deactivation"), "spent"),
}


def ledger(ask: Query, days: Days, currency: str) -> Ledger:
    """What was booked in `days`, before them, and after them."""
    own, is_many = accounts(ask), has_many(ask, days)
    moved, balances = _Moved(ask, days, own), None
    for entries in read_entries(ask, days, own["revenue"], is_many=is_many):
        of_wallets = [~np.isin(one.accounts, own["own"]) for one in entries]
        if balances is None:
            some = [one.accounts[which] for one, which in zip(entries, of_wallets, strict=True)]
            balances = Balances(days, Wallets(ask, None if is_many else np.concatenate([np.zeros(0, np.int64), *some])))
        for one, is_wallet in zip(entries, of_wallets, strict=True):
            bucket = buckets(one.booked_at, days)
            balances.add(one.accounts[is_wallet], bucket[is_wallet], one.amounts[is_wallet])
            if one.currency == currency:
                moved.add(one, bucket, is_wallet)
        moved.resolve(ask)
    levels = balances.levels(ask) if balances else np.zeros((3, len(days) + 2), np.int64)
    return Ledger(moved.movements(*_before(ask, days, currency, own, moved.providers)), levels)


class _Moved:
    """Adds entries up by what they are."""

    def __init__(self, ask: Query, days: Days, own: Mapping[str, list[int]]) -> None:
        self._number = number = len(days) + 2
        self._own = own
        self.providers = {row.id: _named(row.provider) for row in ask(_PROVIDERS)}
        self._teachers = ChapterTeachers(ask)
        self._totals: dict[str, Integers] = defaultdict(lambda: np.zeros(number, np.int64))
        self._clearing, self._fees, self._chapters, self._taught, self._paid = (KeyedBuckets(number) for _ in range(5))
        #: Provider and method of payments, by their number in `_paid`.
        self._ways: dict[tuple[str | None, str | None], int] = {}
        #: Entries whose subscriptions or payments are not read yet.
        self._sales: list[tuple[Integers, ...]] = []
        self._top_ups: list[tuple[Integers, ...]] = []

    def add(self, entries: Entries, bucket: Integers, is_wallet: NDArray[np.bool_]) -> None:
        """Add these, which are in the school's currency."""
        is_inside = bucket < self._number - 1
        for name in ("revenue", "fees", "withheld", "clearing", "bank"):
            which = np.flatnonzero(is_inside & np.isin(entries.accounts, self._own[name]))
            at, amounts = bucket[which], entries.amounts[which]
            if name == "revenue":
                name = "returned" if entries.kind == "deactivation" else "billed"
                self._sales.append((entries.references[which], entries.booked_at[which], at, amounts))
            elif name == "clearing":
                self._clearing.add(entries.accounts[which], at, amounts)
            elif name == "fees":
                self._fees.add(entries.accounts[which], at, -amounts)
            np.add.at(self._totals[name], at, amounts)
        is_moved = is_inside & is_wallet
        is_top_up = is_moved & (entries.amounts > 0) & (entries.kind == "payment")
        if entries.kind == "payment":
            self._top_ups.append((entries.references[is_top_up], bucket[is_top_up], entries.amounts[is_top_up]))
            np.add.at(self._totals["topped_up"], bucket[is_top_up], entries.amounts[is_top_up])
        rest = np.flatnonzero(is_moved & ~is_top_up)
        np.add.at(self._totals[_OF_KIND.get(entries.kind, "adjusted")], bucket[rest], entries.amounts[rest])

    def resolve(self, ask: Query) -> None:
        """Find the chapters and teachers of the sales so far, and the ways of the top-ups."""
        if self._sales:
            subscriptions, booked_at, at, amounts = (np.concatenate(one) for one in zip(*self._sales, strict=True))
            which, values = limited(subscriptions)
            table = ask.columns(_CHAPTERS.format(which=which), ("id", "chapter_id"), none=NO_ID, **values)
            chapters = IdTable(*table).of(subscriptions)
            self._chapters.add(chapters, at, amounts)
            self._taught.add(self._teachers.at(chapters, booked_at), at, amounts)
        if self._top_ups:
            payments, at, amounts = (np.concatenate(one) for one in zip(*self._top_ups, strict=True))
            self._paid.add(self._ways_of(ask, payments), at, amounts)
        self._sales, self._top_ups = [], []

    def _ways_of(self, ask: Query, payments: Integers) -> Integers:
        ids, ways = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]

        def take(provider: str | None, method: str | None, columns: list[Integers]) -> None:
            ids.append(columns[0])
            ways.append(np.full_like(columns[0], self._ways.setdefault((provider, method), len(self._ways))))

        which, values = limited(payments)
        ask.groups(_WAYS.format(which=which), ("id",), ("provider", "method"), take, **values)
        return IdTable(np.concatenate(ids), np.concatenate(ways)).of(payments)

    def movements(self, before: Mapping[str, int], due_before: Mapping[str, int]) -> Movements:
        """All that was added."""

        def total(*names: str) -> list[int]:
            found: list[int] = sum((self._totals[name] for name in names), np.zeros(self._number, np.int64)).tolist()
            return found

        ways = dict(enumerate(self._ways))
        return Movements(
            billed=total("billed"),
            returned=_negative(total("returned")),
            by_chapter=self._chapters.by_name(_id_name),
            by_teacher=self._taught.by_name(_id_name),
            topped_up=total("topped_up"),
            by_provider=self._paid.by_name(lambda way: _named(ways.get(way, (None, None))[0])),
            by_method=self._paid.by_name(lambda way: _named(ways.get(way, (None, None))[1])),
            refunded=_negative(total("refunded")),
            charged_back=_negative(total("disputed", "withheld")),
            withheld=total("withheld"),
            clearing=_negative(total("clearing")),
            due=self._clearing.by_name(self.providers.__getitem__),
            paid_out=_negative(total("bank")),
            adjusted=total("adjusted"),
            fees=_negative(total("fees")),
            fees_by_provider=self._fees.by_name(self.providers.__getitem__),
            wallets=total(*OF_WALLETS),
            before=before,
            due_before=due_before,
        )


def _named(word: str | None) -> str:
    return NONE if word is None else word


def _id_name(number: int) -> str:
    return NONE if number == NO_ID else str(number)


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
        "bank": ("bank",),
    }
    found = {name: [row.id for row in rows if row.kind in of] for name, of in kinds.items()}
    return {**found, "own": [row.id for row in rows]}


def _negative(amounts: list[int]) -> list[int]:
    return [-amount for amount in amounts]
