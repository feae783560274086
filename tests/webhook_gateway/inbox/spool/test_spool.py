"""The spool keeps what it said it kept: in order, once, within its size, whatever happens to disk and process."""

import contextlib
import hashlib
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.webhook_gateway.errors import StorageUnavailableError
from services.webhook_gateway.inbox.accept import WebhookEvent
from services.webhook_gateway.inbox.spool.spool import Spool
from services.webhook_gateway.inbox.spool.sqlite_file import FIELDS, FILE, prepare, row_of
from services.webhook_gateway.providers.base import Proof, Request
from shared.contracts.webhooks import EventState

MIB = 1024 * 1024


def entry(key: str, body: bytes = b"{}", *, signed: bool = True) -> WebhookEvent:
    return WebhookEvent(
        provider="generic",
        dedupe_key=key,
        state=EventState.RECEIVED,
        reason=None,
        request=Request("POST", {"webhook-id": "é \" '"}, body),
        body_sha256=hashlib.sha256(body).digest(),
        reference="t1",
        proof=Proof(signed, 1),
        received_at=datetime(2026, 3, 1, 9, 30, 15, 250_000, UTC),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Iterator[Spool]:
    spool = Spool(folder, 16 * MIB, 100_000)
    yield spool
    spool.close()


def keys(spool: Spool) -> list[str]:
    return [spooled.entry.dedupe_key for spooled in spool.oldest(100_000)]


def fill(spool: Spool, count: int, size_bytes: int, *, signed: bool = True) -> None:
    for number in range(count):
        spool.append(entry(f"filling {number}", os.urandom(size_bytes), signed=signed))


def test_an_event_comes_back_as_it_was(spool: Spool) -> None:
    given = replace(entry("é ' \\", bytes(range(256))), state=EventState.QUARANTINED, reason="why")

    assert spool.append(given)

    assert [spooled.entry for spooled in spool.oldest(10)] == [given]


def test_events_come_back_in_order_of_arrival(spool: Spool) -> None:
    for number in range(50):
        spool.append(entry(f"e{number}"))

    assert keys(spool) == [f"e{number}" for number in range(50)]
    assert len(spool.oldest(7)) == 7


def test_an_event_is_kept_once_and_one_with_another_body_beside_it(spool: Spool) -> None:
    answers = [spool.append(entry("e1")), spool.append(entry("e1")), spool.append(entry("e1", b"other"))]

    assert answers == [True, False, True]
    assert spool.usage().events == 2


def test_many_threads_and_two_processes_worth_of_connections_lose_nothing(spool: Spool, folder: Path) -> None:
    other = Spool(folder, 16 * MIB, 100_000)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: (spool, other)[n % 2].append(entry(f"e{n}")), range(400)))
    other.close()

    assert sorted(keys(spool)) == sorted(f"e{number}" for number in range(400))


def test_an_event_costs_the_same_however_many_wait(folder: Path) -> None:
    # Given what one costs an empty spool, and then 100,000 in it
    spool = Spool(folder, 512 * MIB, 10**6)

    def cost_seconds(first: int) -> float:
        begun = time.thread_time()
        for number in range(first, first + 100):
            spool.append(entry(f"e{number}"))
            spool.usage()
        return time.thread_time() - begun

    empty = cost_seconds(0)
    with contextlib.closing(sqlite3.connect(folder / FILE)) as file, file:
        insert = f"INSERT INTO events ({FIELDS}) VALUES ({', '.join('?' * 12)})"  # noqa: S608
        file.executemany(insert, (row_of(entry(f"f{number}")) for number in range(100_000)))

    full = cost_seconds(100)

    assert spool.usage().events == 100_200
    assert full < 10 * empty
    spool.close()


def test_one_process_empties_it_at_a_time(spool: Spool, folder: Path) -> None:
    other = Spool(folder, 16 * MIB, 100_000)
    spool.append(entry("e1"))

    with spool.alone() as first, other.alone() as second:
        assert (first, second) == (True, False)
    with other.alone() as later:
        assert later


def test_what_is_removed_is_gone_from_the_file_too(spool: Spool, folder: Path) -> None:
    spool.append(entry("e1", b"canary-7b1e" * 1000))

    spool.remove([spooled.number for spooled in spool.oldest(10)])
    spool.compact()

    assert spool.usage().events == 0
    assert not any(b"canary-7b1e" in file.read_bytes() for file in folder.iterdir())


