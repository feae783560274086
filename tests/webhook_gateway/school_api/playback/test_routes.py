"""The school's back end gets an address for one viewer; nobody else gets one."""

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit

import httpx
import pytest

from local.postgres import Postgres
from shared.runtime import playback_links
from tests.webhook_gateway.processes import RunningGateway, new_database

TOKEN, SECRET = "first-token-of-the-school", "the-secret-that-signs-addresses-0123456789"
ALLOWED = {"Authorization": f"Bearer {TOKEN}"}
ROUTE = "/api/v1/courses/7/playback"


@pytest.fixture(scope="module")
def gateway(migrated_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with new_database(migrated_server) as database:
        database.execute(
            "INSERT INTO courses (id, title, video_ref) VALUES (7, 'Optics', 'hls/7/abc/first/master.m3u8')"
        )
        database.execute("INSERT INTO courses (id, title) VALUES (8, 'Waves')")
        settings = {
            "NOUBA_API_TOKENS": TOKEN,
            "NOUBA_PLAYBACK_SECRETS": f"{SECRET},an-older-secret-of-enough-bytes-0123456789",
            "NOUBA_PLAYBACK_URL": "https://video.school.example/",
        }
        with RunningGateway(tmp_path_factory.mktemp("playback") / "log", database.url, **settings) as gateway:
            yield gateway
            assert "Traceback" not in gateway.log
            assert SECRET not in gateway.log


def test_an_address_is_signed_for_one_viewer_until_its_end(gateway: RunningGateway) -> None:
    asked = {"viewer": "user 17 é", "ttl_seconds": "600", "address": "2001:0db8::7"}

    answer = httpx.get(gateway.url + ROUTE, params=asked, headers=ALLOWED)

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "private, no-store"
    url = urlsplit(answer.json()["master_url"])
    assert (url.scheme, url.netloc) == ("https", "video.school.example")
    path = playback_links.parse_path(url.path)
    assert path.object_key == "hls/7/abc/first/master.m3u8"
    expires_at = datetime.fromisoformat(answer.json()["expires_at"])
    now = expires_at.timestamp() - 600
    grant = playback_links.verify(path, [SECRET.encode()], now, "2001:db8::7")
    assert (grant.viewer, grant.expires) == ("user 17 é", int(expires_at.timestamp()))
    with pytest.raises(playback_links.ForgedGrantError):
        playback_links.verify(path, [SECRET.encode()], now, "2001:db8::8")
    with pytest.raises(playback_links.ExpiredGrantError):
        playback_links.verify(path, [SECRET.encode()], expires_at.timestamp(), "2001:db8::7")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_without_a_token_there_is_no_address(gateway: RunningGateway, headers: dict[str, str]) -> None:
    answer = httpx.get(gateway.url + ROUTE, params={"viewer": "u-17"}, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "unauthorised"


@pytest.mark.parametrize(
    ("route", "asked", "status", "code"),
    [
        (ROUTE, {}, 400, "bad_playback"),
        (ROUTE, {"viewer": ""}, 400, "bad_playback"),
        (ROUTE, {"viewer": "x" * 97}, 400, "bad_playback"),
        (ROUTE, {"viewer": "a\nb"}, 400, "bad_playback"),
        (ROUTE, {"viewer": "a", "ttl_seconds": "0"}, 400, "bad_playback"),
        (ROUTE, {"viewer": "a", "ttl_seconds": "86401"}, 400, "bad_playback"),
        (ROUTE, {"viewer": "a", "ttl_seconds": "1e3"}, 400, "bad_playback"),
        (ROUTE, {"viewer": "a", "address": "localhost"}, 400, "bad_playback"),
        (ROUTE, {"viewer": "a", "address": "fe80::1%eth0"}, 400, "bad_playback"),
        # Python takes this for an IPv6 address, and the text that is signed has lines
        (ROUTE, {"viewer": "a", "address": "::1%\n7\nkey"}, 400, "bad_playback"),
        (ROUTE, {"viewer": "a", "ttl": "60"}, 400, "bad_playback"),
        ("/api/v1/courses/8/playback", {"viewer": "a"}, 409, "lesson_not_ready"),
        ("/api/v1/courses/9/playback", {"viewer": "a"}, 404, "unknown_course"),
    ],
)
def test_a_request_that_cannot_be_met_is_a_problem(
    gateway: RunningGateway, route: str, asked: dict[str, str], status: int, code: str
) -> None:
    answer = httpx.get(gateway.url + route, params=asked, headers=ALLOWED)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.json()["status"] == status
