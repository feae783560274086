"""What the gateway depends on goes away under load: no answer is wrong, and nothing that was answered is lost."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pika
import pytest

from local.postgres import Postgres
from local.rabbitmq import RabbitMq
from tests.queues import wait_until_crash_safe, wait_until_led
from tests.waiting import wait_until
from tests.webhook_gateway.processes import SECRETS, Database, RunningGateway, deliver, paid

CONNECTIONS = 4


class Load:
    """Genuine news at a steady rate from a thread, and what was answered."""

    def __init__(self, url: str, per_second: float = 100) -> None:
        self._url = url
        self._pause_seconds = 1 / per_second
        self._stop = threading.Event()
        self.statuses: list[int] = []
        self.event_ids: list[int] = []
        self.broken = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._send)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def wait_for(self, more: int) -> None:
        """Until so many more are answered."""
        enough = len(self.statuses) + more
        wait_until(lambda: len(self.statuses) >= enough or self._stop.is_set())

    def _send(self) -> None:
        with httpx.Client(base_url=self._url, timeout=10) as client:
            while not self._stop.wait(self._pause_seconds):
                try:
                    answer = deliver(client, paid())
                except httpx.TransportError:
                    self.broken += 1
                    continue
                self.statuses.append(answer.status_code)
                if answer.status_code == 200:
                    self.event_ids.append(answer.json()["event_id"])


def queued_events(rabbitmq_url: str) -> set[int]:
    """The ids in the queue `webhooks`; taken out of it."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        found: set[int] = set()
        channel = connection.channel()
        while (message := channel.basic_get("webhooks", auto_ack=True))[0] is not None:
            fields = json.loads(message[2])["kwargs"]
            found.update(fields.get("event_ids") or [fields["event_id"]])
        return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "gateway.log"


def test_without_the_database_the_answer_is_503_and_with_it_again_200_at_once(
    own_postgres: Postgres, log: Path
) -> None:
    settings = {"NOUBA_GATEWAY_PROCESSES": "1", "NOUBA_GATEWAY_CONNECTIONS": str(CONNECTIONS)}
    gateway = RunningGateway(log, own_postgres.url, **settings)
    try:
        with ThreadPoolExecutor(2 * CONNECTIONS) as pool, httpx.Client(base_url=gateway.url) as client:

            def timed(_: int) -> tuple[httpx.Response, float]:
                started = time.monotonic()
                return deliver(client, paid(order_number="canary-order")), time.monotonic() - started

            # Given a pool full of connections
            assert {answer.status_code for answer, _ in pool.map(timed, range(4 * CONNECTIONS))} == {200}

            # When the server is killed
            own_postgres.kill()

            # Then every request is asked to come again soon
            for answer, seconds in pool.map(timed, range(4 * CONNECTIONS)):
                assert answer.status_code == 503
                assert int(answer.headers["Retry-After"]) > 0
                assert answer.json()["error"] == "unavailable"
                assert seconds < 3.5
            assert client.get("/readyz").json() == {
                "status": "not ready",
                "database": False,
                "unpublished_seconds": None,
                "unsettled_seconds": None,
                "spool": "off",
                "spool_events": 0,
                "undrained_seconds": 0.0,
            }
            assert client.get("/healthz").status_code == 200

            # And when it is back, every connection of the pool works again without a failure
            own_postgres.start()
            assert {deliver(client, paid()).status_code for _ in range(3 * CONNECTIONS)} == {200}
            assert {answer.status_code for answer, _ in pool.map(timed, range(4 * CONNECTIONS))} == {200}

            # And so do connections that the restart killed unnoticed
            own_postgres.kill()
            own_postgres.start()
            assert {answer.status_code for answer, _ in pool.map(timed, range(4 * CONNECTIONS))} == {200}

        # And the log says what happened, and nothing of what was sent
        assert "OperationalError" in gateway.log
        assert "canary-order" not in gateway.log
        assert not [secret for secret in SECRETS.values() if secret in gateway.log]
        assert own_postgres.url.split(":")[2].split("@")[0] not in gateway.log
    finally:
        gateway.kill()


def test_whatever_happens_to_rabbitmq_every_answer_is_200_and_every_message_arrives(
    database_url: str, own_rabbitmq: RabbitMq, log: Path
) -> None:
    gateway, database = RunningGateway(log, database_url, own_rabbitmq.url), Database(database_url)
    load = Load(gateway.url)
    try:
        with load.running():
            load.wait_for(20)

            # When it is out of memory
            own_rabbitmq.control("set_vm_memory_high_watermark", "0.0000001")
            load.wait_for(50)
            own_rabbitmq.control("set_vm_memory_high_watermark", "absolute", "2GB")
            load.wait_for(20)

            # When it is killed, away for a while, and back
            wait_until_crash_safe(own_rabbitmq, own_rabbitmq.url, "webhooks")
            own_rabbitmq.kill()
            load.wait_for(200)
            own_rabbitmq.start()
            load.wait_for(50)

        # Then nobody noticed
        assert set(load.statuses) == {200}
        assert load.broken == 0

        # And every message arrives
        wait_until(lambda: database.counts()["outbox"] == 0, 30)
        kept = {row[0] for row in database.rows("SELECT id FROM webhook_events")}
        assert kept == set(load.event_ids)
        wait_until_led(own_rabbitmq, own_rabbitmq.url, "webhooks")
        assert queued_events(own_rabbitmq.url) == kept
    finally:
        gateway.kill()


def test_a_gateway_that_is_killed_under_load_loses_nothing_that_it_answered(
    database_url: str, rabbitmq_url: str, log: Path
) -> None:
    database = Database(database_url)
    loads = []
    for round_number in range(2):
        gateway = RunningGateway(log.with_name(f"log {round_number}"), database_url, rabbitmq_url)
        load = Load(gateway.url, per_second=300)
        loads.append(load)
        try:
            with load.running():
                load.wait_for(60)
                gateway.kill()
        finally:
            gateway.kill()

    # what it had enqueued, its successor delivers
    gateway = RunningGateway(log, database_url, rabbitmq_url)
    try:
        wait_until(lambda: database.counts()["outbox"] == 0)
    finally:
        gateway.stop()

    answered = {event_id for load in loads for event_id in load.event_ids}
    kept = {row[0] for row in database.rows("SELECT id FROM webhook_events")}
    assert {status for load in loads for status in load.statuses} == {200}
    assert answered <= kept
    # a request that was kept and not answered is sent again by its provider: at most one of each load
    assert len(kept - answered) <= len(loads)
    assert queued_events(rabbitmq_url) == kept