def test_only_its_owner_may_read_it(spool: Spool, folder: Path) -> None:
    spool.append(entry("e1"))

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_a_full_spool_refuses_and_keeps_what_it_has(folder: Path) -> None:
    spool = Spool(folder, MIB, 100_000)
    with pytest.raises(StorageUnavailableError, match="full"):
        fill(spool, 100_000, 200)

    usage = spool.usage()
    assert usage.events > 500
    assert keys(spool) == [f"filling {number}" for number in range(usage.events)]
    assert not spool.has_room(usage)
    assert (folder / FILE).stat().st_size <= MIB
    spool.remove([spooled.number for spooled in spool.oldest(20)])
    assert spool.append(entry("later"))
    spool.close()


def test_the_number_of_events_is_bounded_too(folder: Path) -> None:
    spool = Spool(folder, MIB, 2)
    assert spool.append(entry("e1"))
    assert spool.append(entry("e2"))

    with pytest.raises(StorageUnavailableError, match="full"):
        spool.append(entry("e3"))
    spool.close()


def test_hints_that_nobody_signed_leave_room_for_signed_events(folder: Path) -> None:
    spool = Spool(folder, MIB, 100)
    with pytest.raises(StorageUnavailableError, match="full"):
        fill(spool, 100, 10, signed=False)

    assert spool.usage().events == 25
    assert spool.append(entry("signed"))
    spool.close()


def test_a_disk_that_takes_no_more_is_a_refusal_until_it_does(folder: Path) -> None:
    spool = Spool(folder, 16 * MIB, 100_000)
    spool.append(entry("before"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # the kernel refuses every write beyond this, as a full disk does
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    try:
        with pytest.raises(StorageUnavailableError):
            fill(spool, 100, 8192)
        assert spool.fault
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert spool.append(entry("after"))
    assert spool.fault is None
    assert keys(spool)[0] == "before"
    assert keys(spool)[-1] == "after"
    spool.close()


def test_a_folder_that_cannot_be_made_is_a_refusal_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    spool = Spool(tmp_path / "file" / "spool", MIB, 10)

    with pytest.raises(StorageUnavailableError, match=r"NotADirectoryError|FileExistsError"):
        spool.append(entry("e1"))
    with pytest.raises(StorageUnavailableError):
        spool.usage()


def test_what_was_answered_survives_kill_minus_9(folder: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path\n"
        "from tests.webhook_gateway.inbox.spool.test_spool import entry, Spool\n"
        "spool = Spool(Path(sys.argv[1]), 2**24, 1000)\n"
        "for number in range(1000): spool.append(entry(f'e{number}')); print(number, flush=True)"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, folder], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    answered = [int(writer.stdout.readline()) for _ in range(100)]
    writer.send_signal(signal.SIGKILL)
    answered += [int(line) for line in writer.stdout]
    writer.wait(10)

    prepare(folder, 16 * MIB)
    spool = Spool(folder, 16 * MIB, 1000)
    assert keys(spool)[: len(answered)] == [f"e{number}" for number in answered]
    spool.close()


def test_a_tail_torn_by_a_power_cut_costs_only_what_was_not_answered(
    spool: Spool, folder: Path, tmp_path: Path
) -> None:
    for number in range(20):
        spool.append(entry(f"e{number}", os.urandom(3000)))
    after = tmp_path / "after the power cut"
    after.mkdir()
    for file in (FILE, f"{FILE}-wal"):
        (after / file).write_bytes((folder / file).read_bytes())
    with (after / f"{FILE}-wal").open("r+b") as log:
        log.seek(-6000, os.SEEK_END)
        log.write(os.urandom(6000))

    prepare(after, 16 * MIB)
    torn = Spool(after, 16 * MIB, 1000)

    assert keys(torn) == [f"e{number}" for number in range(len(keys(torn)))]
    assert 15 <= len(keys(torn)) < 20
    assert torn.append(entry("next"))
    torn.close()


def test_a_file_that_is_damaged_is_put_aside_and_nothing_of_it_thrown_away(folder: Path) -> None:
    folder.mkdir()
    (folder / FILE).write_bytes(b"not a database at all" * 1000)

    prepare(folder, 16 * MIB)

    spool = Spool(folder, 16 * MIB, 1000)
    assert spool.append(entry("e1"))
    spool.close()
    (aside,) = folder.glob(f"{FILE}.damaged-*")
    assert aside.read_bytes().startswith(b"not a database")


def test_what_the_database_refused_waits_beside_and_comes_again(spool: Spool) -> None:
    for key in ("bad", "good"):
        spool.append(entry(key))

    spool.refuse(spool.oldest(1)[0].number)
    assert keys(spool) == ["good"]
    assert (spool.usage().events, spool.usage().refused) == (1, 1)

    assert spool.readmit() == 1
    assert keys(spool) == ["good", "bad"]
