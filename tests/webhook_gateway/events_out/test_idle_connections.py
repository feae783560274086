"""Connections to endpoints that are kept open: few, and not for long."""

from types import SimpleNamespace
from typing import Any

import pytest

from services.webhook_gateway.events_out.http_client import IDLE_CONNECTIONS, IDLE_SECONDS, IdleConnections


class Connection:
    def __init__(self) -> None:
        self.used_at = 0.0
        self.is_open = True

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    time = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("services.webhook_gateway.events_out.http_client.time", time)
    return now


@pytest.mark.usefixtures("clock")
def test_the_connection_of_the_same_origin_that_was_used_last_is_taken() -> None:
    idle, first, last, other = IdleConnections(), *_connections(3)
    for origin, connection in (("https://a", first), ("https://a", last), ("https://b", other)):
        idle.release(origin, connection)

    assert idle.take("https://a") is last
    assert idle.take("https://a") is first
    assert idle.take("https://a") is None
    assert idle.take("https://b") is other


def test_old_connections_of_every_origin_are_closed(clock: list[float]) -> None:
    idle, old, new = IdleConnections(), *_connections(2)
    idle.release("https://a", old)
    clock[0] = IDLE_SECONDS + 1
    idle.release("https://b", new)

    assert (old.is_open, new.is_open) == (False, True)
    assert idle.take("https://a") is None


@pytest.mark.usefixtures("clock")
def test_connections_of_many_origins_are_bounded() -> None:
    idle, connections = IdleConnections(), _connections(IDLE_CONNECTIONS + 3)
    for number, connection in enumerate(connections):
        idle.release(f"https://{number}", connection)

    assert sum(one.is_open for one in connections) == IDLE_CONNECTIONS
    assert not any(one.is_open for one in connections[:3])


def _connections(count: int) -> list[Any]:
    return [Connection() for _ in range(count)]
