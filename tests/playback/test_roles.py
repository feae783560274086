"""Playback, the gateway and the transcoder in roles of their own: each may do its work on lessons, and no more."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from local.postgres import Postgres
from local.s3 import S3
from services.transcoder.jobs.postgres_captions import PostgresCaptionStore
from services.transcoder.jobs.postgres_job_requests import PostgresRequestStore
from services.transcoder.jobs.postgres_jobs import PostgresJobStore
from services.webhook_gateway.school_api.course_video.postgres import PostgresVideos
from shared.runtime.database import RetryingEngine, build_engine
from tests.playback.lessons import KEY, KEY_ID, MASTER
from tests.playback.processes import RunningPlayback, signed
from tests.roles import PASSWORD, apply_roles
from tests.waiting import wait_until

FORBIDDEN = [
    ("playback", "SELECT FROM courses"),
    ("playback", "SELECT content_key FROM course_keys"),
    ("playback", "UPDATE course_keys SET secret = secret"),
    ("playback", "DELETE FROM course_keys"),
    ("playback", "SELECT FROM transcode_jobs"),
    ("playback", "DELETE FROM lesson_views"),
    ("playback", "UPDATE lesson_views SET viewer = '18'"),
    ("playback", "INSERT INTO lesson_views (viewer, course_id, day, chapter_id) VALUES ('17', 7, now(), 3)"),
    ("playback", "SELECT forget_lessons(now(), 1)"),
    ("playback", "SELECT FROM outbox"),
    ("playback", "SELECT FROM users"),
    ("gateway", "UPDATE transcode_jobs SET state = 'completed'"),
    ("gateway", "SELECT plan FROM transcode_jobs"),
    ("gateway", "DELETE FROM transcode_jobs"),
    ("gateway", "DELETE FROM course_keys"),
    ("gateway", "UPDATE courses SET video_ref = NULL"),
    # it adds and removes the captions that an upload carries
    ("transcoder", "UPDATE captions SET body = ''"),
]


def url_as(role: str, server: Postgres) -> str:
    return f"postgresql://nouba_{role}:{PASSWORD}@{urlsplit(server.url).netloc.rpartition('@')[2]}/nouba"


def test_each_role_does_its_work_on_lessons_and_no_more(own_postgres: Postgres, s3_server: S3, tmp_path: Path) -> None:
    # Given a lesson with a key and captions, and the roles of the containers
    owner = build_engine(own_postgres.url, autocommit=True)
    with owner.connect() as connection:
        connection.exec_driver_sql("INSERT INTO courses (id, video_ref) VALUES (7, %s)", (MASTER,))
        connection.exec_driver_sql(
            "INSERT INTO course_keys (id, course_id, content_key, secret) VALUES (%s, 7, 'abc', %s)", (KEY_ID, KEY)
        )
        connection.exec_driver_sql(
            "INSERT INTO transcode_jobs (course_id, source_key, source_etag, source_bytes, uploaded_at, state,"
            " content_key, finished_at) VALUES (7, 'uploads/7/x', 'e', 1, now(), 'completed', 'abc123', now())"
        )
    apply_roles(own_postgres, tmp_path)

    # Then playback gives the key
    with RunningPlayback(tmp_path / "log", url_as("playback", own_postgres), s3_server) as playback:
        base = playback.url + signed(MASTER).removesuffix("master.m3u8")
        assert httpx.get(f"{base}{KEY_ID}.key").content == KEY
        # and records who watched it
        report = httpx.post(f"{base}watched.json", content=b'{"duration": 100, "played": [[0, 60]]}')
        assert report.status_code == 204
        query = text("SELECT sum(played_ms) FROM lesson_views")
        with owner.connect() as connection:
            wait_until(lambda: connection.scalar(query) == 60_000, 30, "no view is written")

    # And the gateway keeps captions, and asks
    videos = PostgresVideos(gateway := build_engine(url_as("gateway", own_postgres), autocommit=True))
    videos.put_captions(7, "ar", "WEBVTT\n\n00:01.000 --> 00:02.000\nx\n")
    assert [track.language for track in videos.show(7).captions] == ["ar"]
    videos.put_chapters(7, [{"start_seconds": 0, "title": "x"}])

    # And the transcoder does it
    transcoder = build_engine(url_as("transcoder", own_postgres))
    database = RetryingEngine(transcoder)
    store, asked = PostgresJobStore(database, 30.0), PostgresRequestStore(database)
    (request,) = asked.requests()
    lesson = PostgresCaptionStore(database).captions(request.job_id)
    assert lesson
    assert [track.language for track in lesson.captions] == ["ar"]
    assert lesson.chapters == ()
    videos.ask(7, "delete")
    assert store.withdraw(request.job_id) == ["hls/7/abc123/", "uploads/7/x"]
    store.forget_keys(request.job_id)
    assert videos.show(7).status == "deleting"
    asked.answered(asked.requests()[0])
    assert videos.show(7).status == "none"

    # And none may do more
    for role, statement in FORBIDDEN:
        engine = build_engine(url_as(role, own_postgres))
        with pytest.raises(ProgrammingError, match="permission denied"), engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()
    for engine in (owner, gateway, transcoder):
        engine.dispose()
