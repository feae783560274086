"""Checks every invariant once a minute, at a cost that does not grow with the ledger.

The first scan is at everything. Each later one is at what the last ten minutes have touched, at the next stretch of a
slow walk over all users and transactions, at what was broken before, and at one number: all balances together against
all wallets' entries together. Where that number is off, some balance was changed behind our back, and this scan is at
every user. A balance that is known to be off explains its part of that number: no later scan is at every user for it.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from services.webhook_gateway.integrity.invariants import (
    Broken,
    Invariant,
    Touched,
    different,
    unbalanced,
    unpublished,
    unsettled,
)
from services.webhook_gateway.settlement.settle import MAX_WAIT, PATIENCE

#: Entries younger than this may still get neighbours with lower numbers from transactions that are not over.
RECENT_SECONDS = 600.0
#: The slow walk's stretch of one scan. One of users that takes longer than `WALK_SECONDS` is followed by a shorter
#: one: the first users of an old school have ten times as many entries as the others.
USERS_A_CHECK, MIN_USERS_A_CHECK = 1_000, 50
WALK_SECONDS = 0.1
TRANSACTIONS_A_CHECK = 20_000
#: What waits beyond the settlement's own patience and its longest wait was forgotten.
DECIDE_SECONDS = (PATIENCE + 4 * MAX_WAIT).total_seconds()
PUBLISH_SECONDS = 60.0
#: A check of every user may take this share of the time, however much there is to find.
FULL_CHECK_SHARE = 0.02

_ENDS = """
    SELECT coalesce((SELECT max(id) FROM ledger_entries), 0) AS entry,
        coalesce((SELECT max(id) FROM ledger_transactions), 0) AS transaction,
        coalesce((SELECT max(id) FROM users), 0) AS user_
"""
_WALLETS = """
    SELECT coalesce(sum(e.amount_minor), 0) FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
    WHERE a.kind = 'user_wallet' AND e.id > %(after)s AND e.id <= %(until)s
"""
# both sums in one statement: one snapshot
_DRIFT = f"SELECT (SELECT coalesce(sum(balance_minor), 0) FROM users) - ({_WALLETS})"  # noqa: S608
_END_OF_ALL = 2**63 - 1
# where the first scan begins to remember: the last entry of the newest transaction that is no longer recent
_SETTLED = f"""
    SELECT coalesce(max(id), 0) FROM ledger_entries WHERE transaction_id = (
        SELECT id FROM ledger_transactions WHERE created_at < now() - interval '{RECENT_SECONDS} seconds'
        ORDER BY id DESC LIMIT 1)
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Findings:
    """What one scan found."""

    broken: dict[Invariant, Sequence[Broken]]
    unsettled: int
    oldest_unsettled_seconds: float

    @property
    def drift_minor(self) -> int:
        """How far the ledger is off, all differences together."""
        return sum(broken.difference_minor for found in self.broken.values() for broken in found)


class InvariantChecker:
    """Checks through one connection, and remembers where it was."""

    def __init__(
        self, connection: Connection, settle_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection = connection
        self._settle_seconds = settle_seconds
        self._clock = clock
        #: (when, the newest entry then): entries up to `_settled` are all there, and sum up to `_settled_minor`.
        self._ends: deque[tuple[float, int]] = deque()
        self._settled: int | None = None
        self._settled_minor = 0
        self._next_user = self._next_transaction = 0
        self._users_a_check = USERS_A_CHECK
        self._broken_transactions: list[Broken] = []
        self._broken_users: list[Broken] = []
        #: How far the balances together were off when every user was last checked, and when that may be again.
        self._explained_minor = 0
        self._next_full_check = float("-inf")

    def check(self) -> Findings:
        """Check now."""
        with self._connection.begin():
            if self._settled is None:
                self._check_everything()
            else:
                self._check_some(self._settled)
            events = unsettled(self._connection, self._settle_seconds, DECIDE_SECONDS)
            messages = unpublished(self._connection, PUBLISH_SECONDS)
        broken: dict[Invariant, Sequence[Broken]] = {
            Invariant.TRANSACTION_BALANCED: self._broken_transactions,
            Invariant.BALANCE_IS_ENTRIES: self._broken_users,
            Invariant.EVENT_SETTLED: events.late,
            Invariant.EVENT_DECIDED: events.undecided,
            Invariant.MESSAGE_PUBLISHED: messages,
        }
        return Findings(broken, events.number, events.oldest_seconds)

    def _check_everything(self) -> None:
        self._broken_transactions = unbalanced(self._connection)
        self._broken_users = different(self._connection)
        self._settled = int(self._connection.exec_driver_sql(_SETTLED).scalar_one())
        self._settled_minor = self._wallets(0, self._settled)
        self._explained_minor = self._drift(self._settled)

    def _check_some(self, settled: int) -> None:
        ends = self._connection.exec_driver_sql(_ENDS).one()
        transactions = Touched(settled, [broken.id for broken in self._broken_transactions])
        users = Touched(settled, [broken.id for broken in self._broken_users])
        stretch = range(self._next_transaction, self._next_transaction + TRANSACTIONS_A_CHECK)
        self._broken_transactions = _once(
            unbalanced(self._connection, transactions), unbalanced(self._connection, stretch)
        )
        self._next_transaction = 0 if stretch.stop > ends.transaction else stretch.stop
        if self._drift(settled) != self._explained_minor and time.monotonic() >= self._next_full_check:
            began = time.monotonic()
            self._broken_users = different(self._connection)
            # where no user is off, a transaction that stayed open for long has brought entries that were not counted
            self._settled_minor = self._wallets(0, settled)
            self._explained_minor = self._drift(settled)
            took = time.monotonic() - began
            self._next_full_check = began + took / FULL_CHECK_SHARE
        else:
            stretch = range(self._next_user, self._next_user + self._users_a_check)
            began = time.monotonic()
            walked = different(self._connection, stretch)
            self._users_a_check = next_stretch(len(stretch), time.monotonic() - began)
            self._broken_users = _once(different(self._connection, users), walked)
            self._next_user = 0 if stretch.stop > ends.user_ else stretch.stop
        self._advance(ends.entry)

    def _drift(self, settled: int) -> int:
        """How far all balances together are from all wallets' entries together."""
        values = {"after": settled, "until": _END_OF_ALL}
        return int(self._connection.exec_driver_sql(_DRIFT, values).scalar_one()) - self._settled_minor

    def _advance(self, newest_entry: int) -> None:
        now = self._clock()
        self._ends.append((now, newest_entry))
        assert self._settled is not None, "after the first scan"
        settled = self._settled
        while self._ends and now - self._ends[0][0] >= RECENT_SECONDS:
            settled = self._ends.popleft()[1]
        if settled > self._settled:
            self._settled_minor += self._wallets(self._settled, settled)
            self._settled = settled

    def _wallets(self, after: int, until: int) -> int:
        values = {"after": after, "until": until}
        return int(self._connection.exec_driver_sql(_WALLETS, values).scalar_one())


def next_stretch(users: int, took_seconds: float) -> int:
    """How many users the slow walk takes next, after so many took so long."""
    if took_seconds > WALK_SECONDS:
        return max(users // 2, MIN_USERS_A_CHECK)
    return min(users * 2, USERS_A_CHECK) if took_seconds < WALK_SECONDS / 4 else users


def _once(*found: Sequence[Broken]) -> list[Broken]:
    return sorted({broken.id: broken for each in found for broken in each}.values(), key=lambda broken: broken.id)
