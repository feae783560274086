"""The jobs' rules in the database, without any worker: what is claimed, superseded, completed, taken over."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from services.transcoder.errors import RejectedInputError, UnknownCourseError, UnknownJobError
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.jobs.handlers import MessageHandlers, WorkerPolicy
from services.transcoder.jobs.model import Lease, State, TaskKind, TaskResult, Upload
from services.transcoder.jobs.postgres_jobs import SUPERSEDED, PostgresJobStore
from services.transcoder.jobs.postgres_tasks import WINDOW
from services.transcoder.planning.damage import Damage
from services.transcoder.planning.plan import Plan, make_plan
from services.transcoder.planning.profile import EncodingProfile
from services.transcoder.planning.source import Audio, LessonWarning, Source, Video
from shared.cli import main
from shared.runtime.database import RetryingEngine, build_engine

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TODAY = date(2026, 3, 1)


def make_source(seconds: float) -> Source:
    video = Video(
        index=0, codec="mpeg4", profile="", width=320, height=240, rotation=0, square_pixels=True,
        pixel_format="yuv420p", full_range=False, matrix="", transfer="", primaries="", fields=None,
        rate=Fraction(25), variable=False, frames=int(25 * seconds), first_seconds=0.0, end_seconds=seconds,
        longest_key_interval_seconds=2.0, bits_per_second=1_000_000, holes=(),
    )  # fmt: skip
    audio = Audio(
        index=1, codec="aac", profile="LC", channels=2, sample_rate=48000, language="und", title="", default=True,
        first_seconds=0.0, end_seconds=seconds, bits_per_second=64000,
    )  # fmt: skip
    return Source(container="mov", size_bytes=1000, video=video, audio=(audio,))


class School:
    """Courses, uploads, and workers that do nothing but claim."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.jobs = PostgresJobStore(RetryingEngine(engine), lease_seconds=30.0)
        self.course_id = int(self.scalar("INSERT INTO courses DEFAULT VALUES RETURNING id"))

    def scalar(self, statement: str, **values: object) -> Any:
        with self.engine.begin() as connection:
            return connection.scalar(text(statement), values)

    def open(self, name: str, minutes: int = 0, etag: str = '"1"') -> int:
        at = NOON + timedelta(minutes=minutes)
        return self.jobs.open(
            Upload(course_id=self.course_id, key=f"uploads/{name}", etag=etag, size_bytes=9, uploaded_at=at)
        )

    def plan(self, job_id: int, source: str = "a", seconds: float = 150) -> Plan:
        lease = self.claim(job_id, TaskKind.PLAN)
        self.jobs.started(lease)
        plan = make_plan(make_source(seconds), source * 64, "build", EncodingProfile())
        assert self.jobs.planned(lease, plan, False, show_preview=True)
        return plan

    def claim(self, job_id: int, kind: TaskKind, number: int = 0) -> Lease:
        lease = self.jobs.claim(job_id, kind, number)
        assert lease is not None
        return lease

    def make_all(self, job_id: int) -> None:
        for kind, number in self.jobs.waiting(job_id, (TaskKind.VIDEO, TaskKind.AUDIO, TaskKind.STILLS)):
            assert self.jobs.finish(self.claim(job_id, kind, number), TaskResult({f"{kind}{number}": 1}), 60.0)

    def state(self, job_id: int) -> object:
        return self.scalar("SELECT state FROM transcode_jobs WHERE id = :id", id=job_id)

    def course(self) -> tuple[object, object]:
        with self.engine.connect() as connection:
            row = connection.execute(text("SELECT transcoding_status, video_ref FROM courses")).one()
            return row.transcoding_status, row.video_ref

    def reported(self) -> list[str]:
        with self.engine.connect() as connection:
            found = connection.execute(text("SELECT message->>'actor_name' AS name FROM outbox ORDER BY id"))
            return [row.name.removeprefix("videos.").removesuffix(".v1") for row in found]


@pytest.fixture
def school(database_url: str) -> Iterator[School]:
    engine = build_engine(database_url, pool_size=12)
    yield School(engine)
    engine.dispose()


def test_twenty_workers_that_open_and_claim_at_once_get_one_job_and_one_lease(school: School) -> None:
    with ThreadPoolExecutor(12) as pool:
        opened = set(pool.map(lambda _: school.open("a"), range(20)))
        leases = list(pool.map(lambda _: school.jobs.claim(min(opened), TaskKind.PLAN, 0), range(20)))
    assert len(opened) == 1
    assert len([lease for lease in leases if lease]) == 1


