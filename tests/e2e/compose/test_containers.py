"""`docker compose up --build --wait` and the demonstration, with real containers."""

import json
import re
import subprocess

import httpx
import pytest

from tests.e2e.compose.containers import SCALED, Containers
from tests.e2e.compose.load import count_yesterday, make_lesson
from tests.waiting import wait_until

ONE_SHOTS = {"secrets-maker", "migrate", "roles", "bucket"}
IMAGE_MEGABYTES = 200


def test_everything_is_up_and_the_tasks_at_the_start_are_done(containers: Containers) -> None:
    states = containers.states()

    for state in states:
        if state["Service"] in ONE_SHOTS:
            assert (state["State"], state["ExitCode"]) == ("exited", 0), state
        else:
            assert (state["State"], state["Health"]) == ("running", "healthy"), state
    for service, count in SCALED.items():
        assert sum(state["Service"] == service for state in states) == count


def test_a_signed_payment_is_credited_and_a_subscription_active(containers: Containers) -> None:
    reported = containers.play()

    assert "student A: balance 40000 centimes, 2 of 2 subscriptions active" in reported
    assert "0 transactions that do not sum to zero, 0 balances that differ" in reported
    assert "✗" not in reported


def test_an_operator_enters_the_console_sees_the_queues_and_lets_one_rest(containers: Containers) -> None:
    # Given somebody with the token that was made on the first start
    with httpx.Client(base_url=containers.console_url, follow_redirects=True, timeout=20) as operator:
        token = containers.secret("console", "NOUBA_CONSOLE_OPERATOR_TOKENS")

        def report(page: str, path: str, **form: str) -> httpx.Response:
            hidden = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', operator.get(page).text)
            assert hidden
            return operator.post(path, data={"csrf_token": hidden[1], **form}).raise_for_status()

        # When they enter, pause a queue and have it worked on again
        report("/enter", "/enter", token=token)
        pages = {page: operator.get(page) for page in ("/", "/queues", "/dead", "/webhooks", "/lessons", "/days")}
        rests = report("/queues", "/queues/videos/pause", why="test")
        works = report("/queues", "/queues/videos/resume", why="test")
        audit = operator.get("/audit")

    # Then every page is there, with what RabbitMQ reports, and the audit knows who it was
    assert {page: answer.status_code for page, answer in pages.items()} == dict.fromkeys(pages, httpx.codes.OK)
    assert "management" not in pages["/queues"].text, "RabbitMQ's management API does not answer the console"
    assert "Queue videos is paused" in rests.text
    assert "Queue videos is resumed" in works.text
    assert "<bdi>operator</bdi>" in audit.text


def test_a_killed_worker_comes_back_and_nothing_is_lost(containers: Containers) -> None:
    # Given every payments worker, killed in the middle of whatever it does
    before = [container["RestartCount"] for container in containers.inspect("payments-worker")]
    for number in range(1, len(before) + 1):
        containers.execute("payments-worker", "sh", "-c", "kill -9 -1", number=number)

    # When payments come at once
    reported = containers.play()

    # Then they are booked, by workers that came back by themselves
    assert "✗" not in reported

    def are_back() -> bool:
        now = containers.inspect("payments-worker")
        healthy = all(container["State"]["Health"]["Status"] == "healthy" for container in now)
        return healthy and [container["RestartCount"] for container in now] == [count + 1 for count in before]

    wait_until(are_back, 60, "the workers are not healthy again")


def test_a_day_that_is_due_is_counted_and_read(containers: Containers) -> None:
    # When its message has come to the worker by way of the outbox and RabbitMQ
    answer = count_yesterday(containers)

    # Then everything could be counted, and only with a token is it shown
    assert answer.json()["complete"], "a section failed: see what its role may read"
    assert httpx.get(answer.url).status_code == httpx.codes.UNAUTHORIZED


def test_a_video_is_uploaded_by_its_ticket_and_published(containers: Containers) -> None:
    # When six seconds of film are uploaded as a browser would
    status, key = make_lesson(containers)

    # Then the course shows a lesson that S3 has
    assert status == "completed"
    head = "import boto3; s3 = boto3.client('s3', endpoint_url='http://s3:8333', region_name='us-east-1'); "
    found = containers.python("transcoder", f"{head} print(s3.head_object(Bucket='nouba', Key='{key}')['ContentType'])")
    assert found.stdout.strip() == "application/vnd.apple.mpegurl", found.stderr


@pytest.mark.parametrize(
    ("service", "other"),
    [("gateway", "services.stats"), ("stats-worker", "services.webhook_gateway"), ("gateway", "local")],
)
def test_an_image_holds_its_own_service_alone(containers: Containers, service: str, other: str) -> None:
    result = containers.python(service, f"import {other}")

    assert result.returncode != 0
    assert "ModuleNotFoundError" in result.stderr


@pytest.mark.parametrize("service", ["gateway", "stats"])
def test_an_image_is_small(containers: Containers, service: str) -> None:
    names = ["python:3.13-slim-trixie", f"nouba-{service}:local"]
    shown = subprocess.run(["docker", "image", "inspect", *names], check=True, capture_output=True, text=True)
    base, image = (found["Size"] / 1e6 for found in json.loads(shown.stdout))

    print(f"\n{service}: {image:.0f} MB, {image - base:.0f} MB over its base")
    assert image - base <= IMAGE_MEGABYTES
