"""Writes the hash chain: links committed rows, without delaying the work."""

import hashlib
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from psycopg2 import Binary
from sqlalchemy import Connection

from services.webhook_gateway.integrity.row_digests import DIGESTS, TABLES, SealedRowKind
from shared.runtime.failpoints import failpoint

#: What the first seal is bound to.
GENESIS = bytes(32)
BATCH_SIZE = 1000
#: A row that was sealed so long ago has no neighbour with a lower number that is not committed yet.
SETTLED_AFTER = "10 minutes"
#: The same while we have watched the transactions ourselves.
SETTLED_SECONDS = 15.0

_SETTLED = f"""
    SELECT max(row_id) FROM (
        SELECT row_id FROM seals WHERE what = %(what)s AND sealed_at < now() - interval '{SETTLED_AFTER}'
        ORDER BY row_id DESC LIMIT 1) newest
"""  # noqa: S608
_TRANSACTIONS = """
    SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint FROM pg_current_snapshot() s
"""
_HEAD = "SELECT position, digest FROM seals ORDER BY position DESC LIMIT 1"
_APPEND = """
    INSERT INTO seals (position, what, row_id, digest)
    SELECT * FROM unnest(%(positions)s::bigint[], %(whats)s::text[], %(ids)s::bigint[], %(digests)s::bytea[])
"""


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The newest seal: noted elsewhere, it proves all rows up to it."""

    position: int
    digest: bytes

    def __str__(self) -> str:
        return f"{self.position}:{self.digest.hex()}"


def bind(previous: bytes, row_digest: bytes) -> bytes:
    """The digest of a seal."""
    return hashlib.sha256(previous + row_digest).digest()


def read_head(connection: Connection) -> ChainHead:
    """The newest seal, or what the first will be bound to."""
    row = connection.exec_driver_sql(_HEAD).one_or_none()
    return ChainHead(0, GENESIS) if row is None else ChainHead(row.position, bytes(row.digest))


class HashChainWriter:
    """Seals what is not sealed yet, in the order in which it sees it. One at a time; `position` is unique, so a second
    one's batch fails as a whole and is tried again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        with connection.begin():
            self._settled = {
                what: connection.exec_driver_sql(_SETTLED, {"what": what}).scalar_one_or_none()
                for what in SealedRowKind
            }
        self._seen: dict[SealedRowKind, deque[_Seen]] = {what: deque() for what in SealedRowKind}

    def seal(self) -> int:
        """Seal one batch, and say how many rows it had."""
        with self._connection.begin():
            oldest_running, next_transaction = self._connection.exec_driver_sql(_TRANSACTIONS).one()
            rows = {what: self._unsealed(what) for what in SealedRowKind}
            self._append([(what, row) for what in SealedRowKind for row in rows[what]])
            failpoint("sealer.before_commit")
        for what, found in rows.items():
            self._advance(what, oldest_running)
            if found:
                self._seen[what].append(_Seen(found[-1].id, next_transaction, time.monotonic()))
        return sum(map(len, rows.values()))

    def _unsealed(self, what: SealedRowKind) -> list[Any]:
        # a row may be committed after others with higher numbers, so this reads a little back; not an anti-join, which
        # the planner may do by reading all seals
        query = f"""
            SELECT r.id, {DIGESTS[what]} AS digest FROM {TABLES[what]} r
            WHERE r.id > %(settled)s
              AND (SELECT s.position FROM seals s WHERE s.what = '{what}' AND s.row_id = r.id) IS NULL
            ORDER BY r.id LIMIT {BATCH_SIZE}
        """  # noqa: S608
        settled = self._settled[what]
        return list(self._connection.exec_driver_sql(query, {"settled": -(2**63) if settled is None else settled}))

    def _append(self, rows: list[tuple[SealedRowKind, Any]]) -> None:
        if not rows:
            return
        head = read_head(self._connection)
        digests, previous = [], head.digest
        for _, row in rows:
            previous = bind(previous, bytes(row.digest))
            digests.append(Binary(previous))
        values = {
            "positions": list(range(head.position + 1, head.position + 1 + len(rows))),
            "whats": [str(what) for what, _ in rows],
            "ids": [row.id for _, row in rows],
            "digests": digests,
        }
        self._connection.exec_driver_sql(_APPEND, values)

    def _advance(self, what: SealedRowKind, oldest_running: int) -> None:
        """Read no further back than to what was seen before every transaction that runs now began."""
        seen = self._seen[what]
        while seen and seen[0].next_transaction <= oldest_running and time.monotonic() - seen[0].at >= SETTLED_SECONDS:
            self._settled[what] = seen.popleft().row_id


@dataclass(frozen=True, slots=True)
class _Seen:
    row_id: int
    next_transaction: int
    at: float
