"""Verifies the hash chain: names altered, deleted and inserted rows."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine

from services.webhook_gateway.integrity.hash_chain import GENESIS, SETTLED_AFTER, ChainHead, bind, read_head
from services.webhook_gateway.integrity.invariants import different, unbalanced
from services.webhook_gateway.integrity.row_digests import DIGESTS, STATES, TABLES, SealedRowKind

BATCH_SIZE = 5000
#: Connections that a verification uses at once.
CONNECTIONS = 3

_ROW_DIGEST = " ".join(
    f"WHEN '{what}' THEN (SELECT {DIGESTS[what]} FROM {TABLES[what]} r WHERE r.id = s.row_id)"  # noqa: S608
    for what in SealedRowKind
)
_SEALS = f"""
    SELECT s.position, s.what, s.row_id, s.digest, CASE s.what {_ROW_DIGEST} END AS row_digest
    FROM seals s WHERE s.position >= %(start)s AND s.position < %(stop)s ORDER BY s.position
"""  # noqa: S608
# a row below those that were sealed long ago, and sealed by nobody, came later than its number says
_UNSEALED = """
    SELECT r.id FROM {table} r
    WHERE r.id < (SELECT max(row_id) FROM seals
                  WHERE what = '{what}' AND sealed_at < now() - %(settled_after)s::interval)
      AND (SELECT s.position FROM seals s WHERE s.what = '{what}' AND s.row_id = r.id) IS NULL
    ORDER BY r.id LIMIT 1000
"""
# the newest record of a row reports its state; a row whose state has to be recorded has a record
_ALTERED_STATES = """
    SELECT r.id, v.digest IS NULL AS is_unrecorded FROM {table} r
    LEFT JOIN LATERAL (
        SELECT state, digest FROM row_versions WHERE kind = '{kind}' AND row_id = r.id ORDER BY id DESC LIMIT 1
    ) v ON true
    WHERE ({recorded}) AND v.digest IS DISTINCT FROM {digest}
    ORDER BY r.id LIMIT 1000
