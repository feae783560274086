"""The rules in `deploy/nginx` under Debian's nginx, with the playback service behind it: the CDN way."""

import gzip
import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from local.free_port import free_port
from local.installers import nginx
from local.postgres import Postgres
from local.s3 import S3
from tests.architecture.source import ROOT
from tests.playback.lessons import KEY, KEY_ID, MASTER, PLAYLIST, SEGMENT, lessons
from tests.playback.processes import OLD_SECRET, SECRET, RunningPlayback, signed
from tests.waiting import wait_until

RULES = ROOT / "deploy/nginx"


@dataclass
class Edge:
    """nginx, and the service behind it."""

    url: str
    playback: RunningPlayback

    def folder(self, master: str = MASTER) -> str:
        return self.url + signed(master).removesuffix("master.m3u8")


@pytest.fixture
def edge(migrated_server: Postgres, s3_server: S3, tmp_path: Path) -> Iterator[Edge]:
    program, module = nginx.find_program()
    with (
        lessons(migrated_server, s3_server) as database_url,
        RunningPlayback(tmp_path / "log", database_url, s3_server, NOUBA_PLAYBACK_PROXIES="1") as playback,
    ):
        port = free_port()
        write_configuration(tmp_path, port, playback.port, module)
        process = subprocess.Popen(
            [program, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log")],
            env={**os.environ, "NOUBA_PLAYBACK_SECRETS": f"{SECRET.decode()}, {OLD_SECRET.decode()}"},
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: answers(process, url, tmp_path), 15, "nginx does not answer")
            yield Edge(url, playback)
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(15)
        log = (tmp_path / "error.log").read_text() + (tmp_path / "nouba-error.log").read_text()
        assert "/play/" not in log, "a path is a permission, and names a viewer"
        assert "js exception" not in log


def write_configuration(folder: Path, port: int, playback_port: int, module: Path) -> None:
    """The rules as they are, with the places and ports of a test."""
    rules = (RULES / "playback.conf").read_text()
    places = {
        "listen 8088": f"listen 127.0.0.1:{port}",
        "127.0.0.1:8083": f"127.0.0.1:{playback_port}",
        "/etc/nginx/nouba/playback.js": str(RULES / "playback.js"),
        "/var/cache/nginx/nouba": str(folder / "cache"),
        "/var/log/nginx/": f"{folder}/",
    }
    for there, here in places.items():
        assert there in rules
        rules = rules.replace(there, here)
    (folder / "playback.conf").write_text(rules)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"load_module {module}; env NOUBA_PLAYBACK_SECRETS; daemon off; pid {folder}/pid; worker_processes 1;\n"
        f"user {pwd.getpwuid(os.geteuid()).pw_name};\n"
        f"events {{}} http {{ {temporary} include {folder}/playback.conf; }}\n"
    )


def answers(process: "subprocess.Popen[bytes]", url: str, folder: Path) -> bool:
    assert process.poll() is None, (folder / "error.log").read_text()
    try:
        return httpx.get(url).status_code == 404
    except httpx.TransportError:
        return False