def test_a_part_whose_message_comes_to_a_worker_that_stops_is_due_at_once(school: School) -> None:
    job_id = school.open("a")
    school.plan(job_id)
    unused: Any = None
    terms = WorkerPolicy(recipe=EncodingProfile(), today=lambda: TODAY)
    handlers = MessageHandlers(school.jobs, unused, unused, unused, unused, terms)
    handlers.stopping.set()

    handlers.encode_chunk(job_id, 0)

    part = "SELECT state = 'waiting' AND attempts = 0 AND due_at <= now() FROM transcode_chunks WHERE kind = 'video'"
    assert school.scalar(f"{part} AND number = 0 AND job_id = :id", id=job_id)


def test_the_same_name_with_other_bytes_is_another_upload(school: School) -> None:
    first = school.open("a")
    assert school.open("a", etag='"2"') != first
    assert school.open("a") == first


def test_a_course_that_does_not_exist_has_no_job(school: School) -> None:
    upload = Upload(course_id=school.course_id + 1, key="k", etag="e", size_bytes=1, uploaded_at=NOON)
    with pytest.raises(UnknownCourseError):
        school.jobs.open(upload)


def test_a_newer_upload_ends_the_older_job_and_an_older_one_ends_nothing(school: School) -> None:
    middle = school.open("middle", minutes=5)
    late_news_of_an_older_one = school.open("older", minutes=1)
    assert school.state(middle) == State.QUEUED
    assert school.state(late_news_of_an_older_one) == State.CANCELLED
    newest = school.open("newest", minutes=9)
    assert school.state(middle) == State.CANCELLED
    assert school.state(newest) == State.QUEUED
    assert school.scalar("SELECT reason FROM transcode_jobs WHERE id = :id", id=middle) == SUPERSEDED
    with pytest.raises(UnknownJobError, match="newer upload"):
        school.jobs.retry(middle)


@pytest.mark.parametrize(("shown", "status"), [(None, None), ("hls/7/a/master.m3u8", "completed")])
def test_a_course_does_not_stay_pending_for_an_upload_that_is_outdated(
    school: School, shown: str | None, status: str | None
) -> None:
    # Given a newer upload whose job is over, and an older one that the gateway has marked as pending
    newer = school.open("newer", minutes=5)
    assert school.jobs.cancel(newer)
    pending = "UPDATE courses SET transcoding_status = 'pending', video_ref = :shown WHERE id = :id RETURNING id"
    school.scalar(pending, id=school.course_id, shown=shown)
    failures = "SELECT count(*) FROM events WHERE type = 'lesson.failed' AND key = CAST(:id AS text)"
    known = school.scalar(failures, id=school.course_id)

    # When its job is opened and ends at once
    school.open("older", minutes=1)

    # Then the course has the status of what it shows, and the school gets no event of a failure
    assert school.scalar("SELECT transcoding_status FROM courses WHERE id = :id", id=school.course_id) == status
    assert school.scalar(failures, id=school.course_id) == known


def test_a_job_that_was_superseded_while_it_published_does_not_touch_the_course(school: School) -> None:
    older = school.open("older")
    school.plan(older)
    school.make_all(older)
    publishing = school.claim(older, TaskKind.PUBLISH)

    school.open("newer", minutes=1)

    assert not school.jobs.complete(publishing, "hls/old/master.m3u8", TODAY)
    assert school.course() == ("pending", None)
    assert "ready" not in school.reported()


def test_a_course_moves_from_pending_over_processing_to_completed(school: School) -> None:
    job_id = school.open("a")
    seen = [school.course()]
    school.plan(job_id)
    seen.append(school.course())
    school.make_all(job_id)
    lease = school.claim(job_id, TaskKind.PUBLISH)
    assert school.jobs.complete(lease, "hls/1/k/master.m3u8", TODAY)
    assert school.jobs.complete(lease, "hls/1/k/master.m3u8", TODAY), "an answer that was lost is asked for again"
    seen.append(school.course())
    assert seen == [("pending", None), ("processing", None), ("completed", "hls/1/k/master.m3u8")]
    assert school.reported().count("ready") == 1
    assert school.reported().count("publish") == 1


def test_only_so_many_chunks_are_in_the_queue_at_once(school: School) -> None:
    job_id = school.open("a")
    plan = school.plan(job_id, seconds=3600)
    assert len(plan.chunks) > WINDOW
    assert school.reported().count("encode_chunk") == WINDOW
    school.jobs.finish(school.claim(job_id, TaskKind.VIDEO, 3), TaskResult({}), 60.0)
    assert school.reported().count("encode_chunk") == WINDOW + 1


