"""A teacher's lesson through the gateway's API: followed, cancelled, retried and deleted, by a real worker."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from services.transcoder.hls.playlists import MASTER_NAME
from services.transcoder.jobs.job_requests import VideoRequests
from services.transcoder.jobs.model import prefix_of
from services.transcoder.jobs.postgres_captions import PostgresCaptionStore
from services.transcoder.jobs.postgres_job_requests import PostgresRequestStore
from services.transcoder.jobs.postgres_jobs import PostgresJobStore
from tests.transcoder.jobs.harness import BUCKET, Bench
from tests.webhook_gateway.processes import Database, RunningGateway

TOKEN = "the-schools-own-token"
ALLOWED = {"Authorization": f"Bearer {TOKEN}"}


class Teacher:
    """The school's back end, for a teacher."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._client = httpx.Client(base_url=f"{gateway.url}/api/v1/courses", headers=ALLOWED)

    def video(self, course_id: int) -> dict[str, Any]:
        answer = self._client.get(f"/{course_id}/video")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def ask(self, method: str, path: str) -> tuple[int, str]:
        answer = self._client.request(method, path)
        return answer.status_code, answer.json().get("code") or answer.json()["status"]


@pytest.fixture
def teacher(bench: Bench, tmp_path: Path) -> Iterator[Teacher]:
    database_url = bench.environment["NOUBA_DATABASE_URL"]
    # a slow machine is asked for longer than the limit of a token allows
    settings = {"NOUBA_API_TOKENS": TOKEN, "NOUBA_GATEWAY_API_REQUESTS_PER_MINUTE": "100000"}
    with RunningGateway(tmp_path / "gateway.log", database_url, **settings) as gateway:
        yield Teacher(gateway)
        assert "Traceback" not in gateway.log


def test_a_lesson_is_followed_cancelled_retried_and_deleted(bench: Bench, teacher: Teacher, short_film: Path) -> None:
    # Given a course without a video, then with one that waits
    course_id = bench.add_course()
    assert teacher.video(course_id) == {
        "status": "none",
        "percent": 0.0,
        "warnings": [],
        "reason": None,
        "master_key": None,
        "captions": [],
        "transcription": None,
        "chapters": [],
        "duration_seconds": None,
    }
    assert teacher.ask("POST", f"/{course_id}/video/cancel") == (409, "nothing_to_do")
    assert teacher.ask("DELETE", f"/{course_id}/video") == (409, "nothing_to_do")
    _, key = bench.submit(short_film, course_id)
    assert teacher.video(course_id)["status"] == "pending"

    # When it is cancelled while it is encoded
    bench.environment["NOUBA_TRANSCODER_ENCRYPT"] = "always"
    with bench.worker("transcoder.after_encode=delay:3600"):
        bench.wait(lambda: teacher.video(course_id)["status"] == "processing", "nothing is at work")
        assert teacher.ask("POST", f"/{course_id}/video/cancel") == (202, "cancelling")
        bench.wait(lambda: teacher.video(course_id)["status"] == "cancelled", "it is not cancelled")
        assert teacher.video(course_id)["reason"]
        assert teacher.ask("POST", f"/{course_id}/video/cancel") == (409, "nothing_to_do")

    # Then it can be made all the same
    with bench.worker():
        assert teacher.ask("POST", f"/{course_id}/video/retry") == (202, "pending")
        bench.wait(lambda: teacher.video(course_id)["status"] == "completed", "it is not made again", 120)
        whole = teacher.video(course_id)
        assert (whole["status"], whole["percent"], whole["reason"]) == ("completed", 100.0, None)
        assert whole["duration_seconds"] == pytest.approx(12, abs=0.1)
        assert whole["master_key"] == bench.course(course_id)[1]
        # and says what it lacks
        assert whole["warnings"] == []
        lacks = {"code": "damaged", "text": "A tenth of a second is missing at 0:03."}
        database = Database(bench.environment["NOUBA_DATABASE_URL"])
        database.execute("UPDATE transcode_jobs SET warnings = %s WHERE course_id = %s", json.dumps([lacks]), course_id)
        assert teacher.video(course_id)["warnings"] == [lacks]
        assert teacher.ask("POST", f"/{course_id}/video/retry") == (409, "nothing_to_do")

        # When it is deleted
        assert bench.scalar("SELECT count(*) FROM course_keys") == 1
        assert teacher.ask("DELETE", f"/{course_id}/video") == (202, "deleting")
        bench.wait(lambda: teacher.video(course_id)["status"] == "none", "it is not deleted")

    # Then nothing of it is left but the row that statistics count
    assert bench.course(course_id) == (None, None)
    assert bench.storage.list(f"hls/{course_id}/") == {}
    assert bench.storage.list(key) == {}
    assert bench.scalar("SELECT count(*) FROM course_keys") == 0
    assert (
        bench.scalar("SELECT count(*) FROM transcode_jobs WHERE deleted_at IS NOT NULL AND cleaned_at IS NOT NULL") == 1
    )
    assert teacher.ask("POST", f"/{course_id}/video/retry") == (409, "nothing_to_do")


