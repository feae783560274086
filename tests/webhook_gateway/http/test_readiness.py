"""Ready means that the work is flowing, not only that the process is up."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from services.webhook_gateway.http.readiness import (
    MAX_UNPUBLISHED_SECONDS,
    MAX_UNSETTLED_SECONDS,
    Readiness,
    check,
)
from shared.runtime.database import build_engine
from tests.webhook_gateway.processes import RunningGateway

OLD = MAX_UNSETTLED_SECONDS + MAX_UNPUBLISHED_SECONDS


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url, autocommit=True)
    yield engine
    engine.dispose()


Keep = Callable[..., None]


@pytest.fixture
def keep_event(engine: Engine) -> Keep:
    def keep(state: str, age_seconds: int, attempts: int = 0) -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql(
                "INSERT INTO webhook_events (provider, dedupe_key, state, body, body_sha256, attempts, received_at) "
                "VALUES ('generic', gen_random_uuid()::text, %s, '', '', %s, now() - %s * interval '1 second')",
                (state, attempts, age_seconds),
            )

    return keep


@pytest.fixture
def enqueue(engine: Engine) -> Keep:
    def enqueue(service: str, age_seconds: int, queue: str = "webhooks") -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql(
                "INSERT INTO outbox (service, message, created_at) "
                "VALUES (%s, jsonb_build_object('queue_name', %s::text), now() - %s * interval '1 second')",
                (service, queue, age_seconds),
            )

    return enqueue


def test_it_is_ready_with_nothing_to_do(engine: Engine) -> None:
    assert check(engine).as_json() == {
        "status": "ready",
        "database": True,
        "unpublished_seconds": 0.0,
        "unsettled_seconds": 0.0,
        "spool": "off",
        "spool_events": 0,
        "undrained_seconds": 0.0,
    }


def test_it_is_ready_while_young_work_waits(engine: Engine, keep_event: Keep, enqueue: Keep) -> None:
    keep_event("received", 5)
    enqueue("gateway", 5)

    assert check(engine).is_ready


def test_it_is_ready_while_a_message_for_another_queue_waits(engine: Engine, enqueue: Keep) -> None:
    enqueue("gateway", 3600, "videos")
    assert check(engine).is_ready


def test_it_is_not_ready_when_a_message_waits_long_for_rabbitmq(engine: Engine, enqueue: Keep) -> None:
    enqueue("gateway", 1)
    enqueue("gateway", OLD)

    found = check(engine)

    assert not found.is_ready
    assert OLD <= (found.unpublished_seconds or 0) < OLD + 60


def test_another_services_messages_are_not_its_work(engine: Engine, enqueue: Keep) -> None:
    enqueue("stats", OLD)

    assert check(engine).is_ready


def test_it_is_not_ready_when_an_event_waits_long_for_a_worker(engine: Engine, keep_event: Keep) -> None:
    keep_event("received", OLD)

    found = check(engine)

    assert not found.is_ready
    assert OLD <= (found.unsettled_seconds or 0) < OLD + 60


def test_an_event_that_was_tried_and_parked_does_not_count(engine: Engine, keep_event: Keep) -> None:
    keep_event("received", OLD, attempts=1)

    assert check(engine).is_ready


@pytest.mark.parametrize("state", ["applied", "ignored", "quarantined", "dead"])
def test_an_event_that_is_over_does_not_count(engine: Engine, keep_event: Keep, state: str) -> None:
    keep_event(state, OLD)

    assert check(engine).is_ready


def test_it_is_not_ready_without_the_database() -> None:
    engine = build_engine("postgresql://nobody@127.0.0.1:1/nothing", autocommit=True)

    assert check(engine) == Readiness(database=False)
    assert not check(engine).is_ready


def test_the_page_says_so_with_its_status(database_url: str, enqueue: Keep, tmp_path: Path) -> None:
    gateway = RunningGateway(tmp_path / "log", database_url, NOUBA_GATEWAY_PROCESSES="1")
    try:
        ready = httpx.get(f"{gateway.url}/readyz")
        enqueue("gateway", OLD)
        not_ready = httpx.get(f"{gateway.url}/readyz")
    finally:
        gateway.kill()

    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert (not_ready.status_code, not_ready.json()["status"]) == (503, "not ready")
