"""Keyset pagination: reads rows in order of their ids, one range of ids at a time, until the page is full."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.stats.sections.base import Query

#: A piece that holds less of a page is followed by one that is so many times as large, up to a limit.
_GROWTH, _LARGEST = 4, 500_000
_NO_END = 2**62

_LAST_ID = "SELECT id FROM {table} WHERE id > %(after)s ORDER BY id OFFSET %(skipped)s LIMIT 1"
# id + 0 keeps the planner from walking over all later rows in the order of their ids
_NEXT_ID = "SELECT min(id + 0) AS id FROM {table} WHERE id > %(after)s AND {at} < %(ends_at)s"
#: Tables of which a block index says where ids and times lie together.
_LARGE = ("ledger_transactions", "payments", "subscriptions")

_START = "SELECT transaction_id FROM ledger_entries WHERE id <= %(after)s ORDER BY id DESC LIMIT 1"
_TRANSACTIONS = """
SELECT id FROM ledger_transactions WHERE id > %(after)s AND kind = ANY (%(kinds)s) ORDER BY id LIMIT %(width)s
"""
_TRANSACTIONS_OF_ACCOUNTS = """
SELECT DISTINCT booked.id FROM unnest(%(accounts)s::bigint[]) AS account (id), LATERAL (
    SELECT transaction_id AS id FROM ledger_entries WHERE account_id = account.id AND transaction_id > %(after)s
    ORDER BY transaction_id LIMIT %(width)s
) AS booked ORDER BY id LIMIT %(width)s
"""
_OF_DAY = """
SELECT entry.id, entry.transaction_id FROM (
    SELECT id, kind FROM ledger_transactions WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s OFFSET 0
) AS booked JOIN ledger_entries AS entry ON entry.transaction_id = booked.id
WHERE entry.id > %(after)s AND ({tests})
"""
_WALLETS = "entry.account_id <> ALL (%(own)s::bigint[]) AND"
#: What `ledger` calls an entry, as a test that needs no other table.
_ENTRY_TESTS = {
    "billed": "entry.account_id = ANY (%(revenue)s::bigint[]) AND kind <> 'deactivation'",
    "returned": "entry.account_id = ANY (%(revenue)s::bigint[]) AND kind = 'deactivation'",
    **{name: f"entry.account_id = ANY (%({name})s::bigint[])" for name in ("clearing", "withheld", "fees")},
    "paid_out": "entry.account_id = ANY (%(bank)s::bigint[])",
    "topped_up": f"{_WALLETS} kind = 'payment' AND entry.amount_minor > 0",
    "refunded": f"{_WALLETS} (kind IN ('refund', 'refund_reversed') OR kind = 'payment' AND entry.amount_minor < 0)",
    "disputed": f"{_WALLETS} kind IN ('dispute_withheld', 'dispute_released', 'dispute_lost', 'dispute_fee')",
    "adjusted": f"{_WALLETS} kind = 'adjustment'",
}
_ALL_KINDS = (
    "payment", "refund", "refund_reversed", "dispute_withheld", "dispute_released", "dispute_lost", "dispute_fee",
    "activation", "deactivation", "adjustment", "payout",
)  # fmt: skip
#: Which of the school's accounts an entry belongs to, by what `ledger` calls it; others are of wallets.
_ACCOUNTS = {
    "billed": "revenue", "returned": "revenue", "clearing": "clearing", "withheld": "withheld", "fees": "fees",
    "paid_out": "bank",
}  # fmt: skip


def by_id(
    ask: Query,
    text: str,
    values: Mapping[str, Any],
    table: str,
    limit: int | None,
    at: str | None = None,
) -> Sequence[Any]:
    """The first rows of a query whose %(after)s and %(until)s are ids of `table`, in their order.

    `at` is the column that has to be before the day's end, where `table` has one.
    """
    if limit is None:
        return ask(f"{text} ORDER BY id", **{**values, "until": _NO_END})
    found: list[Any] = []
    after, width = values["after"], 2 * limit
    while len(found) < limit:
        last = ask(_LAST_ID.format(table=table), after=after, skipped=width - 1)
        until = last[0].id if last else _NO_END
        piece = f"{text} ORDER BY id FETCH FIRST {limit - len(found)} ROWS WITH TIES"
        got = ask(piece, **{**values, "after": after, "until": until})
        found += got
        if not last:
            break
        after = until
        if not got and at is not None and table in _LARGE:
            if (following := _next_id(ask, table, at, after, values)) is None:
                break
            after = following - 1
        width = min(width * _GROWTH, _LARGEST)
    return found


def _next_id(ask: Query, table: str, at: str, after: int, values: Mapping[str, Any]) -> int | None:
    (row,) = ask(_NEXT_ID.format(table=table, at=at), after=after, ends_at=values["ends_at"])
    return None if row.id is None else int(row.id)


def of_entries(
    ask: Query, what: Sequence[str], text: str, tests: str, values: Mapping[str, Any], limit: int
) -> Sequence[Any]:
    """Entries of the ledger until the day's end, transaction by transaction, from the one after `after` on."""
    accounts, kinds = _accounts(what, values), _kinds(what)
    start = ask(_START, after=values["after"])
    found: list[Any] = []
    after, width = start[0].transaction_id if start else 0, limit
    query = f"SELECT * FROM ({text}) AS found WHERE {tests} ORDER BY transaction_id, id"  # noqa: S608
    while len(found) < limit:
        statement = _TRANSACTIONS if accounts is None else _TRANSACTIONS_OF_ACCOUNTS
        some = [row.id for row in ask(statement, after=after, kinds=kinds, accounts=accounts, width=width)]
        got = ask(query, **{**values, "after": 0, "transactions": some}) if some else []
        found += got
        if len(some) < width:
            break
        after = some[-1]
        if not got:
            if (following := _next_id(ask, "ledger_transactions", "created_at", after, values)) is None:
                break
            after = following - 1
            width = min(width * _GROWTH, 20 * limit)
    return [row for row in found if len(found) <= limit or row.transaction_id <= found[limit - 1].transaction_id]