@pytest.mark.slow
def test_a_lesson_that_is_deleted_while_it_is_made_leaves_nothing_and_the_next_one_stays(
    bench: Bench, teacher: Teacher, short_film: Path
) -> None:
    # Given a lesson at work, of another course than one that is whole
    course_id, key = bench.submit(short_film)
    other, _ = bench.submit(short_film)
    with bench.worker("transcoder.after_encode=delay:1"):
        bench.wait(lambda: bench.storage.list(f"hls/{course_id}/"), "no object was made")

        # When it is deleted, and another film comes at once
        assert teacher.ask("DELETE", f"/{course_id}/video") == (202, "deleting")
        bench.wait(lambda: teacher.video(course_id)["status"] == "none", "it is not deleted", 60)
        assert bench.storage.list(f"hls/{course_id}/") == {}
        assert bench.storage.list(key) == {}
        bench.submit(short_film, course_id)
        # its job is opened in a moment; until then the newest is the one that was deleted
        bench.wait(lambda: teacher.video(course_id)["status"] == "completed", "the new one is not made", 120)
        whole = [bench.wait_for(one, timeout_seconds=120).master for one in (course_id, other)]

    # Then the new one and the other course's are whole
    for one, master in zip((course_id, other), whole, strict=True):
        assert master
        assert bench.storage.client.head_object(Bucket=BUCKET, Key=master)
        assert teacher.video(one)["status"] == "completed"


def test_without_a_token_or_a_course_nothing_is_shown_or_done(bench: Bench, teacher: Teacher) -> None:
    for method, path in (("GET", "video"), ("DELETE", "video"), ("POST", "video/cancel"), ("POST", "video/retry")):
        assert teacher.ask(method, f"/{bench.add_course() + 1}/{path}") == (404, "unknown_course")
        strange = httpx.request(method, f"{str(teacher._client.base_url).rstrip('/')}/1/{path}")
        assert (strange.status_code, strange.json()["code"]) == (401, "unauthorised")


def test_a_lesson_whose_playlists_are_broken_delays_no_later_request(bench: Bench) -> None:
    # Given lessons that are to have captions and chapters: one's master has no variant, the other's only a variant
    masters = {"a": "#EXTM3U\n", "b": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n"}
    with bench.engine.begin() as connection:
        for key, master in masters.items():
            course_id = connection.scalar(text("INSERT INTO courses DEFAULT VALUES RETURNING id"))
            bench.storage.put(prefix_of(int(course_id or 0), key) + MASTER_NAME, master.encode())
            insert = (
                "INSERT INTO transcode_jobs (course_id, source_key, source_etag, source_bytes, state, content_key,"
                " duration_seconds, requested, uploaded_at)"
                " VALUES (:course_id, 'x', :key, 1, 'completed', :key, 9, 'captions', now())"
            )
            connection.execute(text(insert), {"course_id": course_id, "key": key})
            chapters = """INSERT INTO course_chapters VALUES (:course_id, '[{"start_seconds": 0, "title": "one"}]')"""
            connection.execute(text(chapters), {"course_id": course_id})
            if key == "a":
                captions = "INSERT INTO captions (course_id, language, body) VALUES (:course_id, 'en', 'WEBVTT')"
                connection.execute(text(captions), {"course_id": course_id})

    # When a worker carries out the requests
    requests = VideoRequests(
        PostgresRequestStore(bench.database),
        PostgresJobStore(bench.database, lease_seconds=30.0),
        PostgresCaptionStore(bench.database),
        bench.storage,
    )
    assert requests.handle() == 1

    # Then only the broken one waits
    waiting = "SELECT array_agg(content_key) FROM transcode_jobs WHERE requested IS NOT NULL"
    assert bench.scalar(waiting) == ["a"]
