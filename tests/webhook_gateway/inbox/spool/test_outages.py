"""A gateway whose PostgreSQL is killed or paused answers 200 from its spool, and brings everything in afterwards."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from local.postgres import Postgres
from local.psp.signed_webhooks import Delivery
from services.webhook_gateway.inbox.spool.spool import Spool
from services.webhook_gateway.inbox.spool.sqlite_file import FILE
from tests.variations import variations
from tests.waiting import wait_until
from tests.webhook_gateway.processes import Database, RunningGateway, deliver, paid

RATE_PER_SECOND = 200


@pytest.fixture
def spool_folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def gateway(own_postgres: Postgres, tmp_path: Path, spool_folder: Path) -> Iterator[RunningGateway]:
    gateway = RunningGateway(tmp_path / "log", own_postgres.url, NOUBA_GATEWAY_SPOOL_DIR=str(spool_folder))
    yield gateway
    gateway.kill()
    assert "Traceback" not in gateway.log


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=30, limits=httpx.Limits(max_connections=64)) as client:
        yield client


def spooled(gateway: RunningGateway) -> int:
    return int(httpx.get(f"{gateway.url}/readyz").json()["spool_events"])


def is_drained(gateway: RunningGateway) -> bool:
    found = httpx.get(f"{gateway.url}/readyz").json()
    return bool(found["database"]) and found["spool_events"] == 0


def deliver_at_rate(client: httpx.Client, deliveries: list[Delivery]) -> list[tuple[int, float]]:
    """The status and the seconds of each answer; the next is sent when it is due, whatever became of the last."""
    begun = time.monotonic()

    def one(number: int) -> tuple[int, float]:
        time.sleep(max(0.0, begun + number / RATE_PER_SECOND - time.monotonic()))
        sent = time.monotonic()
        return deliver(client, deliveries[number]).status_code, time.monotonic() - sent

    with ThreadPoolExecutor(48) as pool:
        return list(pool.map(one, range(len(deliveries))))


def bodies(database: Database) -> list[bytes]:
    return [body for _, _, _, body in database.events()]


def suspend(postgres: Postgres) -> list[psutil.Process]:
    server = psutil.Process(postgres.pid)
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.suspend()
    return processes


@pytest.mark.parametrize("seconds", variations([5, 30], [5]))
def test_nothing_is_lost_without_postgresql_at_200_events_a_second(
    gateway: RunningGateway, client: httpx.Client, own_postgres: Postgres, seconds: int
) -> None:
    deliveries = [paid() for _ in range(seconds * RATE_PER_SECOND)]
    deliver(client, paid())
    own_postgres.kill()

    answers = deliver_at_rate(client, deliveries)

    assert {status for status, _ in answers} == {200}
    assert spooled(gateway) == len(deliveries)
    # the alerts are about an outage that lasts, not about one that is over
    wait_until(lambda: gateway.metric("nouba_gateway_spool_events") == len(deliveries))
    own_postgres.start()
    wait_until(lambda: is_drained(gateway), 90)
    kept = bodies(Database(own_postgres.url))
    assert sorted(kept[1:]) == sorted(delivery.body for delivery in deliveries)


def test_a_paused_postgresql_holds_up_only_those_who_find_it_out(
    gateway: RunningGateway, client: httpx.Client, own_postgres: Postgres
) -> None:
    for _ in range(4):
        deliver(client, paid())
    processes = suspend(own_postgres)
    try:
        first = deliver_at_rate(client, [paid() for _ in range(200)])
        # both processes know by now; every connection is new, so that both are asked
        later = [
            httpx.post(gateway.url + d.path, headers=dict(d.headers), content=d.body)
            for d in map(paid, ["generic"] * 40)
        ]
        status = httpx.get(f"{gateway.url}/readyz").json()
    finally:
        for process in processes:
            process.resume()

    assert {status for status, _ in first} == {200}
    assert max(seconds for _, seconds in first) < 5
    assert {answer.status_code for answer in later} == {200}
    assert sorted(answer.elapsed.total_seconds() for answer in later)[35] < 1
    assert (status["status"], status["database"]) == ("spooling", False)
    wait_until(lambda: is_drained(gateway), 60)
    assert len(bodies(Database(own_postgres.url))) == 4 + 200 + 40


def test_what_a_killed_gateway_has_left_is_drained_by_the_next_in_order_and_with_its_time(
    gateway: RunningGateway, client: httpx.Client, own_postgres: Postgres, tmp_path: Path, spool_folder: Path
) -> None:
    # Given a known event, and a spool with another and a repetition of both
    known, new = paid(), paid()
    deliver(client, known)
    own_postgres.kill()
    answers = [deliver(client, delivery).json() for delivery in (known, new, new, *(paid() for _ in range(50)))]
    assert all(answer["event_id"] is None for answer in answers)
    assert all(answer["status"] in ("accepted", "duplicate") for answer in answers)
    gateway.kill()
    left = Spool(spool_folder, 2**30, 10**6)
    waiting = [spooled.entry for spooled in left.oldest(100)]
    left.close()

    # When another is started
    own_postgres.start()
    successor = RunningGateway(
        tmp_path / "log", own_postgres.url, NOUBA_GATEWAY_SPOOL_DIR=str(spool_folder), NOUBA_GATEWAY_PROCESSES="1"
    )
    try:
        wait_until(lambda: is_drained(successor), 60)
    finally:
        successor.kill()

    # Then each is kept once, in order of arrival, as received then and drained now
    rows = Database(own_postgres.url).rows(
        "SELECT dedupe_key, received_at, drained_at > received_at FROM webhook_events WHERE id > 1 ORDER BY id"
    )
    first_seen = {entry.dedupe_key: entry.received_at for entry in reversed(waiting)}
    expected = list(dict.fromkeys(entry.dedupe_key for entry in waiting))[1:]
    assert [key for key, _, _ in rows] == expected
    assert all(received_at == first_seen[key] and drained for key, received_at, drained in rows)
    assert len(rows) == 51


def test_an_answer_whose_commit_is_unknown_is_kept_once(own_postgres: Postgres, tmp_path: Path) -> None:
    # Given a gateway that dies between the commit and forgetting what it drained
    settings = {"NOUBA_GATEWAY_SPOOL_DIR": str(tmp_path / "spool"), "NOUBA_GATEWAY_PROCESSES": "1"}
    own_postgres.kill()
    gateway = RunningGateway(
        tmp_path / "log", own_postgres.url, NOUBA_FAILPOINTS="drain.after_commit=kill*1", **settings
    )
    try:
        with httpx.Client(base_url=gateway.url, timeout=30) as client:
            news = [paid() for _ in range(20)]
            assert {deliver(client, delivery).status_code for delivery in news} == {200}
        own_postgres.start()
        wait_until(lambda: "failpoint drain.after_commit: kill" in gateway.log, 30)
    finally:
        gateway.kill()

    # When the next one drains the same again
    successor = RunningGateway(tmp_path / "log", own_postgres.url, **settings)
    try:
        wait_until(lambda: is_drained(successor), 30)
    finally:
        successor.kill()

    assert len(bodies(Database(own_postgres.url))) == 20


def test_a_full_spool_and_a_broken_one_are_503_with_retry_after(own_postgres: Postgres, tmp_path: Path) -> None:
    own_postgres.kill()
    (tmp_path / "file").write_text("in the way")
    for name, settings in {
        "full": {"NOUBA_GATEWAY_SPOOL_DIR": str(tmp_path / "spool"), "NOUBA_GATEWAY_SPOOL_MAX_EVENTS": "3"},
        "failing": {"NOUBA_GATEWAY_SPOOL_DIR": str(tmp_path / "file" / "spool")},
    }.items():
        gateway = RunningGateway(tmp_path / name, own_postgres.url, **settings)
        try:
            with httpx.Client(base_url=gateway.url, timeout=30) as client:
                answers = [deliver(client, paid()) for _ in range(4)]
                ready = client.get("/readyz")
        finally:
            gateway.kill()

        kept = 3 if name == "full" else 0
        assert [answer.status_code for answer in answers] == [200] * kept + [503] * (4 - kept)
        assert answers[-1].headers["Retry-After"] == "30"
        assert (ready.status_code, ready.json()["spool"]) == (503, name)
        assert "Traceback" not in gateway.log


def test_one_event_that_the_database_never_takes_holds_up_no_other(
    gateway: RunningGateway, client: httpx.Client, own_postgres: Postgres
) -> None:
    database = Database(own_postgres.url)
    poison = paid(reference=f"poison-{uuid.uuid4().hex}")
    database.execute("ALTER TABLE webhook_events ADD CHECK (position('poison'::bytea in body) = 0)")
    own_postgres.kill()
    others = [paid() for _ in range(5)]
    assert {deliver(client, delivery).status_code for delivery in [poison, *others]} == {200}

    own_postgres.start()
    wait_until(lambda: is_drained(gateway), 60)

    assert sorted(bodies(database)) == sorted(delivery.body for delivery in others)
    assert "put aside in the spool" in gateway.log


def test_no_body_is_ever_logged(
    gateway: RunningGateway, client: httpx.Client, own_postgres: Postgres, spool_folder: Path
) -> None:
    canary = f"canary-{uuid.uuid4().hex}"
    own_postgres.kill()
    assert deliver(client, paid(reference=canary)).status_code == 200
    assert canary.encode() in b"".join(file.read_bytes() for file in spool_folder.glob(f"{FILE}*"))

    own_postgres.start()
    wait_until(lambda: is_drained(gateway), 60)

    assert canary not in gateway.log
    # the file is cut off in a moment of its own, after the last row has gone
    wait_until(lambda: not any(canary.encode() in file.read_bytes() for file in spool_folder.glob(f"{FILE}*")))
