"""The playback service on a real S3 server: what a signed path opens, and everything that it does not."""

import gzip
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from local.postgres import Postgres
from local.s3 import BUCKET, S3
from services.playback.app import MAX_TEXT_BYTES
from services.transcoder.storage.s3 import Storage
from tests.playback.lessons import KEY, KEY_ID, MASTER, PLAYLIST, SEGMENT, lessons
from tests.playback.processes import OLD_SECRET, RunningPlayback, signed
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def playback(
    migrated_server: Postgres, s3_server: S3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningPlayback]:
    with lessons(migrated_server, s3_server) as database_url:
        log = tmp_path_factory.mktemp("playback") / "log"
        with RunningPlayback(log, database_url, s3_server) as playback:
            yield playback
            assert "Traceback" not in playback.log
            assert KEY.hex() not in playback.log
            assert "/play/" not in playback.log, "a path is a permission, and names a viewer"


@pytest.fixture
def base(playback: RunningPlayback) -> str:
    """The folder of lesson 7, signed."""
    return playback.url + signed(MASTER).removesuffix("master.m3u8")


def test_every_file_of_the_lesson_is_below_its_signed_path(base: str) -> None:
    master = httpx.get(f"{base}master.m3u8")
    segment = httpx.get(f"{base}360p/00000.m4s")

    assert (master.status_code, master.content) == (200, PLAYLIST)
    assert master.headers["Content-Type"] == "application/vnd.apple.mpegurl"
    assert (segment.status_code, segment.content) == (200, SEGMENT)
    assert segment.headers["Content-Type"] == "video/iso.segment"
    for answer in (master, segment):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        # nobody keeps it for longer than the viewer may watch
        private, max_age, immutable = answer.headers["Cache-Control"].split(", ")
        assert (private, immutable) == ("private", "immutable")
        assert 0 < int(max_age.removeprefix("max-age=")) <= 60


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("*", "gzip"), ("identity", None), ("gzip;q=0", None), ("", None)],
)
def test_playlists_are_compressed_for_those_who_accept_it(base: str, accepted: str, encoding: str | None) -> None:
    with httpx.stream("GET", f"{base}master.m3u8", headers={"Accept-Encoding": accepted}) as answer:
        raw = b"".join(answer.iter_raw())

    assert answer.headers.get("Content-Encoding") == encoding
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert len(raw) == int(answer.headers["Content-Length"])
    assert (gzip.decompress(raw) if encoding else raw) == PLAYLIST


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, 10240),
        ("bytes=-10", 10230, 10240),
        ("bytes=10000-99999", 10000, 10240),
    ],
)
def test_a_range_of_a_segment_is_served(base: str, wanted: str, start: int, end: int) -> None:
    answer = httpx.get(f"{base}360p/00000.m4s", headers={"Range": wanted})

    assert answer.status_code == 206
    assert answer.content == SEGMENT[start:end]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/10240"
    assert answer.headers["Content-Length"] == str(end - start)


def test_a_range_behind_the_end_is_refused_and_one_that_is_none_is_ignored(base: str) -> None:
    behind = httpx.get(f"{base}360p/00000.m4s", headers={"Range": "bytes=20000-"})
    assert behind.status_code == 416
    assert behind.headers["Content-Range"] == "bytes */10240"

    for wanted in ("bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=-"):
        assert httpx.get(f"{base}360p/00000.m4s", headers={"Range": wanted}).content == SEGMENT


def test_head_has_the_headers_and_no_body(base: str) -> None:
    for name in ("master.m3u8", "360p/00000.m4s"):
        get = httpx.get(base + name, headers={"Accept-Encoding": "identity"})
        head = httpx.head(base + name, headers={"Accept-Encoding": "identity"})
        assert (head.status_code, head.content) == (200, b"")
        for header in ("Content-Length", "Content-Type", "ETag"):
            assert head.headers[header] == get.headers[header]


