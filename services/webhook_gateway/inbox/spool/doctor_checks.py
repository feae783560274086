"""Doctor check of the spool: folder writable, file readable, nothing waiting too long, room on the disk."""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from services.webhook_gateway.inbox.spool.sqlite_file import FILE
from shared.operations.doctor.findings import Finding, fault, fine, note

SUBJECT = "spool"
#: A drain that works takes the oldest webhook within a second of the database's return.
MAX_UNDRAINED_SECONDS = 60.0
#: The file is opened for reading while gateways write to it.
BUSY_SECONDS = 3.0
_ASK = """
SELECT (SELECT count(*) FROM events), (SELECT min(received_at) FROM events), (SELECT count(*) FROM refused),
    ((SELECT page_count FROM pragma_page_count) - (SELECT freelist_count FROM pragma_freelist_count))
        * (SELECT page_size FROM pragma_page_size)
"""


def check_spool(folder: Path, max_bytes: int) -> Iterator[Finding]:
    """Whether a gateway can write to it, and whether webhooks lie in it."""
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        yield fault(
            SUBJECT,
            f"{folder} is no folder that this account may write to.",
            "Make it for the gateway's account, or correct NOUBA_GATEWAY_SPOOL_DIR.",
        )
        return
    for aside in sorted(folder.glob(f"{FILE}.damaged-*")):
        if not aside.name.endswith(("-wal", "-shm")):
            yield note(
                SUBJECT,
                f"A damaged file was put aside: {aside}.",
                "See what is in it with `sqlite3 FILE .recover`, and remove it.",
            )
    file = folder / FILE
    if not file.exists():
        yield fine(SUBJECT, "No webhook was ever kept in it.")
        return
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
            events, oldest_at, refused, used_bytes = connection.execute(_ASK).fetchone()
    except sqlite3.Error as error:
        yield fault(SUBJECT, f"{file} cannot be read ({error}).", "Restart the gateway: it puts a damaged file aside.")
        return
    yield from _judge(events, time.time() - oldest_at if events else 0.0, refused)
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < max_bytes - used_bytes:
        yield note(
            SUBJECT,
            f"It may grow to {max_bytes // 2**20} MiB, and its disk has {free_bytes // 2**20} MiB free.",
            "Free room, or lower NOUBA_GATEWAY_SPOOL_MAX_BYTES.",
        )


def _judge(events: int, age_seconds: float, refused: int) -> Iterator[Finding]:
    if age_seconds > MAX_UNDRAINED_SECONDS:
        yield fault(
            SUBJECT,
            f"{events} webhooks wait in it, the oldest for {age_seconds:.0f} s.",
            "See that the gateway runs and that the database takes writes; its log says why it does not drain.",
        )
    elif events:
        yield note(SUBJECT, f"{events} webhooks wait in it.", "Check again in a minute: the gateway drains it.")
    if refused:
        yield fault(
            SUBJECT,
            f"The database did not take {refused} webhooks; they stay in it.",
            "Search the gateway's log for `put aside in the spool`; mend the cause, then restart the gateway.",
        )
    if not events and not refused:
        yield fine(SUBJECT, "It is empty.")