def of_entries_of_day(
    ask: Query, what: Sequence[str], text: str, tests: str, values: Mapping[str, Any], limit: int
) -> Sequence[Any]:
    """Entries of the ledger in the day, in the order of their ids, from the one after `after` on."""
    known = " OR ".join(_ENTRY_TESTS[one] for one in what)
    ids, transactions = ask.columns(_OF_DAY.format(tests=known), ("id", "transaction_id"), **values)
    order = np.argsort(ids)
    ids, transactions = ids[order], transactions[order]
    found: list[Any] = []
    query = f"SELECT * FROM ({text}) AS found WHERE {tests} AND id <= %(until)s ORDER BY id"  # noqa: S608
    begin, width = 0, 2 * limit
    while begin < ids.size and len(found) < limit:
        end = min(begin + width, ids.size)
        piece = {"transactions": np.unique(transactions[begin:end]).tolist(), "until": int(ids[end - 1])}
        found += ask(query, **{**values, **piece, "after": int(ids[begin]) - 1})
        begin, width = end, width * _GROWTH
    return found[:limit]


def with_ties(found: Sequence[Any], limit: int) -> Sequence[Any]:
    """The first rows in the order of their ids; those of one id stay together."""
    return [row for row in found if len(found) <= limit or row.id <= found[limit - 1].id]


def _accounts(what: Sequence[str], values: Mapping[str, Any]) -> list[int] | None:
    """The school's accounts that all of these entries belong to, where there are such."""
    own = {_ACCOUNTS.get(one) for one in what}
    found: list[int] | None = values[name] if len(own) == 1 and (name := own.pop()) is not None else None
    return found


def _kinds(what: Sequence[str]) -> list[str]:
    return ["payment"] if tuple(what) == ("topped_up",) else list(_ALL_KINDS)


