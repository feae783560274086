"""The invariants of ledger, balances and inbox, and the queries that find violations.

Each query names the rows that break it, a thousand at most. Those over the ledger take a range, so that a scan can be
small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from shared.contracts.routes import GATEWAY


class Invariant(StrEnum):
    """What is broken, as the metric's label has it."""

    #: A transaction's entries do not sum to zero in one of its currencies.
    TRANSACTION_BALANCED = "transaction_balanced"
    #: A user's balance is not the sum of that user's entries.
    BALANCE_IS_ENTRIES = "balance_is_entries"
    #: An event that no worker has tried yet is older than its time.
    EVENT_SETTLED = "event_settled"
    #: An event that waits (for its order, or for the bank) is older than the time that waiting has.
    EVENT_DECIDED = "event_decided"
    #: A message waits in the outbox longer than a minute.
    MESSAGE_PUBLISHED = "message_published"


@dataclass(frozen=True, slots=True)
class Broken:
    """One row that breaks an invariant; `difference_minor` is how far the money is off."""

    id: int
    difference_minor: int = 0


_UNBALANCED = """
    SELECT transaction_id, max(abs(total)) FROM (
        SELECT transaction_id, sum(amount_minor) AS total FROM ledger_entries WHERE {condition}
        GROUP BY transaction_id, currency HAVING sum(amount_minor) <> 0) unbalanced
    GROUP BY transaction_id ORDER BY transaction_id LIMIT 1000
"""
_DIFFERENT = """
    SELECT u.id, abs(u.balance_minor - coalesce(held.total, 0)) FROM users u
    LEFT JOIN LATERAL (
        SELECT sum(e.amount_minor) AS total FROM ledger_accounts a JOIN ledger_entries e ON e.account_id = a.id
        WHERE a.kind = 'user_wallet' AND a.user_id = u.id) held ON true
    WHERE {condition} AND u.balance_minor <> coalesce(held.total, 0)
    ORDER BY u.id LIMIT 1000
"""
# all users at once: one pass over the entries instead of one index scan for each user
_ALL_DIFFERENT = """
    WITH held AS (
        SELECT a.user_id, sum(e.amount_minor) AS total FROM ledger_accounts a
        JOIN ledger_entries e ON e.account_id = a.id WHERE a.kind = 'user_wallet' GROUP BY a.user_id)
    SELECT u.id, abs(u.balance_minor - coalesce(held.total, 0)) FROM users u LEFT JOIN held ON held.user_id = u.id
    WHERE u.balance_minor <> coalesce(held.total, 0) ORDER BY u.id LIMIT 1000
"""
_UNSETTLED = """
    WITH open AS (
        SELECT id, attempts > 0 AS waits,
            extract(epoch FROM now() - CASE WHEN attempts > 0 THEN coalesce(taken_up_at, drained_at, received_at)
                ELSE coalesce(drained_at, received_at) END) AS age_seconds
        FROM webhook_events WHERE state = 'received')
    SELECT count(*) AS number, coalesce(max(age_seconds) FILTER (WHERE NOT waits), 0) AS oldest_seconds,
        (SELECT array_agg(id) FROM (SELECT id FROM open WHERE NOT waits AND age_seconds > %(settle_seconds)s
            ORDER BY id LIMIT 1000) late) AS late,
        (SELECT array_agg(id) FROM (SELECT id FROM open WHERE waits AND age_seconds > %(decide_seconds)s
            ORDER BY id LIMIT 1000) undecided) AS undecided
    FROM open
"""
_UNPUBLISHED = """
    SELECT id FROM outbox WHERE service = %(service)s AND created_at < now() - %(seconds)s * interval '1 second'
    ORDER BY id LIMIT 1000
"""


# hundreds of thousands where much is booked: they stay in the database
_TOUCHED_TRANSACTIONS = "SELECT transaction_id FROM ledger_entries WHERE id > %(since)s"
_TOUCHED_USERS = """
    SELECT a.user_id FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
    WHERE e.id > %(since)s AND a.user_id IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Touched:
    """What entries after this one are of, and what is named."""

    since: int
    ids: Sequence[int] = ()


def unbalanced(connection: Connection, transactions: Touched | range | None = None) -> list[Broken]:
    """The transactions that do not sum to zero: of those touched, of those in a range, or of all."""
    return _broken(connection, _UNBALANCED, "transaction_id", transactions, _TOUCHED_TRANSACTIONS)


def different(connection: Connection, users: Touched | range | None = None) -> list[Broken]:
    """The users whose balance is not the sum of their entries: of those touched, of those in a range, or of all."""
    query = _ALL_DIFFERENT if users is None else _DIFFERENT
    return _broken(connection, query, "u.id", users, _TOUCHED_USERS)


@dataclass(frozen=True, slots=True)
class Unsettled:
    """The events that are not final: how many, the age of the oldest that no worker has tried, and those past their
    time: that nobody has tried, and that have waited for too long."""

    number: int
    oldest_seconds: float
    late: list[Broken]
    undecided: list[Broken]


def unsettled(connection: Connection, settle_seconds: float, decide_seconds: float) -> Unsettled:
    """Check the events that are not final."""
    values = {"settle_seconds": settle_seconds, "decide_seconds": decide_seconds}
    row = connection.exec_driver_sql(_UNSETTLED, values).one()
    late, undecided = ([Broken(identity) for identity in ids or ()] for ids in (row.late, row.undecided))
    return Unsettled(row.number, float(row.oldest_seconds), late, undecided)


def unpublished(connection: Connection, seconds: float) -> list[Broken]:
    """The messages of this service that have waited longer for RabbitMQ."""
    values = {"service": GATEWAY, "seconds": seconds}
    return [Broken(row.id) for row in connection.exec_driver_sql(_UNPUBLISHED, values)]


def _broken(
    connection: Connection, query: str, column: str, only: Touched | range | None, touched: str
) -> list[Broken]:
    values: dict[str, object]
    if isinstance(only, range):
        condition, values = f"{column} >= %(start)s AND {column} < %(stop)s", {"start": only.start, "stop": only.stop}
    elif only is not None:
        # an array, so that the planner takes the index whatever number it expects
        condition = f"{column} = ANY(ARRAY({touched} UNION SELECT unnest(%(ids)s::bigint[])))"
        values = {"since": only.since, "ids": list(only.ids)}
    else:
        condition, values = "true", {}
    rows = connection.exec_driver_sql(query.format(condition=condition), values)
    return [Broken(int(identity), int(difference)) for identity, difference in rows]
