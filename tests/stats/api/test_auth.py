"""Who may read: this machine, and from elsewhere who shows a token."""

import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from local.ports import free_port
from services.stats.api.auth import require_token
from services.stats.api.errors import NoTokenError
from services.stats.api.settings import is_loopback
from tests.stats.api.conftest import LAST, Start
from tests.stats.api.processes import PLAIN
from tests.stats.api.snapshots import keep
from tests.waiting import wait_until
from tests.webhook_gateway.processes import NOUBA, Running

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
    [("0.0.0.0", ""), ("::", " "), ("stats.internal", "first,,second")],  # noqa: S104
)
def test_an_address_that_others_reach_is_refused_without_tokens(host: str, tokens: str) -> None:
    refused = run(NOUBA_STATS_HOST=host, NOUBA_API_TOKENS=tokens)

    assert refused.returncode != 0
    assert refused.stderr.startswith("Error: NOUBA_STATS_HOST")
    assert "NOUBA_API_TOKENS" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "second" not in refused.stderr


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
    api = start(database_url, NOUBA_STATS_HOST="0.0.0.0", NOUBA_API_TOKENS="first-token, second-token")  # noqa: S104

    def ask(path: str, authorization: str | None) -> httpx.Response:
        return api.get(path, headers={**PLAIN, **({"Authorization": authorization.encode()} if authorization else {})})

    for path in ("/api/stats/latest", f"/api/stats/{LAST}", "/api/stats?from=1&to=2", "/", "/nothing"):
        for shown in (
            None,
            "Bearer wrong",
            "Bearer",
            "Bearer first-token,",
            "Basic !",
            "Digest first-token",
            "Bearer é",
        ):
            refused = ask(path, shown)
            assert (refused.status_code, refused.json()["error"]) == (401, "no_token")
            assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
            assert refused.headers["Cache-Control"] == "no-store"
    for shown in ("Bearer first-token", "bearer second-token", httpx.BasicAuth("any", "first-token")._auth_header):
        assert ask("/api/stats/latest", shown).status_code == 200
        assert ask("/", shown).status_code == 200
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert ask(path, None).status_code == 200
    assert "first-token" not in api.log


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


def test_on_this_machine_no_token_is_asked_for_even_where_some_are_set(start: Start, database_url: str) -> None:
    keep(database_url, LAST, LAST)
    api = start(database_url, NOUBA_API_TOKENS="a-token")

    assert api.get("/api/stats/latest").status_code == 200


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer ", "Basic Og==", "Basic", "basic bm9jb2xvbg==", "Bearer x y"])
def test_nothing_is_no_token(shown: str) -> None:
    with pytest.raises(NoTokenError):
        require_token((b"token",), shown)


def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = run(NOUBA_STATS_PORT=port)

    assert refused.returncode != 0
    assert refused.stderr.startswith("Error: ")
    assert "NOUBA_STATS_PORT" in refused.stderr