def test_of_two_last_tasks_that_end_at_once_one_enqueues_publishing(school: School) -> None:
    job_id = school.open("a")
    school.plan(job_id)
    parts = school.jobs.waiting(job_id, (TaskKind.VIDEO, TaskKind.AUDIO, TaskKind.STILLS))
    leases = [school.claim(job_id, kind, number) for kind, number in parts]
    with ThreadPoolExecutor(len(leases)) as pool:
        assert all(pool.map(lambda lease: school.jobs.finish(lease, TaskResult({}), 1.0), leases))
    assert school.reported().count("publish") == 1
    assert school.state(job_id) == State.PUBLISHING


def test_a_lease_that_is_over_can_be_taken_and_its_late_owner_changes_nothing(school: School) -> None:
    job_id = school.open("a")
    school.plan(job_id)
    late = school.claim(job_id, TaskKind.VIDEO, 0)
    assert school.jobs.claim(job_id, TaskKind.VIDEO, 0) is None
    assert school.jobs.beat(late, 1.0)

    school.scalar("UPDATE transcode_chunks SET lease_until = now() - interval '1 second' RETURNING 1")
    owner = school.claim(job_id, TaskKind.VIDEO, 0)

    assert not school.jobs.beat(late, 2.0)
    assert not school.jobs.finish(late, TaskResult({"late": 1}), 60.0)
    school.jobs.release(late, "late", 0.0, counted=True)
    assert school.jobs.beat(owner, 3.0)
    assert school.jobs.finish(owner, TaskResult({"right": 2}), 60.0)
    assert school.jobs.results(job_id)[TaskKind.VIDEO, 0].files == {"right": 2}
    assert school.jobs.claim(job_id, TaskKind.VIDEO, 0) is None


def test_a_cancelled_job_stops_its_workers_and_can_be_tried_again_with_what_it_had(school: School) -> None:
    job_id = school.open("a")
    school.plan(job_id)
    assert school.jobs.finish(school.claim(job_id, TaskKind.VIDEO, 0), TaskResult({"x": 1}), 60.0)
    running = school.claim(job_id, TaskKind.VIDEO, 1)
    assert school.jobs.cancel(job_id)
    assert not school.jobs.beat(running, 1.0)
    assert not school.jobs.cancel(job_id)
    assert school.jobs.claim(job_id, TaskKind.AUDIO, 0) is None
    assert school.course() == ("failed", None)

    school.jobs.retry(job_id)
    school.plan(job_id)
    assert (TaskKind.VIDEO, 0) not in school.jobs.waiting(job_id, (TaskKind.VIDEO,))
    assert (TaskKind.VIDEO, 1) in school.jobs.waiting(job_id, (TaskKind.VIDEO,))
    with pytest.raises(UnknownJobError, match="neither failed"):
        school.jobs.retry(job_id)


def test_the_same_bytes_uploaded_again_take_over_what_was_made(school: School) -> None:
    first = school.open("a")
    school.plan(first)
    school.make_all(first)
    again = school.open("b", minutes=1)
    school.plan(again)
    assert school.jobs.waiting(again, (TaskKind.VIDEO, TaskKind.AUDIO, TaskKind.STILLS)) == []
    assert school.state(again) == State.PUBLISHING


def test_parts_whose_objects_are_gone_are_made_again_before_publishing(school: School) -> None:
    job_id = school.open("a")
    school.plan(job_id)
    school.make_all(job_id)
    school.jobs.requeue(school.claim(job_id, TaskKind.PUBLISH), [(TaskKind.VIDEO, 1)])
    assert school.state(job_id) == State.ENCODING
    assert school.jobs.waiting(job_id, (TaskKind.VIDEO, TaskKind.AUDIO)) == [(TaskKind.VIDEO, 1)]
    school.make_all(job_id)
    assert school.state(job_id) == State.PUBLISHING
    assert school.reported().count("publish") == 2
    assert school.claim(job_id, TaskKind.PUBLISH).attempts == 2, "a store that always loses them is not asked for ever"


def show_preview(school: School, name: str, minutes: int = 0) -> tuple[int, str]:
    """A job whose preview the course shows, and that preview."""
    job_id = school.open(name, minutes=minutes)
    plan = school.plan(job_id, source=name)
    shown = f"hls/{school.course_id}/{plan.key}/first/master.m3u8"
    assert school.jobs.show_preview(school.claim(job_id, TaskKind.FIRST), shown, TaskResult({}))
    assert school.course() == ("processing", shown)
    return job_id, shown


