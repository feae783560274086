"""The spool: events in a SQLite file while the database is unavailable, synced before the answer.

All processes of a gateway share the file, so what a killed one has left is there for the others. SQLite brings what a
file of our own would have to be taught: a torn tail is found by its checksum, a size that is never exceeded, and locks
that go with the process that held them.
"""

import contextlib
import fcntl
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from services.webhook_gateway.errors import StorageUnavailableError
from services.webhook_gateway.inbox.accept import WebhookEvent
from services.webhook_gateway.inbox.spool.sqlite_file import FIELDS, entry_of, open_file, row_of
from shared.runtime.failpoints import failpoint

#: Of the room, what hints that nobody signed may fill: a stranger's must not take a provider's place.
SHARE_OF_UNSIGNED = 0.25
#: Room that is never filled, so that SQLite's own pages fit and its hard limit fails no commit.
RESERVE_BYTES = 64 * 1024

# not ON CONFLICT DO NOTHING, which would use up a number: see _ROOM
_INSERT = f"""
INSERT INTO events ({FIELDS}) SELECT {", ".join(f"?{number + 1}" for number in range(12))}
WHERE NOT EXISTS (SELECT 1 FROM events WHERE (provider, dedupe_key, body_sha256) = (?1, ?2, ?3))
"""  # noqa: S608
_OLDEST = f"SELECT id, {FIELDS} FROM events WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
_REFUSE = f"INSERT INTO refused ({FIELDS}) SELECT {FIELDS} FROM events WHERE id = ?"  # noqa: S608
_READMIT = f"INSERT OR IGNORE INTO events ({FIELDS}) SELECT {FIELDS} FROM refused ORDER BY id"  # noqa: S608
# Asked before every insert, so it must not read the table. Rows go from the front, so their span is their number, or a
# little more where one at the front is postponed; and SQLite finds a highest or a lowest id at once, but reads all rows
# for both in one question.
_ROOM = """
SELECT (SELECT coalesce((SELECT max(id) FROM events) - (SELECT min(id) FROM events) + 1, 0)),
    ((SELECT page_count FROM pragma_page_count) - (SELECT freelist_count FROM pragma_freelist_count))
        * (SELECT page_size FROM pragma_page_size)
"""
_REST = "SELECT (SELECT count(*) FROM refused), (SELECT received_at FROM events ORDER BY id LIMIT 1)"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the spool holds now. `refused` are those that the database would not take."""

    events: int
    bytes: int
    refused: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Spooled:
    """An event in the spool; `number` is its place in the order of arrival."""

    number: int
    entry: WebhookEvent


@dataclass(slots=True, eq=False)
class _Ticket:
    """One event on its way to the disk, and what became of it: whether it is new, or why it could not be kept."""

    entry: WebhookEvent
    outcome: bool | Exception | None = None


class Spool:
    """The file in `folder`, never larger than `max_bytes`. Make it after the fork. Safe for any number of threads."""

    def __init__(self, folder: Path, max_bytes: int, max_events: int) -> None:
        self.max_bytes = max_bytes
        self.max_events = max_events
        #: Why the last webhook could not be kept; None where it could.
        self.fault: str | None = None
        self._folder = folder
        self._connection: sqlite3.Connection | None = None
        self._using = threading.Lock()
        self._pending_lock = threading.Lock()
        self._tickets: list[_Ticket] = []

    def append(self, entry: WebhookEvent) -> bool:
        """Keep `entry`, synced to the disk; False where the spool holds it already. Raises StorageUnavailableError.

        Anyone who comes while another is writing is written by the next, with all others that wait: one sync for all.
        """
        ticket = _Ticket(entry)
        with self._pending_lock:
            self._tickets.append(ticket)
        with self._using:
            if ticket.outcome is None:
                with self._pending_lock:
                    tickets, self._tickets = self._tickets, []
                self._write(tickets)
        failpoint("spool.after_append")
        if isinstance(ticket.outcome, Exception):
            raise StorageUnavailableError(
                f"The database is away, and the spool did not take the webhook: {ticket.outcome}"
            )
        if ticket.outcome is None:
            raise StorageUnavailableError("The database is away, and the write to the spool was broken off.")
        return ticket.outcome

    def oldest(self, count: int, after: int = 0) -> Sequence[Spooled]:
        """The first `count` that arrived, of those whose number is above `after`."""
        with self._using, self._opened() as connection:
            return [Spooled(row[0], entry_of(row[1:])) for row in connection.execute(_OLDEST, (after, count))]

    def remove(self, numbers: Sequence[int]) -> None:
        """Forget what the database has."""
        with self._using, self._transaction() as connection:
            connection.executemany("DELETE FROM events WHERE id = ?", [(number,) for number in numbers])

    def refuse(self, number: int) -> None:
        """Put aside an event that the database does not take, so that it does not hold up those behind it."""
        with self._using, self._transaction() as connection:
            connection.execute(_REFUSE, (number,))
            connection.execute("DELETE FROM events WHERE id = ?", (number,))

    def readmit(self) -> int:
        """Queue again, as the newest, what was put aside; says how many."""
        with self._using, self._transaction() as connection:
            connection.execute(_READMIT)
            return connection.execute("DELETE FROM refused").rowcount

    def usage(self) -> Usage:
        """What it holds now. Raises StorageUnavailableError where the file cannot be read."""
        try:
            with self._using, self._opened() as connection:
                events, used_bytes = connection.execute(_ROOM).fetchone()
                refused, oldest = connection.execute(_REST).fetchone()
        except (sqlite3.Error, OSError) as error:
            raise StorageUnavailableError(f"The spool cannot be read: {error}") from error
        return Usage(events, used_bytes, refused, None if oldest is None else datetime.fromtimestamp(oldest, UTC))

    def has_room(self, usage: Usage) -> bool:
        """Whether an event of 64 KiB, larger than any provider's, still fits."""
        return usage.events < self.max_events and usage.bytes + 2 * RESERVE_BYTES <= self.max_bytes

    def compact(self) -> None:
        """Give the room back, where the spool is empty: what was deleted is still readable in the file."""
        with self._using, self._opened() as connection:
            if connection.execute(_ROOM).fetchone()[0] == 0:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        with self._using:
            self._close()

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether this process is the one that empties the spool, until the end of the block."""
        with (self._folder / "drain.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _write(self, tickets: Sequence[_Ticket]) -> None:
        try:
            with self._transaction() as connection:
                outcomes = [self._insert(connection, ticket.entry) for ticket in tickets]
        except Exception as error:  # noqa: BLE001 - whatever it is, no caller that waits here may take it as kept
            self.fault = f"{type(error).__name__}: {error}"
            outcomes = [StorageUnavailableError(self.fault)] * len(tickets)
        else:
            self.fault = None
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            ticket.outcome = outcome

    def _insert(self, connection: sqlite3.Connection, entry: WebhookEvent) -> bool | Exception:
        share = 1.0 if entry.proof.signed else SHARE_OF_UNSIGNED
        events, used_bytes = connection.execute(_ROOM).fetchone()
        needed_bytes = used_bytes + len(entry.request.body) + RESERVE_BYTES
        if events >= self.max_events * share or needed_bytes > self.max_bytes * share:
            return StorageUnavailableError("it is full")
        return connection.execute(_INSERT, row_of(entry)).rowcount == 1

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The connection; made anew after any fault, so that no half a transaction remains."""
        try:
            if self._connection is None:
                self._connection = open_file(self._folder, self.max_bytes)
            yield self._connection
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