#: So many transactions are added up by wallet at once; where there are more, it is done wallet by wallet.
_FEW = 20_000
#: Then a page reads an eighth as many wallets as it may have rows: each has all of its entries to add up.
_PART_OF_A_PAGE = 8
_COUNTED = "SELECT count(*) AS number FROM (SELECT FROM ledger_transactions WHERE {when} LIMIT %(few)s) AS booked"
_SUMS = """
SELECT account.user_id, sum(entry.amount_minor) AS amount_minor
FROM (SELECT id FROM ledger_transactions WHERE {when} OFFSET 0) AS booked
JOIN ledger_entries AS entry ON entry.transaction_id = booked.id
JOIN ledger_accounts AS account ON account.id = entry.account_id AND account.kind = 'user_wallet'
GROUP BY account.user_id
"""
_LATER, _EARLIER = "created_at >= %(ends_at)s", "created_at < %(ends_at)s"
# what a wallet holds is the sum of its entries, and nothing else: so it is found from both ends
_BACK = f"""
SELECT owner.id, owner.balance_minor - coalesce(later.amount_minor, 0) AS balance FROM users AS owner
LEFT JOIN ({_SUMS.format(when=_LATER)}) AS later ON later.user_id = owner.id
"""  # noqa: S608
_FORTH = f"SELECT user_id AS id, amount_minor AS balance FROM ({_SUMS.format(when=_EARLIER)}) AS sums"  # noqa: S608
_ONE_BY_ONE = f"""
SELECT owner.id, owner.balance_minor - coalesce((
    SELECT sum(entry.amount_minor) FROM ledger_accounts AS account
    JOIN ledger_entries AS entry ON entry.account_id = account.id
    JOIN ledger_transactions AS booked ON booked.id = entry.transaction_id
    WHERE account.kind = 'user_wallet' AND account.user_id = owner.id AND booked.{_LATER}
), 0) AS balance FROM users AS owner WHERE owner.id > %(after)s AND owner.id <= %(until)s
OFFSET 0
"""  # noqa: S608


# the keyset is what the row `after` holds, and its id: a past day's balances do not change
_LARGEST_FIRST = """
WITH found AS MATERIALIZED ({text})
SELECT * FROM found WHERE {tests} AND (
    %(after)s = 0 OR (-size, id) > (SELECT -size, id FROM found AS reached WHERE reached.id = %(after)s)
) ORDER BY size DESC, id
"""


@dataclass(frozen=True, slots=True)
class BalanceRows:
    """Rows of wallets."""

    rows: Sequence[Any]
    #: Where a page ended because it had read enough wallets, the last of these.
    read_until: int | None = None
    largest_first: bool = False


def of_balances(
    ask: Query, text: str, values: Mapping[str, Any], tests: str, limit: int | None, *, largest_first: bool | None
) -> BalanceRows:
    """Rows of wallets as they were at the day's end, which the query `text` calls `{held}`.

    `largest_first` of None: where all wallets are known at once. Where many transactions were booked both before the
    day's end and after it, each wallet has to be added up by itself, and a page adds up only as many as it needs.
    """

    def few(when: str) -> bool:
        (row,) = ask(_COUNTED.format(when=when), **{**values, "few": _FEW + 1})
        return bool(row.number <= _FEW)

    if limit is None or few(_LATER):
        held = _BACK
    elif few(_EARLIER):
        held = _FORTH
    elif largest_first:
        held = _BACK
    else:
        found = _one_by_one(ask, text.format(held=_ONE_BY_ONE), values, f"id > %(after)s AND {tests}", limit)
        return BalanceRows(*found)
    page = "" if limit is None else f"LIMIT {int(limit)}"
    if largest_first is not False:
        query = _LARGEST_FIRST.format(text=text.format(held=held), tests=tests)
        return BalanceRows(ask(f"{query} {page}", **values), largest_first=True)
    query = f"SELECT * FROM ({text.format(held=held)}) AS found WHERE id > %(after)s AND {tests} ORDER BY id"  # noqa: S608
    return BalanceRows(ask(f"{query} {page}", **values))


def _one_by_one(
    ask: Query, text: str, values: Mapping[str, Any], tests: str, limit: int
) -> tuple[Sequence[Any], int | None]:
    last = ask(_LAST_ID.format(table="users"), after=values["after"], skipped=limit // _PART_OF_A_PAGE)
    until = last[0].id if last else _NO_END
    query = f"SELECT * FROM ({text}) AS found WHERE {tests} ORDER BY id"  # noqa: S608
    return ask(query, **{**values, "until": until}), until if last else None