def test_what_a_player_has_is_not_sent_again(base: str) -> None:
    for name in ("master.m3u8", "360p/00000.m4s"):
        etag = httpx.get(base + name).headers["ETag"]
        again = httpx.get(base + name, headers={"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")


def test_a_page_of_another_origin_may_ask_first(base: str) -> None:
    asked = {
        "Origin": "https://school.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "range",
    }

    answer = httpx.options(f"{base}360p/00000.m4s", headers=asked)

    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Range" in answer.headers["Access-Control-Allow-Headers"]


def test_the_key_is_below_the_signed_path_and_nobody_keeps_it(base: str, playback: RunningPlayback) -> None:
    for folder in ("", "first/"):
        answer = httpx.get(f"{base}{folder}{KEY_ID}.key")
        assert (answer.status_code, answer.content) == (200, KEY)
        assert answer.headers["Cache-Control"] == "private, no-store"

    assert httpx.get(f"{base}{'1' * 32}.key").status_code == 404
    other_course = playback.url + signed("hls/8/abc123/master.m3u8").removesuffix("master.m3u8")
    assert httpx.get(f"{other_course}{KEY_ID}.key").status_code == 404
    assert httpx.get(f"{playback.url}/play/forged/7/abc123/{KEY_ID}.key").status_code == 403


def test_a_signature_opens_its_own_lesson_until_its_end_and_nothing_else(playback: RunningPlayback) -> None:
    path = signed(MASTER)
    _, play, grant, course, content, file = path.split("/")
    expires, viewer, bound, signature = grant.split(".")
    last = "A" if signature[0] != "A" else "B"
    forged = {
        "another course": f"/play/{grant}/8/{content}/{file}",
        "another content": f"/play/{grant}/{course}/other/360p/00000.m4s",
        "a later end": f"/play/{int(expires) + 3600}.{viewer}.{bound}.{signature}/{course}/{content}/{file}",
        "another viewer": f"/play/{expires}.dS0xOA.{bound}.{signature}/{course}/{content}/{file}",
        "another binding": f"/play/{expires}.{viewer}.1.{signature}/{course}/{content}/{file}",
        "another signature": f"/play/{expires}.{viewer}.{bound}.{last}{signature[1:]}/{course}/{content}/{file}",
        "a signature cut short": f"/play/{expires}.{viewer}.{bound}.{signature[:-1]}/{course}/{content}/{file}",
        "another secret": signed(MASTER, secret=b"somebody else's secret of enough bytes"),
        "no grant": f"/play/-/{course}/{content}/{file}",
    }
    assert play == "play"
    assert httpx.get(playback.url + path).status_code == 200
    for what, forgery in forged.items():
        answer = httpx.get(playback.url + forgery)
        assert answer.status_code == 403, what
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert b"EXTM3U" not in answer.content

    expired = httpx.get(playback.url + signed(MASTER, seconds=-1))
    assert expired.status_code == 403
    assert "expired" in expired.json()["detail"]


def test_an_address_that_plays_is_refused_when_its_time_is_over(playback: RunningPlayback) -> None:
    url = playback.url + signed(MASTER, seconds=2)
    assert httpx.get(url).status_code == 200

    wait_until(lambda: httpx.get(url).status_code == 403, 10, "the address has no end")


def test_an_older_secret_still_verifies(playback: RunningPlayback) -> None:
    assert httpx.get(playback.url + signed(MASTER, secret=OLD_SECRET)).status_code == 200


def test_an_address_that_is_bound_plays_from_there_alone(
    playback: RunningPlayback, migrated_server: Postgres, s3_server: S3, tmp_path: Path
) -> None:
    assert httpx.get(playback.url + signed(MASTER, address="127.0.0.1")).status_code == 200
    elsewhere = playback.url + signed(MASTER, address="203.0.113.7")
    assert httpx.get(elsewhere).status_code == 403
    # without a proxy in front, nobody may say where they are
    assert httpx.get(elsewhere, headers={"X-Forwarded-For": "203.0.113.7"}).status_code == 403

    with RunningPlayback(
        tmp_path / "log", migrated_server.url_of("migrated"), s3_server, NOUBA_PLAYBACK_PROXIES="1"
    ) as proxied:
        path = signed(MASTER, address="2001:db8::7")
        found = [
            httpx.get(proxied.url + path, headers={"X-Forwarded-For": client}).status_code
            for client in (
                "2001:db8::7",
                "2001:0DB8:0::7",
                "203.0.113.7, 2001:db8::7",
                "2001:db8::7, 203.0.113.7",
                "x",
            )
        ]
    assert found == [200, 200, 200, 403, 403]


def test_behind_a_proxy_with_tls_every_answer_says_so(
    playback: RunningPlayback, migrated_server: Postgres, s3_server: S3, tmp_path: Path
) -> None:
    # Given a service that players reach by HTTPS, then playlists, segments, refusals and preflights have the header
    paths = [signed(MASTER), signed(MASTER).replace("master.m3u8", "360p/00000.m4s"), "/play/7", "/healthz"]
    with RunningPlayback(tmp_path / "log", migrated_server.url_of("migrated"), s3_server, NOUBA_HTTPS="true") as secure:
        answers = [httpx.get(secure.url + path) for path in paths]
        answers.append(httpx.options(secure.url + paths[0]))

    assert [answer.status_code for answer in answers] == [200, 200, 404, 200, 204]
    assert all("Strict-Transport-Security" in answer.headers for answer in answers)
    assert "Strict-Transport-Security" not in httpx.get(playback.url + paths[0]).headers


@pytest.mark.parametrize(
    "tail",
    [
        "../../../uploads/7/secret.mp4",
        "..%2f..%2f..%2fuploads/7/secret.mp4",
        "%2e%2e/%2e%2e/8/abc123/360p/00000.m4s",
        "../../8/abc123/360p/00000.m4s",
        "360p/../../other/360p/00000.m4s",
        "360p//00000.m4s",
        "360p/00000.m4s%00",
        "360p/00000.m4s%00.m3u8",
        "360p%5c00000.m4s",
        "360p/00000.m4s/",
        ".m4s",
        "360p/.m4s",
        "master.m3u8%0d%0aX-Injected:1",
        "a/b/c/d/e/00000.m4s",
        "360p/00000.ts",
        "",
    ],
)
def test_no_path_leaves_its_lesson(playback: RunningPlayback, tail: str) -> None:
    path = urlsplit(signed(MASTER)).path.removesuffix("master.m3u8") + tail

    status, body = ask_raw(playback, f"GET {path} HTTP/1.1")

    assert status in (403, 404)
    assert b"an upload" not in body
    assert b"another" not in body


@pytest.mark.parametrize("path", ["/", "/play", "/play/", "/hls/7/abc123/master.m3u8", "/metrics", "/play/x/7/abc123"])
def test_other_paths_are_not_found(playback: RunningPlayback, path: str) -> None:
    assert ask_raw(playback, f"GET {path} HTTP/1.1")[0] == 404


def test_only_reading_is_allowed(playback: RunningPlayback) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = httpx.request(method, playback.url + signed(MASTER))
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "GET, HEAD, POST, OPTIONS"


def test_a_missing_file_is_not_found_and_requests_are_counted(base: str, playback: RunningPlayback) -> None:
    missing = 'nouba_playback_requests_total{outcome="missing"}'
    before = playback.metric(missing)

    assert httpx.get(f"{base}360p/99999.m4s").status_code == 404

    assert playback.metric(missing) == before + 1


def test_while_s3_is_away_players_are_asked_to_come_again(
    migrated_server: Postgres, s3_server: S3, tmp_path: Path
) -> None:
    log, url = tmp_path / "log", migrated_server.url_of("migrated")
    nobody = "http://127.0.0.1:1"
    with RunningPlayback(log, url, s3_server, ready="/healthz", NOUBA_S3_ENDPOINT_URL=nobody) as alone:
        answer = httpx.get(alone.url + signed(MASTER), timeout=30)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "2"
        assert httpx.get(f"{alone.url}/readyz", timeout=30).status_code == 503


def ask_raw(playback: RunningPlayback, line: str) -> tuple[int, bytes]:
    """What no HTTP client would send: the status and the rest of the answer."""
    with socket.create_connection(("127.0.0.1", playback.port), timeout=10) as connection:
        connection.sendall(f"{line}\r\nHost: playback\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while block := connection.recv(65536):
            received += block
    return int(received.split()[1]), received


@pytest.mark.parametrize("body", [gzip.compress(bytes(MAX_TEXT_BYTES + 1)), b"no gzip"], ids=["bomb", "damaged"])
def test_a_text_that_cannot_be_unpacked_is_an_answer_and_fills_no_memory(
    base: str, s3_server: S3, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    # Given a text that the transcoder has not written: a thief of its key has
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
    storage = Storage(BUCKET, s3_server.url)
    storage.client.put_object(Bucket=BUCKET, Key="hls/7/abc123/bomb.vtt", Body=body, ContentEncoding="gzip")

    # When a player asks for it that takes no gzip
    answer = httpx.get(f"{base}bomb.vtt", headers={"Accept-Encoding": "identity"})

    # Then it is refused, and the lesson goes on
    assert answer.status_code == 503
    assert httpx.get(f"{base}master.m3u8").status_code == 200
