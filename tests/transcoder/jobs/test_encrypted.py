"""A paid lesson is encrypted on its way, plays with the key that the school passes on, and with nothing else."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.transcoder.hls.lint.check import check
from tests.transcoder.jobs.harness import Bench
from tests.transcoder.jobs.player import Player, site
from tests.transcoder.jobs.test_playback import assert_plays
from tests.transcoder.jobs.test_playback import hls_js as hls_js  # a fixture
from tests.webhook_gateway.processes import RunningGateway

TOKEN = "the-schools-own-token"


class School:
    """The school's own site: it shows lessons, and asks the gateway for the key of one that a student may watch."""

    def __init__(self, gateway_url: str) -> None:
        self._gateway_url = gateway_url
        self.token = TOKEN
        self.keys_given: list[bytes] = []

    def give_key(self, path: str) -> tuple[int, bytes]:
        course_id, _, key_id = path.partition("/")
        address = f"{self._gateway_url}/api/courses/{course_id}/keys/{key_id}"
        answer = httpx.get(address, headers={"Authorization": f"Bearer {self.token}"})
        if answer.status_code == 200:
            self.keys_given.append(answer.content)
        return answer.status_code, answer.content


@pytest.fixture
def school(bench: Bench, tmp_path: Path) -> Iterator[School]:
    database_url = bench.environment["NOUBA_DATABASE_URL"]
    with RunningGateway(tmp_path / "gateway.log", database_url, NOUBA_API_TOKENS=TOKEN) as gateway:
        yield School(gateway.url)


@pytest.fixture
def address(bench: Bench, school: School, hls_js: bytes) -> Iterator[str]:
    """Where students watch; workers get this as the address of keys."""
    with site(bench.storage, hls_js, school.give_key) as address:
        bench.environment["NOUBA_TRANSCODER_ENCRYPT"] = "paid"
        bench.environment["NOUBA_TRANSCODER_KEY_URL"] = f"{address}/keys/{{course_id}}/{{key_id}}"
        yield address


def add_paid_course(bench: Bench) -> int:
    course_id = bench.add_course()
    with bench.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO chapters (id, title, price_minor) VALUES (1, 'Optics', 150000)")
        connection.exec_driver_sql(f"UPDATE courses SET chapter_id = 1 WHERE id = {course_id}")  # noqa: S608
    return course_id


def decode(master: str) -> "subprocess.CompletedProcess[bytes]":
    call = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", master, "-map", "0:v:0", "-f", "null", "-"]
    return subprocess.run(call, check=False, capture_output=True, timeout=60)


def test_a_paid_lesson_plays_with_its_key_and_discloses_nothing_without_it(
    bench: Bench, school: School, address: str, short_film: Path, tmp_path: Path
) -> None:
    paid, _ = bench.submit(short_film, add_paid_course(bench))
    free, _ = bench.submit(short_film)
    with bench.worker():
        master, open_master = (bench.wait_for(course_id).master for course_id in (paid, free))
    assert master
    assert open_master

    player = Player(address, tmp_path / "profile")
    assert_plays(player, master, seconds=12, levels=2)
    player.close()
    assert len(school.keys_given[0]) == 16
    assert set(school.keys_given) == {school.keys_given[0]}, "one key for all of a lesson"
    report = check(f"{address}/{master}")
    assert [finding.message for finding in report.errors] == []
    assert report.unreadable == ()
    assert decode(f"{address}/{master}").returncode == 0

    kept = bench.bodies(master.removesuffix("master.m3u8"))
    assert not any(school.keys_given[0] in body for body in kept.values()), "the key is not beside the lesson"
    for name, body in kept.items():
        if name.endswith((".mp4", ".m4s")):
            assert not any(word in body for word in (b"moof", b"moov", b"mdat", b"avcC")), f"{name} is clear"
    assert {name.split("/")[0] for name in kept} >= {"first", "288p", "audio0"}, "what is shown first is encrypted too"
    media = [body for name, body in kept.items() if name.endswith(("media.m3u8", "iframes.m3u8"))]
    assert all(b"#EXT-X-KEY:METHOD=AES-128" in body for body in media)
    assert not any(b"EXT-X-KEY" in body for body in bench.bodies(open_master.removesuffix("master.m3u8")).values())

    school.token = "stolen"
    key_address = media[0].split(b'#EXT-X-KEY:METHOD=AES-128,URI="')[1].split(b'"')[0].decode()
    assert httpx.get(key_address).status_code == 401
    assert decode(f"{address}/{master}").returncode != 0


@pytest.mark.slow
def test_a_lesson_that_is_made_again_by_workers_that_die_has_the_same_key_and_bytes(
    bench: Bench, address: str, film: Path
) -> None:
    course_id, _ = bench.submit(film, add_paid_course(bench))
    with bench.worker():
        bench.wait_for(course_id)
    made = bench.lesson(course_id)

    bench.storage.remove(f"hls/{course_id}/")
    _, key = bench.submit(film, course_id)
    with bench.worker("transcoder.after_encode=kill*1") as worker:
        assert worker.wait(60) == -signal.SIGKILL
    with bench.worker():
        bench.wait(lambda: [job for job in bench.jobs() if job.source_key == key and job.over], "it is not made again")

    assert bench.lesson(course_id) == made
    assert bench.scalar("SELECT count(*) FROM course_keys") == 1
