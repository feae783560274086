"""Who may read: this machine, and from elsewhere who shows a token."""

import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from local.free_port import free_port
from services.stats.api.auth import ReadAccess
from services.stats.api.errors import NoTokenError
from services.stats.api.settings import is_loopback
from shared.runtime.api_tokens import FAILURES_PER_MINUTE, TokenVerifier, parse_tokens
from shared.runtime.client_address import client_address
from tests.stats.api.conftest import LAST, Start
from tests.stats.api.processes import PLAIN
from tests.stats.api.snapshots import keep
from tests.waiting import wait_until
from tests.webhook_gateway.processes import NOUBA, Running

FIRST, SECOND = "first-token-of-the-school", "second-token-of-the-school"
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


def run(**settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [NOUBA, "stats", "api"],
        env={"NOUBA_DATABASE_URL": NOWHERE, **settings},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("host", "tokens"),
    [("0.0.0.0", ""), ("::", " "), ("stats.internal", "")],  # noqa: S104
)
def test_an_address_that_others_reach_is_refused_without_tokens(host: str, tokens: str) -> None:
    refused = run(NOUBA_STATS_HOST=host, NOUBA_API_TOKENS=tokens)

    assert refused.returncode != 0
    assert refused.stderr.startswith("Error: NOUBA_STATS_HOST")
    assert "NOUBA_API_TOKENS" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_only_loopback_is_reached_by_this_machine_alone(host: str, alone: bool) -> None:
    assert is_loopback(host) == alone


def test_elsewhere_a_token_is_asked_for(start: Start, database_url: str) -> None:
    keep(database_url, LAST, LAST)
    api = start(database_url, NOUBA_STATS_HOST="0.0.0.0", NOUBA_API_TOKENS=f"{FIRST}, {SECOND}")  # noqa: S104

    def ask(path: str, authorization: str | None) -> httpx.Response:
        return api.get(path, headers={**PLAIN, **({"Authorization": authorization.encode()} if authorization else {})})

    for path in ("/api/stats/latest", f"/api/stats/{LAST}", "/api/stats?from=1&to=2", "/", "/nothing"):
        for shown in (
            None,
            "Bearer wrong",
            "Bearer",
            f"Bearer {FIRST},",
            f"Digest {FIRST}",
            "Bearer é",
        ):
            refused = ask(path, shown)
            assert (refused.status_code, refused.json()["error"]) == (401, "no_token")
            assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
            assert refused.headers["Cache-Control"] == "no-store"
    for shown in (f"Bearer {FIRST}", f"bearer {SECOND}", httpx.BasicAuth("any", FIRST)._auth_header):
        assert ask("/api/stats/latest", shown).status_code == 200
        assert ask("/", shown).status_code == 200
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs", "/docs/reference.css"):
        assert ask(path, None).status_code == 200
    assert FIRST not in api.log


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_it_listens_on_an_address_of_version_6_too(host: str, tmp_path: Path) -> None:
    port = free_port()
    settings = {"NOUBA_DATABASE_URL": NOWHERE, "NOUBA_STATS_HOST": host, "NOUBA_STATS_PORT": str(port)}
    api = Running(["stats", "api"], tmp_path / "log", settings)
    try:
        wait_until(lambda: "Booting worker" in api.log or api.process.poll() is not None)
        assert httpx.get(f"http://[::1]:{port}/healthz", timeout=10).status_code == 200
    finally:
        api.kill()


def test_on_this_machine_a_token_that_is_set_is_asked_for(start: Start, database_url: str) -> None:
    # Given an API on 127.0.0.1, where a proxy on the same machine would make it public, and a token
    keep(database_url, LAST, LAST)
    api = start(database_url, NOUBA_API_TOKENS=FIRST)

    # When somebody reads without it, by the fast path or through Flask, whatever host is named
    answers = [
        api.get(path, headers={**PLAIN, "Host": host})
        for path in ("/api/stats/latest", "/api/stats/latest?compare=1", "/")
        for host in ("evil.example", "127.0.0.1")
    ]

    # Then the token is asked for, and opens the door
    assert {answer.status_code for answer in answers} == {401}
    assert api.get("/api/stats/latest", headers={**PLAIN, "Authorization": f"Bearer {FIRST}"}).status_code == 200


