"""Chromium plays a private and an encrypted lesson by the address that the gateway signed, and by no other."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.s3 import S3
from services.transcoder.hls.lint.check import check
from tests.playback.processes import SECRET, RunningPlayback
from tests.transcoder.conftest import s3_keys as s3_keys  # a fixture
from tests.transcoder.jobs.conftest import bench as bench  # a fixture
from tests.transcoder.jobs.conftest import short_film as short_film  # a fixture
from tests.transcoder.jobs.harness import Bench
from tests.transcoder.jobs.player import Player, site
from tests.transcoder.jobs.test_encrypted import add_paid_course
from tests.transcoder.jobs.test_playback import assert_plays
from tests.transcoder.jobs.test_playback import hls_js as hls_js  # a fixture
from tests.waiting import wait_until
from tests.webhook_gateway.processes import RunningGateway

TOKEN = "the-schools-own-token"


class School:
    """The gateway that signs addresses, and the service that they lead to."""

    def __init__(self, gateway: RunningGateway, playback_url: str) -> None:
        self.gateway_url, self.playback_url = gateway.url, playback_url

    def address(self, course_id: int, **asked: Any) -> str:
        answer = httpx.get(
            f"{self.gateway_url}/api/v1/courses/{course_id}/playback",
            params={"viewer": "u-17", **asked},
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["master_url"])


@pytest.fixture
def school(bench: Bench, s3_keys: S3, tmp_path: Path) -> Iterator[School]:
    database_url = bench.environment["NOUBA_DATABASE_URL"]
    bench.environment["NOUBA_TRANSCODER_ENCRYPT"] = "paid"
    with ExitStack() as running:
        playback = running.enter_context(RunningPlayback(tmp_path / "playback.log", database_url, s3_keys))
        settings = {
            "NOUBA_API_TOKENS": TOKEN,
            "NOUBA_PLAYBACK_SECRETS": SECRET.decode(),
            "NOUBA_PLAYBACK_URL": playback.url,
        }
        gateway = running.enter_context(RunningGateway(tmp_path / "gateway.log", database_url, **settings))
        yield School(gateway, playback.url)


@pytest.fixture
def player(bench: Bench, hls_js: bytes, tmp_path: Path) -> Iterator[Player]:
    """A page of the school's, on another origin than the lessons."""
    with site(bench.storage, hls_js) as address:
        player = Player(address, tmp_path / "profile")
        yield player
        player.close()


def test_chromium_plays_a_private_and_an_encrypted_lesson_until_the_address_ends(
    bench: Bench, school: School, short_film: Path, player: Player
) -> None:
    # Given a free and a paid lesson, which the bucket itself gives to nobody
    paid, _ = bench.submit(short_film, add_paid_course(bench))
    free, _ = bench.submit(short_film)
    with bench.worker():
        masters = [bench.wait_for(course_id).master for course_id in (paid, free)]
    assert httpx.get(f"{bench.environment['NOUBA_S3_ENDPOINT_URL']}/nouba/{masters[1]}").status_code == 403

    brief = school.address(paid, ttl_seconds=30)
    assert httpx.get(brief).status_code == 200

    for course_id in (free, paid):
        # Then each plays by its signed address, wherever the viewer goes
        url = school.address(course_id)
        assert_plays(player, url, seconds=12, levels=2, seeks=8)
        # and in what is no browser, where every playlist is found right too
        decoded = decode(url)
        assert decoded.returncode == 0, decoded.stderr
        assert [finding.message for finding in check(url).errors] == []

    # And the address of one course does not open the other one, nor its key
    other = school.address(free).replace(f"/{free}/", f"/{paid}/")
    assert httpx.get(other).status_code == 403
    assert decode(other).returncode != 0

    # And an address ends, which hls.js says at once
    wait_until(lambda: httpx.get(brief).status_code == 403, 40, "the address has no end")
    assert decode(brief).returncode != 0
    with pytest.raises(AssertionError, match="given up after manifestLoadError"):
        player.open(brief)


def decode(master: str) -> "subprocess.CompletedProcess[bytes]":
    call = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", master, "-map", "0:v:0", "-f", "null", "-"]
    return subprocess.run(call, check=False, capture_output=True, timeout=60)