def test_a_preview_stays_when_its_job_fails_and_goes_when_it_is_cancelled(school: School) -> None:
    failed, shown = show_preview(school, "a")
    assert school.jobs.fail(failed, "It is damaged.", "")
    assert school.course() == ("failed", shown)

    cancelled, _ = show_preview(school, "b", minutes=1)
    assert school.jobs.cancel(cancelled)
    assert school.course() == ("failed", None)


def test_a_preview_takes_no_place_of_a_complete_lesson(school: School) -> None:
    school.scalar("UPDATE courses SET video_ref = 'hls/1/whole/master.m3u8' RETURNING 1")
    later = school.open("b", minutes=1)
    school.plan(later, source="b")
    assert school.jobs.claim(later, TaskKind.FIRST, 0) is None


def test_a_failed_job_that_is_tried_again_keeps_its_preview_until_the_lesson_is_complete(school: School) -> None:
    job_id, shown = show_preview(school, "a")
    school.jobs.fail(job_id, "It is damaged.", "")
    school.scalar("UPDATE transcode_jobs SET cleaned_at = now() RETURNING 1")

    school.jobs.retry(job_id)
    school.plan(job_id)
    assert school.course() == ("processing", shown)
    assert school.jobs.claim(job_id, TaskKind.FIRST, 0) is None, "it is there"
    assert (TaskKind.VIDEO, 0) in school.jobs.waiting(job_id, (TaskKind.VIDEO,))
    assert school.scalar("SELECT count(*) FROM transcode_chunks WHERE kind = 'first' AND state = 'done'") == 1


def test_the_damage_of_every_part_and_the_warnings_of_the_lesson_are_kept(school: School) -> None:
    job_id = school.open("a")
    school.plan(job_id)
    damage = Damage(track="picture", spans=((3.0, 3.5),))
    assert school.jobs.finish(school.claim(job_id, TaskKind.VIDEO, 0), TaskResult({"x": 1}, (), [damage]), 60.0)
    school.make_all(job_id)
    assert [list(done.damage) for done in school.jobs.results(job_id).values() if done.damage] == [[damage]]

    warning = LessonWarning(code="damaged_picture", text="The picture is damaged.")
    assert school.jobs.complete(school.claim(job_id, TaskKind.PUBLISH), "hls/1/k/master.m3u8", TODAY, [warning])
    assert school.scalar("SELECT warnings FROM transcode_jobs") == [{"code": warning.code, "text": warning.text}]


def test_a_job_of_a_build_that_is_gone_is_planned_anew_after_long(school: School) -> None:
    job_id = school.open("a")
    school.plan(job_id)
    assert not school.jobs.replan(job_id), "its own workers may come back"
    school.scalar("UPDATE transcode_jobs SET planned_at = now() - interval '1 hour' RETURNING 1")
    school.scalar("UPDATE transcode_chunks SET finished_at = now() - interval '1 hour' RETURNING 1")
    assert school.jobs.replan(job_id)
    assert school.state(job_id) == State.QUEUED
    assert school.jobs.claim(job_id, TaskKind.VIDEO, 0) is None
    school.plan(job_id)


def test_a_job_whose_decoder_wrote_control_characters_fails_and_is_listed(
    school: School, database_url: str, tmp_path: Path
) -> None:
    # Given a decoder that a film has taken over, which writes NUL and escapes
    decoder = tmp_path / "ffmpeg"
    decoder.write_text("#!/bin/sh\nprintf 'Invalid data found \\000 \\033[2J' >&2\nexit 1\n")
    decoder.chmod(0o700)
    job_id = school.open("a")

    # When its job fails
    with pytest.raises(RejectedInputError) as rejected:
        Ffmpeg(str(decoder)).encode([], tmp_path)
    assert school.jobs.fail(job_id, str(rejected.value), rejected.value.detail)

    # Then PostgreSQL has stored it, without them
    detail = "SELECT detail FROM transcode_jobs WHERE id = :id"
    assert school.scalar(detail, id=job_id) == "Invalid data found  [2J"

    # And what an older worker stored is written as escapes
    school.scalar("UPDATE transcode_jobs SET detail = :detail RETURNING id", detail="\x1b[2J\x9bowned")
    listed = CliRunner().invoke(main, ["transcoder", "jobs"], env={"NOUBA_DATABASE_URL": database_url})
    assert listed.exit_code == 0, listed.output
    assert r"\x1b[2J\x9bowned" in listed.output
    assert not {"\x1b", "\x9b"} & set(listed.output)