def test_without_a_token_only_this_machines_names_are_served(start: Start, database_url: str) -> None:
    # Given an API on 127.0.0.1 without a token
    keep(database_url, LAST, LAST)
    api = start(database_url)

    # When a page of another site, whose name points to this machine, reads through a browser
    for path in ("/api/stats/latest", "/api/stats?from=1&to=2", "/"):
        refused = api.get(path, headers={**PLAIN, "Host": "evil.example:8081"})

        # Then it is refused
        assert (refused.status_code, refused.json()["error"]) == (421, "misdirected")
    for host in ("localhost:8081", "127.0.0.1", "[::1]:8081"):
        assert api.get("/api/stats/latest", headers={**PLAIN, "Host": host}).status_code == 200
    assert api.get("/healthz", headers={**PLAIN, "Host": "evil.example"}).status_code == 200


def test_only_the_allowed_hosts_are_served(start: Start, database_url: str) -> None:
    keep(database_url, LAST, LAST)
    api = start(database_url, NOUBA_API_TOKENS=FIRST, NOUBA_STATS_ALLOWED_HOSTS="stats.school.example, other.example")
    shown = {**PLAIN, "Authorization": f"Bearer {FIRST}"}

    assert api.get("/api/stats/latest", headers={**shown, "Host": "Stats.School.Example:443"}).status_code == 200
    assert api.get("/api/stats/latest", headers={**shown, "Host": "evil.example"}).status_code == 421


def test_a_token_without_the_scope_reads_no_numbers(start: Start, database_url: str) -> None:
    keep(database_url, LAST, LAST)
    api = start(database_url, NOUBA_API_TOKENS=f"lessons:uploads:{FIRST}, board:read:{SECOND}")

    refused = api.get("/api/stats/latest", headers={**PLAIN, "Authorization": f"Bearer {FIRST}"})

    assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")
    assert api.get("/api/stats/latest", headers={**PLAIN, "Authorization": f"Bearer {SECOND}"}).status_code == 200


def test_who_guesses_tokens_is_stopped(start: Start, database_url: str) -> None:
    # Given one process of the API behind one proxy
    keep(database_url, LAST, LAST)
    api = start(database_url, NOUBA_API_TOKENS=FIRST, NOUBA_STATS_PROCESSES="1", NOUBA_STATS_PROXIES="1")

    def ask(token: str, client: str) -> int:
        headers = {**PLAIN, "Authorization": f"Bearer {token}", "X-Forwarded-For": client}
        return api.get("/api/stats/latest", headers=headers).status_code

    # When a client has guessed as often as one may
    guesses = [ask(f"guess-{number}", "203.0.113.1") for number in range(FAILURES_PER_MINUTE)]

    # Then not even the right token opens for it, and it does for others
    assert set(guesses) == {401}
    assert ask(FIRST, "203.0.113.1") == 429
    assert ask(FIRST, "203.0.113.2") == 200


def test_credentials_that_are_not_base64_are_a_bad_request(start: Start, database_url: str) -> None:
    keep(database_url, LAST, LAST)
    api = start(database_url, NOUBA_API_TOKENS=FIRST)

    for shown in ("Basic !", "Basic é", "Basic \xff", "basic YQ=é"):
        answer = api.get("/api/stats/latest", headers={**PLAIN, "Authorization": shown.encode("latin-1")})

        assert (answer.status_code, answer.json()["error"]) == (400, "malformed_credentials")
    assert "Traceback" not in api.log


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer ", "Basic Og==", "Basic", "basic bm9jb2xvbg==", "Bearer x y"])
def test_nothing_is_no_token(shown: str) -> None:
    access = ReadAccess(TokenVerifier(parse_tokens(FIRST)), frozenset(), client_address(0))

    with pytest.raises(NoTokenError):
        access.require({"HTTP_AUTHORIZATION": shown})
    assert not access.permits({"HTTP_AUTHORIZATION": shown})


@pytest.mark.slow
def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = run(NOUBA_STATS_PORT=port)

    assert refused.returncode != 0
    assert refused.stderr.startswith("Error: ")
    assert "NOUBA_STATS_PORT" in refused.stderr