def test_a_signed_address_plays_through_nginx_and_no_other_does(edge: Edge) -> None:
    base = edge.folder()

    # With its signature it plays, and one copy in the cache is enough for all viewers
    assert httpx.get(f"{base}360p/00000.m4s").content == SEGMENT
    again = httpx.get(edge.url + signed(MASTER, viewer="u-18").replace("master.m3u8", "360p/00000.m4s"))
    assert (again.content, again.headers["X-Cache"]) == (SEGMENT, "HIT")
    assert again.headers.get_list("Cache-Control") == [again.headers["Cache-Control"]]
    assert again.headers["Access-Control-Allow-Origin"] == "*"
    assert httpx.get(edge.url + signed(MASTER, secret=OLD_SECRET)).status_code == 200

    # What is in the cache is refused without a signature, after its time, for another course and when forged
    served = edge.playback.metric('nouba_playback_requests_total{outcome="served"}')
    path = signed(MASTER).replace("master.m3u8", "360p/00000.m4s")
    _, _, grant, _, content, _ = signed(MASTER).split("/")
    expires, viewer, _, signature = grant.split(".")
    refused = {
        "no signature": "/play/7/abc123/360p/00000.m4s",
        "the bucket's own path": "/hls/7/abc123/360p/00000.m4s",
        "expired": signed(MASTER, seconds=-1).replace("master.m3u8", "360p/00000.m4s"),
        "another course": f"/play/{grant}/8/{content}/360p/00000.m4s",
        "another content": f"/play/{grant}/7/other/360p/00000.m4s",
        "a later end": path.replace(expires, str(int(expires) + 60)),
        "another viewer": path.replace(f".{viewer}.", ".dS0xOA."),
        "another signature": path.replace(signature, signature[::-1]),
        "another secret": signed(MASTER, secret=b"somebody else's secret of enough bytes"),
        "bound elsewhere": signed(MASTER, address="203.0.113.7"),
        "dots": f"/play/{grant}/7/abc123/../../8/abc123/360p/00000.m4s",
        "escaped dots": f"/play/{grant}/7/abc123/%2e%2e/%2e%2e/8/abc123/360p/00000.m4s",
        "another prefix": f"/play/{grant}/7/abc123/..%2f..%2f..%2fuploads/7/secret.mp4",
    }
    for what, forgery in refused.items():
        answer = httpx.get(httpx.URL(edge.url).copy_with(raw_path=forgery.encode()))
        assert answer.status_code in (403, 404), what
        assert SEGMENT not in answer.content, what
        assert b"another co" not in answer.content, what
        assert b"an upload" not in answer.content, what
    assert edge.playback.metric('nouba_playback_requests_total{outcome="served"}') == served
    assert httpx.get(edge.url + signed(MASTER, address="127.0.0.1")).status_code == 200


def test_ranges_heads_and_compression_come_from_the_cache(edge: Edge) -> None:
    base = edge.folder()
    for _ in range(2):
        part = httpx.get(f"{base}360p/00000.m4s", headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, SEGMENT[100:200])
        assert part.headers["Content-Range"] == f"bytes 100-199/{len(SEGMENT)}"
        head = httpx.head(f"{base}360p/00000.m4s")
        assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(SEGMENT)))
        for accepted, encoding in (("gzip", "gzip"), ("identity", None), ("gzip;q=0", None)):
            with httpx.stream("GET", f"{base}master.m3u8", headers={"Accept-Encoding": accepted}) as answer:
                raw = b"".join(answer.iter_raw())
            assert answer.headers.get("Content-Encoding") == encoding
            assert "Accept-Encoding" in answer.headers["Vary"]
            assert (gzip.decompress(raw) if encoding else raw) == PLAYLIST


def test_reports_of_players_go_through(edge: Edge) -> None:
    for _ in range(2):
        answer = httpx.post(f"{edge.folder()}watched.json", content=b'{"duration": 100, "played": [[0, 1]]}')
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert edge.playback.metric('nouba_playback_requests_total{outcome="report"}') == 2
    forged = f"{edge.folder()}watched.json".replace("/7/", "/8/")
    assert httpx.post(forged, content=b'{"duration": 100, "played": [[0, 1]]}').status_code == 403


def test_a_key_goes_through_and_stays_in_no_cache(edge: Edge, tmp_path: Path) -> None:
    for _ in range(2):
        answer = httpx.get(f"{edge.folder()}{KEY_ID}.key")
        assert (answer.status_code, answer.content) == (200, KEY)
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert "X-Cache" not in answer.headers
    assert httpx.get(f"{edge.folder('hls/8/abc123/master.m3u8')}{KEY_ID}.key").status_code == 404
    assert httpx.get(f"{edge.url}/play/forged/7/abc123/{KEY_ID}.key").status_code == 403
    cached = [file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert not any(KEY in body for body in cached)


def test_what_is_cached_plays_on_while_the_service_is_away(edge: Edge) -> None:
    assert httpx.get(f"{edge.folder()}360p/00000.m4s").status_code == 200

    edge.playback.kill()

    assert httpx.get(f"{edge.folder()}360p/00000.m4s").content == SEGMENT
    assert httpx.get(edge.folder() + "storyboard.vtt").status_code == 502
