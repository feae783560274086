"""The web process as its operator meets it: commands, ports, log, metrics, signals and limits."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from local.free_port import free_port
from tests.command_line import nouba
from tests.waiting import wait_until
from tests.webhook_gateway.processes import NO_RABBITMQ, NOUBA, Database, RunningGateway, deliver, paid

Start = Callable[..., RunningGateway]


@pytest.fixture
def start(tmp_path: Path, database_url: str) -> Iterator[Start]:
    started: list[RunningGateway] = []

    def start(**settings: str) -> RunningGateway:
        started.append(RunningGateway(tmp_path / f"log {len(started)}", database_url, **settings))
        return started[-1]

    yield start
    for gateway in started:
        gateway.kill()


def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if "NOUBA_" not in name}
    return subprocess.run(
        [NOUBA, *arguments], env={**environment, **settings}, capture_output=True, text=True, timeout=30, check=False
    )


def assert_one_sentence(result: "subprocess.CompletedProcess[str]", *words: str) -> None:
    assert result.returncode != 0
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


NEEDED = {"NOUBA_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "NOUBA_RABBITMQ_URL": NO_RABBITMQ}


@pytest.mark.parametrize("arguments", [("--help",), ("gateway", "--help")])
def test_help_shows_examples(arguments: tuple[str, ...]) -> None:
    result = nouba(*arguments)

    assert result.returncode == 0
    assert "Examples:" in result.stdout
    assert "nouba gateway serve" in result.stdout


def test_a_missing_setting_is_one_sentence() -> None:
    result = run("gateway", "serve", NOUBA_RABBITMQ_URL=NO_RABBITMQ)

    assert_one_sentence(result, "NOUBA_DATABASE_URL")


@pytest.mark.parametrize("secrets", ["", " ", "first,,second"])
def test_an_empty_secret_is_a_refusal_to_start(secrets: str) -> None:
    result = run("gateway", "serve", **NEEDED, NOUBA_PSP_GENERIC_SECRETS=secrets)

    assert_one_sentence(result, "NOUBA_PSP_GENERIC_SECRETS")
    assert "second" not in result.stderr


def test_a_secret_that_cannot_be_one_is_not_shown() -> None:
    result = run("gateway", "serve", **NEEDED, NOUBA_PSP_STANDARD_WEBHOOKS_SECRETS="whsec_@@@canary@@@")

    assert_one_sentence(result, "NOUBA_PSP_STANDARD_WEBHOOKS_SECRETS")
    assert "canary" not in result.stderr + result.stdout


def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, ThreadPoolExecutor(2) as pool:
        port = str(taken.getsockname()[1])
        ports = {"NOUBA_GATEWAY_PORT": str(free_port()), "NOUBA_METRICS_PORT": str(free_port())}
        # both at once, since each waits a while for a predecessor to leave
        started = {
            setting: pool.submit(run, "gateway", "serve", **{**NEEDED, **ports, setting: port}) for setting in ports
        }

        for setting, result in started.items():
            assert_one_sentence(result.result(), setting, port)


def test_the_providers_are_shown_to_people_and_programs() -> None:
    for_programs = nouba("gateway", "providers", "--json", NOUBA_PSP_GENERIC_SECRETS="a-secret-word")
    for_people = nouba("gateway", "providers", NOUBA_PSP_GENERIC_SECRETS="a-secret-word")

    shown = json.loads(for_programs.stdout)
    assert shown["generic"] == {"on": True, "path": "/webhooks/generic"}
    assert {name for name, provider in shown.items() if provider["on"]} == {"generic"}
    assert re.search(r"^generic +on +/webhooks/generic$", for_people.stdout, re.MULTILINE)
    assert "a-secret-word" not in for_programs.stdout + for_people.stdout


def test_a_provider_without_settings_is_off(start: Start) -> None:
    gateway = start(NOUBA_PSP_STRIPE_SECRETS=None)

    assert deliver(httpx.Client(base_url=gateway.url), paid("stripe")).status_code == 404


def test_behind_a_proxy_with_tls_every_answer_says_so(start: Start) -> None:
    # Given a gateway that is reached by HTTPS, then webhooks, refusals and the API have the header
    gateway = start(NOUBA_HTTPS="true", NOUBA_API_TOKENS="token-of-the-tests")
    with httpx.Client(base_url=gateway.url) as client:
        answers = [deliver(client, paid()), *map(client.get, ("/webhooks/nobody", "/api/v1/payments", "/healthz"))]

    assert [answer.status_code for answer in answers] == [200, 404, 401, 200]
    assert all("Strict-Transport-Security" in answer.headers for answer in answers)


def test_gunicorns_lines_have_the_form_of_all_others(start: Start) -> None:
    gateway = start(NOUBA_LOG_FORMAT="json")
    httpx.get(f"{gateway.url}/webhooks/satim?orderId=in-the-query")
    with gateway.connect() as connection:
        connection.sendall(b"GET /?in-the-query HTTP/9.9\r\nHost: a\r\nin-a-header\r\n\r\n")
        connection.recv(1000)
    gateway.stop()

    lines = [json.loads(line) for line in gateway.log.splitlines()]

    assert {line["service"] for line in lines} == {"gateway"}
    assert any("Listening at" in line["event"] for line in lines)
    assert "in-the-query" not in gateway.log
    assert "in-a-header" not in gateway.log


def test_the_processes_of_one_gateway_add_up(start: Start) -> None:
    gateway = start(NOUBA_GATEWAY_PROCESSES="3")

    # a connection each, so that all processes get some
    for _ in range(30):
        with httpx.Client(base_url=gateway.url) as client:
            assert deliver(client, paid()).status_code == 200

    assert gateway.verdicts("accepted") == 30
    assert gateway.metric('nouba_gateway_accept_seconds_count{provider="generic"}') == 30


def test_a_restart_begins_to_count_at_nothing(start: Start, tmp_path: Path) -> None:
    settings = {"NOUBA_GATEWAY_METRICS_DIR": str(tmp_path / "metrics")}
    before = start(**settings)
    deliver(httpx.Client(base_url=before.url), paid())
    assert before.verdicts("accepted") == 1
    before.kill()

    after = start(**settings)

    assert after.verdicts("accepted") == 0


@pytest.mark.slow
def test_a_killed_gateways_folder_goes_with_the_next_start_and_a_living_ones_stays(
    start: Start, tmp_path: Path
) -> None:
    # Given
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    settings = {"TMPDIR": str(temporary)}
    killed = start(**settings)
    (left,) = temporary.glob("nouba-*")
    living = start(**settings)
    killed.kill()
    assert left.exists()

    # When
    newest = start(**settings)

    # Then
    assert not left.exists()
    assert len(list(temporary.glob("nouba-*"))) == 2
    deliver(httpx.Client(base_url=living.url), paid())
    assert living.verdicts("accepted") == 1
    assert (living.stop(), newest.stop()) == (0, 0)
    assert list(temporary.iterdir()) == []


def test_no_label_comes_from_a_sender(start: Start) -> None:
    gateway = start()
    with httpx.Client(base_url=gateway.url) as client:
        client.post("/webhooks/made-up-by-a-sender", content=b"made-up-by-a-sender")
        client.request("MADEUPBYASENDER", "/webhooks/generic")
        deliver(client, replace(paid(), body=b'{"status": "made-up-by-a-sender"}'))
        client.post("/api/payments/webhook", headers={"X-PSP-Provider": "made-up-by-a-sender"})

    shown = httpx.get(gateway.metrics_url).text

    assert "made-up" not in shown.lower()
    assert "madeup" not in shown.lower()
    providers = set(re.findall(r'provider="([^"]*)"', shown))
    assert providers <= {"generic", "none"}


def test_unverified_requests_beyond_the_limit_are_answered_429_and_signed_ones_are_not(start: Start) -> None:
    gateway = start(NOUBA_GATEWAY_UNVERIFIED_PER_SECOND="1", NOUBA_GATEWAY_PROCESSES="1")
    with httpx.Client(base_url=gateway.url) as client:
        refused = [client.post("/webhooks/generic", content=b"{}") for _ in range(8)]
        genuine = deliver(client, paid())

    assert [answer.status_code for answer in refused] == [401] * 5 + [429] * 3
    assert refused[-1].headers["Retry-After"] == "1"
    assert refused[-1].json()["error"] == "too_many_unverified"
    assert genuine.status_code == 200
    assert (gateway.verdicts("signature"), gateway.verdicts("limited")) == (5, 3)


def test_what_was_answered_before_a_stop_is_kept_and_the_stop_is_swift(start: Start, database_url: str) -> None:
    gateway = start()
    answered: list[int] = []
    broken = 0

    def send_until_it_stops() -> None:
        nonlocal broken
        with httpx.Client(base_url=gateway.url) as client:
            while True:
                try:
                    answer = deliver(client, paid())
                except httpx.TransportError:
                    broken += 1
                    return
                assert answer.status_code == 200
                answered.append(answer.json()["event_id"])

    with ThreadPoolExecutor(4) as pool:
        senders = [pool.submit(send_until_it_stops) for _ in range(4)]
        wait_until(lambda: len(answered) > 50)
        status = gateway.stop(grace_seconds=15)
        for sender in senders:
            sender.result(10)

    assert status == 0
    kept = {row[0] for row in Database(database_url).rows("SELECT id FROM webhook_events")}
    assert set(answered) <= kept
    # each sender had one request in flight at the most, and those were finished: nothing was kept without an answer
    assert kept <= set(answered)
    assert broken == 4


def test_a_killed_process_is_replaced_and_nothing_that_was_answered_is_lost(start: Start, database_url: str) -> None:
    gateway = start()
    answered: list[int] = []

    def send(_: int) -> None:
        for _ in range(25):
            try:
                with httpx.Client(base_url=gateway.url) as client:
                    answer = deliver(client, paid())
            except httpx.TransportError:
                continue
            assert answer.status_code == 200
            answered.append(answer.json()["event_id"])

    victims = gateway.children
    with ThreadPoolExecutor(4) as pool:
        senders = [pool.submit(send, number) for number in range(4)]
        for victim in victims:
            before = len(answered)
            wait_until(lambda before=before: len(answered) > before + 10)  # type: ignore[misc]
            os.kill(victim, signal.SIGKILL)
        for sender in senders:
            sender.result(60)
    wait_until(lambda: len(set(gateway.children) - set(victims)) == 2)

    kept = {row[0] for row in Database(database_url).rows("SELECT id FROM webhook_events")}
    assert set(answered) <= kept
    with httpx.Client(base_url=gateway.url) as client:
        assert deliver(client, paid()).status_code == 200


def test_a_killed_gateway_starts_again_at_once_on_the_same_ports(start: Start) -> None:
    first = start()
    os.kill(first.process.pid, signal.SIGKILL)

    result = start(NOUBA_GATEWAY_PORT=str(first.port), NOUBA_METRICS_PORT=first.metrics_url.split(":")[2].split("/")[0])

    assert httpx.get(f"{first.url}/healthz").status_code == 200
    assert result.process.poll() is None
