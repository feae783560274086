"""Each container in turn is killed, paused and restarted under load: nothing is lost, and all are healthy soon."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.compose.containers import Containers
from tests.e2e.compose.load import await_lesson, upload_lesson
from tests.e2e.compose.traffic import Traffic
from tests.waiting import wait_until

#: Docker asks every 10 s, and the first time 10 s after the start; other tests may take both cores.
HEALTHY_WITHIN_SECONDS = 90
PAUSE_SECONDS = 8
#: The start of a few processes takes all of two cores for some of these seconds.
AT_ONCE = 2
#: What was given to a worker that went is enqueued again after five minutes.
LESSON_SECONDS = 400
SERVERS = ("postgres", "rabbitmq", "s3")
OTHERS = (
    "gateway", "payments-worker", "events-worker", "transcoder", "stats-worker", "stats-scheduler", "stats-api",
    "console", "playback", "prometheus", "alertmanager", "grafana",
)  # fmt: skip


@pytest.fixture(scope="module")
def traffic(containers: Containers) -> Iterator[Traffic]:
    with Traffic(containers) as running:
        yield running


@pytest.fixture(scope="module")
def lessons() -> list[str]:
    """The courses whose lessons were in work when something failed."""
    return []


def started_at(containers: Containers, service: str) -> set[str]:
    return {container["State"]["StartedAt"] for container in containers.inspect(service)}


def await_healthy(containers: Containers, service: str, since: float) -> float:
    """Seconds from `since` until every container of `service` is healthy."""

    def is_healthy() -> bool:
        states = [container["State"] for container in containers.inspect(service)]
        if all(state["Running"] and state["Health"]["Status"] == "healthy" for state in states):
            return True
        # each scan starts two processes, and many check at once
        time.sleep(0.5)
        return False

    wait_until(is_healthy, HEALTHY_WITHIN_SECONDS - (time.monotonic() - since), f"{service} is not healthy again")
    return time.monotonic() - since


def kill(containers: Containers, service: str) -> None:
    """Everything in every container of `service` gets SIGKILL; Docker starts the container again."""
    before = started_at(containers, service)
    for number in range(1, len(before) + 1):
        containers.execute(service, "sh", "-c", "kill -9 -1", number=number)
    wait_until(lambda: not started_at(containers, service) & before, 20, f"{service} was not started again")


def pause(containers: Containers, service: str) -> None:
    # runc gives up freezing a container whose processes are busy on a busy machine
    wait_until(lambda: containers.ask("pause", service).returncode == 0, 60, f"{service} could not be paused")
    time.sleep(PAUSE_SECONDS)
    containers.run("unpause", service)


def restart(containers: Containers, service: str) -> None:
    """As a new version would be brought: one after the other."""
    containers.run("restart", service)


# the pause last: it takes no message from a worker, so that no lesson waits five minutes for its next one
@pytest.mark.parametrize("fault", [kill, restart, pause], ids=lambda fault: str(fault.__name__))
def test_each_container_in_turn_fails_and_nothing_is_lost(
    containers: Containers, traffic: Traffic, lessons: list[str], fault: Callable[[Containers, str], None]
) -> None:
    # Given payments that come all the time, and a lesson in work
    lessons.append(upload_lesson(containers))

    # When one container after the other fails, at most two at once, and a server that all others need alone
    def fail(service: str) -> float:
        fault(containers, service)
        return await_healthy(containers, service, time.monotonic())

    took_seconds = {service: fail(service) for service in SERVERS}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        took_seconds |= dict(zip(OTHERS, threads.map(fail, OTHERS), strict=True))
    print(
        f"\n{fault.__name__}, healthy after: "
        + ", ".join(f"{name} {took:.0f} s" for name, took in took_seconds.items())
    )

    # Then everything is healthy, and every payment is booked, and once
    for service in (*SERVERS, *OTHERS):
        await_healthy(containers, service, time.monotonic())
    print(f"{traffic.await_booked()} payments booked once")


def test_after_all_faults_the_lessons_are_made_and_the_books_are_what_they_were(
    containers: Containers, traffic: Traffic, lessons: list[str]
) -> None:
    for course in lessons:
        assert await_lesson(containers, course, LESSON_SECONDS)[0] == "completed"
    traffic.await_booked()
    is_clear = "SELECT NOT EXISTS (SELECT FROM dead_letters WHERE state = 'dead')"
    assert containers.sql("nouba", is_clear).stdout.strip() == "t", "messages died"

    reported = containers.read("payments-worker", "nouba", "ledger", "verify")

    assert " 0 faults" in reported
