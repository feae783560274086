"""The spool's SQLite file: created, opened, checked; one row an event."""

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from services.webhook_gateway.inbox.accept import WebhookEvent
from services.webhook_gateway.providers.base import Proof, Request
from shared.contracts.webhooks import EventState

log = structlog.get_logger(__name__)

FILE = "events.sqlite3"
#: How long one process waits for another that is writing: on a busy disk some writes wait for a second and more, and a
#: provider waits longer than this.
BUSY_SECONDS = 3.0
#: What an event is made of, in the order of `row_of`.
FIELDS = (
    "provider, dedupe_key, body_sha256, state, reason, method, headers, body, reference, signed, secret, received_at"
)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_COLUMNS = """
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    provider TEXT NOT NULL, dedupe_key TEXT NOT NULL, body_sha256 BLOB NOT NULL, state TEXT NOT NULL, reason TEXT,
    method TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL, reference TEXT,
    signed INTEGER NOT NULL, secret INTEGER, received_at REAL NOT NULL,
    UNIQUE (provider, dedupe_key, body_sha256)
"""


def open_file(folder: Path, max_bytes: int) -> sqlite3.Connection:
    """The file in `folder`, made where it is missing; for its owner alone, since bodies are personal data."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        # a volume that was made for us; one with something in it may be somebody else's too
        folder.chmod(0o700)
    # SQLite does not wait for another that makes the same file: it says at once that it is locked
    with (folder / "open.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _open(folder, max_bytes)


def prepare(folder: Path, max_bytes: int) -> None:
    """Prove that the spool can be used, before a gateway's processes begin. A damaged file is put aside, and said so.

    A fault is no reason to stay away: the database may be there, and then no spool is needed.
    """
    try:
        try:
            _check(folder, max_bytes)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in _DAMAGED:
                raise
            aside = _put_aside(folder)
            log.error("the spool was damaged; see what is in it with sqlite3 FILE .recover", file=str(aside))
            _check(folder, max_bytes)
    except (sqlite3.Error, OSError) as error:
        log.error("the spool cannot be used: give the gateway a folder of its own to write to", error=str(error))


def row_of(entry: WebhookEvent) -> tuple[Any, ...]:
    """What the file keeps of `entry`, in the order of FIELDS."""
    assert entry.received_at is not None, "set by the caller"
    request, proof = entry.request, entry.proof
    what = (entry.provider, entry.dedupe_key, entry.body_sha256, entry.state.value, entry.reason)
    how = (request.method, json.dumps(dict(request.headers)), request.body, entry.reference, proof.signed, proof.secret)
    return (*what, *how, entry.received_at.timestamp())


def entry_of(row: Sequence[Any]) -> WebhookEvent:
    """The entry that `row_of` has made a row of."""
    provider, dedupe_key, digest, state, reason, method, headers, body, reference, signed, secret, received_at = row
    return WebhookEvent(
        provider=provider,
        dedupe_key=dedupe_key,
        state=EventState(state),
        reason=reason,
        request=Request(method, json.loads(headers), body),
        body_sha256=digest,
        reference=reference,
        proof=Proof(bool(signed), secret),
        received_at=datetime.fromtimestamp(received_at, UTC),
    )


def _open(folder: Path, max_bytes: int) -> sqlite3.Connection:
    path = folder / FILE
    if not path.exists():
        # SQLite gives the files beside it the same rights
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        _sync(folder)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # every commit is synced, not only every checkpoint
        connection.execute("PRAGMA synchronous = FULL")
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max_bytes // page_bytes}")
        for table in ("events", "refused"):
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({_COLUMNS}) STRICT")
    except BaseException:
        connection.close()
        raise
    return connection


def _check(folder: Path, max_bytes: int) -> None:
    connection = open_file(folder, max_bytes)
    try:
        # a write, so that a full or read-only disk shows now
        connection.execute("PRAGMA user_version = 1")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            error = sqlite3.DatabaseError(verdict)
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
    finally:
        connection.close()


def _put_aside(folder: Path) -> Path:
    aside = folder / f"{FILE}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    for suffix in ("", "-wal", "-shm"):
        part = folder / f"{FILE}{suffix}"
        if part.exists():
            part.rename(f"{aside}{suffix}")
    _sync(folder)
    return aside


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