"""
_DELETED = """
    SELECT DISTINCT v.row_id AS id FROM row_versions v
    WHERE v.kind = '{kind}' AND NOT EXISTS (SELECT FROM {table} r WHERE r.id = v.row_id) ORDER BY 1 LIMIT 1000
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it was sealed, or not as it has to be."""

    what: str
    id: int
    fault: str
    position: int | None = None

    def __str__(self) -> str:
        where = f" (seal {self.position})" if self.position is not None else ""
        return f"{self.what} {self.id}{where}: {self.fault}"


@dataclass(slots=True)
class VerificationReport:
    """What a verification found; `head` is the newest seal that it read."""

    seals: int = 0
    head: ChainHead = field(default_factory=lambda: ChainHead(0, GENESIS))
    faults: list[Fault] = field(default_factory=list)


def verify(
    engine: Engine,
    *,
    start: int = 1,
    noted: ChainHead | None = None,
    anchors: Sequence[ChainHead] = (),
    settled_after: str = SETTLED_AFTER,
    on_progress: Callable[[int, int], None] = lambda _position, _last: None,
) -> VerificationReport:
    """Compare every row with its seal from position `start` on, and the balances with the entries.

    `noted` is a seal that was written down elsewhere: it must be in the chain. So must each of `anchors` from `start`
    on. `report` is given how far it is, and how far it has to go.
    """
    report = VerificationReport()
    heads = [*([noted] if noted else []), *(anchor for anchor in anchors if anchor.position >= max(start, 1))]
    report.faults += _walk(engine, start, heads, report, on_progress)
    with engine.connect() as connection:
        for what in SealedRowKind:
            query = _UNSEALED.format(table=TABLES[what], what=what)
            rows = connection.exec_driver_sql(query, {"settled_after": settled_after})
            report.faults += [Fault(what, row.id, "was put in behind our back: it has no seal") for row in rows]
        report.faults += _altered_states(connection)
        report.faults += [
            Fault("transaction", row.id, f"its entries do not sum to zero, but to {row.difference_minor}")
            for row in unbalanced(connection)
        ]
        report.faults += [
            Fault("user", row.id, f"the balance differs from the entries by {row.difference_minor}")
            for row in different(connection)
        ]
    return report


def _altered_states(connection: Connection) -> Iterator[Fault]:
    """Payments and verdicts that are not as their newest record says."""
    for kind, (table, digest, recorded) in STATES.items():
        query = _ALTERED_STATES.format(kind=kind, table=table, digest=digest, recorded=recorded)
        for row in connection.exec_driver_sql(query):
            yield Fault(kind, row.id, "has no record" if row.is_unrecorded else "was altered: its record differs")
        for row in connection.exec_driver_sql(_DELETED.format(kind=kind, table=table)):
            yield Fault(kind, row.id, "was deleted")


def _walk(
    engine: Engine,
    start: int,
    heads: Sequence[ChainHead],
    report: VerificationReport,
    on_progress: Callable[[int, int], None],
) -> Iterator[Fault]:
    with engine.connect() as connection:
        before = connection.exec_driver_sql("SELECT digest FROM seals WHERE position = %s", (start - 1,)).scalar()
        last = read_head(connection).position
    if start > 1 and before is None:
        yield Fault("seal", start - 1, "is missing, and the walk should begin after it")
    expected_digests: dict[int, set[bytes]] = {}
    for one in heads:
        expected_digests.setdefault(one.position, set()).add(one.digest)
    chain = _Chain(ChainHead(start - 1, GENESIS if before is None else bytes(before)))
    for rows in _batches(engine, range(start, last + 1)):
        for row in rows:
            digest = bytes(row.digest)
            yield from chain.follow(row, digest)
            if any(expected != digest for expected in expected_digests.get(row.position, ())):
                yield Fault("seal", row.position, "is not the one that was noted: the chain was made anew")
        report.seals += len(rows)
        report.head = chain.head
        on_progress(chain.head.position, last)
    yield from chain.end()
    for position in sorted(expected_digests):
        if not start <= position <= chain.head.position:
            yield Fault("seal", position, "was noted, and is not in the chain: the end of the chain was cut off")


def _batches(engine: Engine, positions: range) -> Iterator[Sequence[Any]]:
    """The seals in their order, with what each should be bound to; the database works on several batches at once."""

    def fetch(first: int) -> Sequence[Any]:
        with engine.connect() as connection:
            # the server would compile the query for each batch anew, which takes a quarter of the batch's time
            connection.exec_driver_sql("SET LOCAL jit = off")
            stop = min(first + BATCH_SIZE, positions.stop)
            return connection.exec_driver_sql(_SEALS, {"start": first, "stop": stop}).all()

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        coming: deque[Future[Sequence[Any]]] = deque()
        for first in positions[::BATCH_SIZE]:
            coming.append(pool.submit(fetch, first))
            # a few ahead, so that memory is bounded
            if len(coming) > 2 * CONNECTIONS:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


class _Chain:
    """The walk: reports a row that does not fit its seal from a seal that does not fit its neighbours."""

    def __init__(self, head: ChainHead) -> None:
        self.head = head
        # the last seal did not fit: what it should be by its row, and the fault if it was the row that changed
        self._doubt: tuple[bytes, Fault] | None = None

    def follow(self, row: Any, digest: bytes) -> Iterator[Fault]:
        """The faults that this seal shows, which may be the one before it."""
        position, what, row_id, found = row.position, row.what, row.row_id, row.row_digest
        for missing in range(self.head.position + 1, position):
            yield from self.end()
            yield Fault("seal", missing, "is missing")
        fits = found is not None and bind(self.head.digest, bytes(found)) == digest
        if self._doubt is not None:
            expected, fault = self._doubt
            self._doubt = None
            if found is not None and not fits and bind(expected, bytes(found)) == digest:
                # with what the seal before should be, this one fits: its row is right, and the seal was changed
                yield Fault("seal", fault.position or 0, f"was altered: {fault.what} {fault.id} is as it was sealed")
                fits = True
            else:
                yield fault
        if found is None:
            yield Fault(what, row_id, "was deleted", position)
        elif not fits and position == self.head.position + 1:
            self._doubt = (bind(self.head.digest, bytes(found)), Fault(what, row_id, "was altered", position))
        self.head = ChainHead(position, digest)

    def end(self) -> Iterator[Fault]:
        """What was in doubt and stays so."""
        if self._doubt is not None:
            yield self._doubt[1]
            self._doubt = None
