"""Wallets: what the school owes to students, what they owe to it, and what moved."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from services.stats.binary_column_reader import Integers
from services.stats.days import Days
from services.stats.sections.base import (
    FOREVER,
    MetricDefinition,
    Query,
    Rules,
    Section,
    Unit,
    Value,
    Values,
    by_bucket,
    distinct,
    rounded,
    running,
)
from services.stats.sections.ledger_movements import accounts, movements
from services.stats.sections.subscription_terms import buckets

NUMBERS = (
    MetricDefinition(
        "credit",
        Unit.MINOR,
        "Owed to students at the day's end: the sum of all wallets that are above zero.",
        reach_days=FOREVER,
        source="users, ledger_entries",
        reconciles="total, with debt",
    ),
    MetricDefinition(
        "debt",
        Unit.MINOR,
        "Owed by students at the day's end: what all wallets that are below zero lack.",
        reach_days=FOREVER,
        source="users, ledger_entries",
    ),
    MetricDefinition(
        "debtors",
        Unit.COUNT,
        "Users whose wallet is below zero at the day's end.",
        reach_days=FOREVER,
        source="users, ledger_entries",
    ),
    MetricDefinition(
        "total",
        Unit.MINOR,
        "What all wallets hold at the day's end, debts taken off.",
        reach_days=FOREVER,
        reconciles="the day before, with topped_up and adjusted, without refunded, charged_back, the change of "
        "disputes_open, and revenue.net",
    ),
    MetricDefinition(
        "mean",
        Unit.MINOR,
        "total by the users registered before the day's end, rounded; left out without users.",
        reach_days=FOREVER,
    ),
    MetricDefinition(
        "adjusted", Unit.MINOR, "What operators' corrections gave to wallets in the day, less what they took."
    ),
)

_NOW = """
SELECT coalesce(sum(balance_minor) FILTER (WHERE balance_minor > 0), 0)::bigint AS credit,
       coalesce(-sum(balance_minor) FILTER (WHERE balance_minor < 0), 0)::bigint AS debt,
       count(*) FILTER (WHERE balance_minor < 0) AS debtors
FROM users
"""

_OWNERS = "SELECT width_bucket(created_at, %(edges)s) AS bucket, count(*) AS owners FROM users GROUP BY bucket"

_MOVED = """
SELECT entry.account_id, entry.amount_minor, booked.created_at AS booked_at
FROM (
    SELECT id, created_at FROM ledger_transactions WHERE created_at >= %(begins_at)s ORDER BY id OFFSET 0
) AS booked
JOIN ledger_entries AS entry ON entry.transaction_id = booked.id
-- the school's own accounts are few
WHERE entry.account_id <> ALL (%(own)s::bigint[])
"""

_COUNTED = """
SELECT count(*) AS number FROM (SELECT FROM ledger_transactions WHERE created_at >= %(begins_at)s LIMIT %(many)s) AS one
"""

_WALLETS = """
SELECT account.id, account.user_id, owner.balance_minor FROM ledger_accounts AS account
JOIN users AS owner ON owner.id = account.user_id WHERE account.kind = 'user_wallet' AND {which}
"""

#: Where as many transactions are read, all wallets are: a list of so many is slower.
_MANY = 100_000


class Balances:
    """Credit, debt and debtors at the end of each bucket, walked back from what wallets hold now."""

    def __init__(self, ask: Query, days: Days) -> None:
        self._days = days
        self._number = len(days) + 2
        self._change = np.zeros((3, self._number), np.int64)
        self._read(ask)
        row = ask(_NOW)[0]
        now = np.array([row.credit, row.debt, row.debtors])[:, None]
        later = np.cumsum(self._change[:, ::-1], axis=1)[:, ::-1]
        self._levels = now - later + self._change

    def _read(self, ask: Query) -> None:
        names = ("account_id", "amount_minor", "booked_at")
        values = {"begins_at": self._days.begins_at, "own": accounts(ask)["own"]}
        if ask(_COUNTED, **values, many=_MANY)[0].number == _MANY:
            self._wallets = self._read_wallets(ask, "true")
            ask.parts(_MOVED, names, "account_id %% 16", self._add, **values)
        else:
            moved = ask.columns(_MOVED, names, **values)
            some = distinct(moved[0]).tolist()
            self._wallets = self._read_wallets(ask, "account.id = ANY (%(some)s::bigint[])", some=some)
            self._add(moved)

    def _read_wallets(self, ask: Query, which: str, **values: Any) -> tuple[Integers, Integers, Integers]:
        """Accounts in order, whose they are, and what they hold now."""
        ids, users, balances = ask.columns(_WALLETS.format(which=which), ("id", "user_id", "balance_minor"), **values)
        order = np.argsort(ids)
        return ids[order], users[order], balances[order]

    def at(self, bucket: int) -> Sequence[int]:
        """Credit, debt and debtors."""
        return [int(level) for level in self._levels[:, bucket]]

    def _add(self, columns: list[Integers]) -> None:
        whose, amounts, booked_at = columns
        ids, users, balances = self._wallets
        places = np.searchsorted(ids, whose)
        users, balances = users[places], balances[places]
        day_of = buckets(booked_at, self._days)
        # from the last day back: what a wallet held before is what it holds less what came since
        order = np.lexsort((-day_of, users))
        users, balances, amounts, day_of = users[order], balances[order], amounts[order], day_of[order]
        total = np.cumsum(amounts)
        is_first = np.diff(users, prepend=-1) != 0
        base = (total - amounts)[is_first]
        before = balances - (total - base[np.cumsum(is_first) - 1]) if users.size else total
        # one step a wallet and day
        is_last = np.append((np.diff(users) != 0) | (np.diff(day_of) != 0), True)[: users.size]
        starts = np.append(True, is_last[:-1])[: users.size]
        after = (before + amounts)[starts]
        before, day_of = before[is_last], day_of[is_last]
        for sums, function in zip(self._change, (_credit, _debt, _is_debtor), strict=True):
            np.add.at(sums, day_of, function(after) - function(before))


def _credit(balances: Integers) -> Integers:
    return np.maximum(balances, 0)


def _debt(balances: Integers) -> Integers:
    return np.maximum(-balances, 0)


def _is_debtor(balances: Integers) -> Integers:
    return (balances < 0).astype(np.int64)


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    moved = ask.once(movements, days, rules.currency)
    balances, total = Balances(ask, days), moved.before["wallets"]
    owners = running(by_bucket(days, ((row.bucket, row.owners) for row in ask(_OWNERS, edges=days.edges))))
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        credit, debt, debtors = balances.at(bucket)
        total += moved.wallets[bucket]
        numbers: dict[str, Value] = {
            "credit": credit,
            "debt": debt,
            "debtors": debtors,
            "total": total,
            "adjusted": moved.adjusted[bucket],
        }
        if owners[bucket]:
            numbers["mean"] = rounded(total, owners[bucket])
        values[day] = numbers
    return values


SECTION = Section("wallets", NUMBERS, compute, weight=4, source="ledger_transactions, ledger_entries")
