"""The page of routes is true: each message has one handler, where it says, on a queue of that service alone."""

import importlib
import inspect
from collections import Counter

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from shared.contracts.message import ContractError
from shared.contracts.routes import QUEUES, ROUTES, Route, route_of

HANDLERS = sorted({route.handler for route in ROUTES})


def actors_of(module: str) -> dict[str, dramatiq.Actor[..., object]]:
    """What a worker declares; a declaration touches none of what its handlers are given."""
    declare = importlib.import_module(module).declare
    broker = StubBroker()
    declare(broker, *(object() for _ in list(inspect.signature(declare).parameters)[1:]))
    return broker.actors


@pytest.mark.parametrize("module", HANDLERS)
def test_a_worker_handles_exactly_what_the_routes_send_it(module: str) -> None:
    reported = {route.message.wire_name(): route.queue for route in ROUTES if route.handler == module}
    assert {name: actor.queue_name for name, actor in actors_of(module).items()} == reported


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.message.wire_name())
def test_a_handler_says_its_limits_and_takes_a_broken_contract_for_dead(route: Route) -> None:
    options = actors_of(route.handler)[route.message.wire_name()].options
    for name in ("max_retries", "min_backoff", "max_backoff", "time_limit"):
        assert name in options, f"nobody's default is trusted: give {route.message.wire_name()} a {name}"
    assert ContractError in options["throws"]


def test_a_message_has_one_route_and_one_name() -> None:
    assert max(Counter(route.message for route in ROUTES).values()) == 1
    assert max(Counter(route.message.wire_name() for route in ROUTES).values()) == 1
    assert all(route_of(route.message) is route for route in ROUTES)


def test_a_queue_belongs_to_one_service() -> None:
    for queue in QUEUES:
        services = {route.handler for route in ROUTES if route.queue == queue}
        assert len(services) == 1, f"{queue} is consumed by {sorted(services)}"


def test_a_worker_is_its_services_one_entry_point() -> None:
    assert all(route.handler.startswith("services.") and route.handler.endswith(".worker") for route in ROUTES)
    assert {route.publisher for route in ROUTES} <= {"gateway", "transcoder", "stats"}
