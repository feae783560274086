"""Credit, debt and debtors at the end of each day, walked back from what wallets hold now."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.stats.binary_column_reader import Integers
from services.stats.days import Days
from services.stats.sections.base import Query, distinct
from services.stats.sections.registered_users import counted

_WALLETS = """
SELECT account.id, account.user_id, owner.balance_minor FROM ledger_accounts AS account
JOIN users AS owner ON owner.id = account.user_id
WHERE account.kind = 'user_wallet' AND (%(all)s OR account.id = ANY (%(some)s::bigint[]))
"""

#: What is made of a step takes several times its own space, so wallets are dealt out.
_PARTS = 16


class Wallets:
    """Wallets and what their users hold now; a user's place is its number among these users."""

    def __init__(self, ask: Query, some: Integers | None = None) -> None:
        """All wallets, or those of `some` accounts, which is slower for very many."""
        limits = {"all": some is None, "some": [] if some is None else distinct(some).tolist()}
        parts: list[list[Integers]] = [[np.zeros(0, np.int64)] * 3]
        # a row of all of them would be in memory several times
        ask.parts(_WALLETS, ("id", "user_id", "balance_minor"), f"id %% {_PARTS}", parts.append, **limits)
        ids, users, balances = (np.concatenate(column) for column in zip(*parts, strict=True))
        del parts
        order = np.argsort(ids)
        self._ids = ids[order]
        del ids
        known = distinct(users)
        self._places = np.searchsorted(known, users[order])
        self.balances = np.zeros(known.size, np.int64)
        self.balances[self._places] = balances[order]

    def places(self, accounts: Integers) -> Integers:
        """The place of the user of each of these wallets."""
        return self._places[np.searchsorted(self._ids, accounts)]


class Balances:
    """Collects what moved wallets, then finds what they held at the end of each bucket."""

    def __init__(self, days: Days, wallets: Wallets) -> None:
        self._days, self._number = days, len(days) + 2
        self._wallets = wallets
        #: What moved each user's wallets after the days.
        self._later = np.zeros_like(wallets.balances)
        #: Places, buckets and amounts of what moved in the days: small integers, since they are as many as entries.
        self._steps = [_step(*(np.zeros(0, np.int64) for _ in range(3)))]

    def add(self, accounts: Integers, buckets: Integers, amounts: Integers) -> None:
        """Note what moved these wallets, and in which buckets; none before the days."""
        places, is_later = self._wallets.places(accounts), buckets > self._number - 2
        np.add.at(self._later, places[is_later], amounts[is_later])
        inside = ~is_later
        self._steps.append(_step(places[inside], buckets[inside], amounts[inside]))

    def levels(self, ask: Query) -> Integers:
        """Credit, debt and debtors, by bucket."""
        rows = ask.once(counted, self._days)
        balances = self._wallets.balances
        last = balances - self._later
        change = np.zeros((3, self._number), np.int64)
        for sums, function in zip(change, (_credit, _debt, _is_debtor), strict=True):
            sums[-1] = (function(balances) - function(last)).sum()
        places, buckets, amounts = (np.concatenate(column) for column in zip(*self._steps, strict=True))
        for part in range(_PARTS):
            some = np.flatnonzero(places % _PARTS == part)
            self._walk(change, last, places[some], buckets[some], amounts[some])
        now = np.array([sum(getattr(row, name) for row in rows) for name in ("credit", "debt", "debtors")])[:, None]
        later = np.cumsum(change[:, ::-1], axis=1)[:, ::-1]
        found: Integers = now - later + change
        return found

    def _walk(self, change: Integers, last: Integers, places: Integers, buckets: Integers, amounts: Integers) -> None:
        """Add what these steps changed to `change`, from what wallets held at the last bucket's end."""
        # from the last day back: what a wallet held before is what it holds less what came since
        cells = places.astype(np.int64) * self._number + (self._number - 1 - buckets)
        order = np.argsort(cells)
        cells, amounts = cells[order], amounts[order]
        # one step a wallet and day
        firsts = np.flatnonzero(np.diff(cells, prepend=-1))
        steps = np.add.reduceat(amounts, firsts) if firsts.size else firsts
        whose, buckets = np.divmod(cells[firsts], self._number)
        since = np.cumsum(steps) - steps
        is_first = np.diff(whose, prepend=-1) != 0
        since -= since[is_first][np.cumsum(is_first) - 1] if since.size else since
        after = last[whose] - since
        for sums, function in zip(change, (_credit, _debt, _is_debtor), strict=True):
            np.add.at(sums, self._number - 1 - buckets, function(after) - function(after - steps))


def _step(places: Integers, buckets: Integers, amounts: Integers) -> tuple[NDArray[np.integer[Any]], ...]:
    return places.astype(np.int32), buckets.astype(np.int16), amounts


def _credit(balances: Integers) -> Integers:
    return np.maximum(balances, 0)


def _debt(balances: Integers) -> Integers:
    return np.maximum(-balances, 0)


def _is_debtor(balances: Integers) -> Integers:
    return (balances < 0).astype(np.int64)
