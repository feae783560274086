"""Each container in turn is killed, paused and restarted under load: nothing is lost, and all are healthy soon."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.compose.containers import Containers
from tests.e2e.compose.load import await_lesson, upload_lesson
from tests.e2e.compose.traffic import Traffic
from tests.waiting import wait_until

HEALTHY_WITHIN_SECONDS = 30
PAUSE_SECONDS = 8
SERVERS = ("postgres", "rabbitmq", "s3", "prometheus", "grafana")
OURS = (
    "gateway", "payments-worker", "transcoder", "stats-worker", "stats-scheduler", "stats-api", "console",
)  # fmt: skip


@pytest.fixture(scope="module")
def traffic(containers: Containers) -> Iterator[Traffic]:
    with Traffic(containers) as running:
        yield running


def started_at(containers: Containers, service: str) -> set[str]:
    return {container["State"]["StartedAt"] for container in containers.inspect(service)}


def await_healthy(containers: Containers, service: str, since: float) -> float:
    """Seconds from `since` until every container of `service` is healthy."""

    def is_healthy() -> bool:
        states = [container["State"] for container in containers.inspect(service)]
        return all(state["Running"] and state["Health"]["Status"] == "healthy" for state in states)

    wait_until(is_healthy, HEALTHY_WITHIN_SECONDS - (time.monotonic() - since), f"{service} is not healthy again")
    return time.monotonic() - since


def await_all_healthy(containers: Containers, since: float) -> float:
    return max(await_healthy(containers, service, since) for service in (*OURS, *SERVERS))


def kill(containers: Containers, service: str) -> None:
    """Everything in every container of `service` gets SIGKILL; Docker starts the container again."""
    before = started_at(containers, service)
    for index in range(1, len(before) + 1):
        containers.ask("exec", "--no-TTY", "--index", str(index), service, "sh", "-c", "kill -9 -1")
    wait_until(lambda: not started_at(containers, service) & before, 20, f"{service} was not started again")


def pause(containers: Containers, service: str) -> None:
    containers.run("pause", service)
    time.sleep(PAUSE_SECONDS)
    containers.run("unpause", service)


@pytest.mark.parametrize("service", [*OURS, *SERVERS])
def test_a_container_that_is_killed_and_paused_loses_nothing(
    containers: Containers, traffic: Traffic, service: str
) -> None:
    # Given a lesson in work, where that is what the container is for
    courses = [upload_lesson(containers)] if service in ("transcoder", "s3") else []

    # When it is killed, and once more when it is paused
    for fault in (kill, pause):
        fault(containers, service)
        took_seconds = await_all_healthy(containers, time.monotonic())
        print(f"\n{service}: {fault.__name__}, all healthy after {took_seconds:.0f} s")

    # Then every payment is booked, and once, and the lesson is made
    print(f"{service}: {traffic.await_booked()} payments booked once")
    for course in courses:
        assert await_lesson(containers, course)[0] == "completed"


def test_a_rolling_restart_loses_nothing(containers: Containers, traffic: Traffic) -> None:
    course = upload_lesson(containers)

    # When one container after the other is restarted, as a new version would be brought
    with ThreadPoolExecutor() as threads:
        waiting = {}
        for service in (*SERVERS, *OURS):
            containers.run("restart", service)
            waiting[service] = threads.submit(await_healthy, containers, service, time.monotonic())
        took_seconds = {service: one.result() for service, one in waiting.items()}
    print("\nrestarted, healthy after: " + ", ".join(f"{name} {took:.0f} s" for name, took in took_seconds.items()))

    # Then nothing is missing
    await_all_healthy(containers, time.monotonic())
    traffic.await_booked()
    assert await_lesson(containers, course)[0] == "completed"


def test_after_all_faults_the_books_are_what_they_were(containers: Containers, traffic: Traffic) -> None:
    traffic.await_booked()
    is_clear = "SELECT NOT EXISTS (SELECT FROM dead_letters WHERE state = 'dead')"
    assert containers.sql("nouba", is_clear).stdout.strip() == "t", "messages died"

    told = containers.run("exec", "--no-TTY", "payments-worker", "nouba", "gateway", "ledger", "verify")

    assert " 0 faults" in told
