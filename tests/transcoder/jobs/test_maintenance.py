"""What no lesson needs goes from S3, after its grace and not before; what one needs stays."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from local.s3 import S3
from services.transcoder.errors import ObjectStoreUnavailableError
from services.transcoder.jobs.maintenance import Maintenance
from services.transcoder.jobs.model import TaskKind, TaskResult
from services.transcoder.jobs.scratch import ScratchSpace
from services.transcoder.storage.s3 import Storage
from tests.transcoder.jobs.harness import BUCKET
from tests.transcoder.jobs.test_postgres_jobs import TODAY, School, show_preview
from tests.transcoder.jobs.test_postgres_jobs import school as school  # a fixture

WEEK = timedelta(days=7)


@pytest.fixture
def storage(s3_keys: S3) -> Storage:
    storage = Storage(BUCKET, s3_keys.url)
    storage.remove("")
    return storage


@pytest.fixture
def sweep_with(
    school: School, storage: Storage, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[timedelta], Maintenance]:
    scratch = ScratchSpace(tmp_path_factory.mktemp("scratch"))
    return lambda grace: Maintenance(school.engine, storage, scratch, orphan_age=grace, upload_age=WEEK)


def publish(school: School, storage: Storage, name: str, minutes: int) -> str:
    """A lesson with one segment; its prefix."""
    job_id = school.open(name, minutes=minutes)
    plan = school.plan(job_id, source=name)
    prefix = f"hls/{school.course_id}/{plan.key}/"
    storage.put(prefix + "240p/00000.m4s", b"segment")
    school.make_all(job_id)
    assert school.jobs.complete(school.claim(job_id, TaskKind.PUBLISH), prefix + "master.m3u8", TODAY)
    return prefix


def test_a_lesson_that_was_replaced_goes_after_its_grace(
    school: School, storage: Storage, sweep_with: Callable[[timedelta], Maintenance]
) -> None:
    old = publish(school, storage, "a", 0)
    new = publish(school, storage, "b", 1)

    assert sweep_with(WEEK).remove_orphans() == 0
    assert sweep_with(timedelta(0)).remove_orphans() == 1
    assert storage.list(old) == {}
    assert list(storage.list(new)) == [new + "240p/00000.m4s"]
    assert sweep_with(timedelta(0)).remove_orphans() == 0


def test_what_was_shown_first_goes_after_its_grace_and_the_lesson_stays(
    school: School, storage: Storage, sweep_with: Callable[[timedelta], Maintenance]
) -> None:
    prefix = publish(school, storage, "a", 0)
    storage.put(prefix + "first/source/00000.m4s", b"segment")
    assert sweep_with(WEEK).remove_orphans() == 0
    assert sweep_with(timedelta(0)).remove_orphans() == 1
    assert list(storage.list(prefix)) == [prefix + "240p/00000.m4s"]


def test_objects_that_no_job_knows_go_after_their_grace(
    storage: Storage, sweep_with: Callable[[timedelta], Maintenance]
) -> None:
    storage.put("hls/77/unknown/240p/00000.m4s", b"segment")
    assert sweep_with(WEEK).remove_orphans() == 0
    assert sweep_with(timedelta(0)).remove_orphans() == 1


def test_objects_of_a_job_at_work_stay_whatever_their_age(
    school: School, storage: Storage, sweep_with: Callable[[timedelta], Maintenance]
) -> None:
    plan = school.plan(school.open("a"))
    storage.put(f"hls/{school.course_id}/{plan.key}/240p/00000.m4s", b"segment")
    assert sweep_with(timedelta(0)).remove_orphans() == 0


def test_a_cancelled_job_is_cleaned_up_once_nobody_works_on_it(
    school: School, storage: Storage, sweep_with: Callable[[timedelta], Maintenance]
) -> None:
    job_id = school.open("a")
    plan = school.plan(job_id)
    storage.put(f"hls/{school.course_id}/{plan.key}/240p/00000.m4s", b"segment")
    lease = school.claim(job_id, TaskKind.VIDEO)
    school.jobs.cancel(job_id)
    assert sweep_with(WEEK).clean_one() == 0, "its worker has not seen it yet"
    school.jobs.release(lease, "stopped", 0.0, counted=False)
    assert sweep_with(WEEK).clean_one() == 1
    assert storage.list("hls/") == {}
    assert sweep_with(WEEK).clean_one() == 0


class Stubborn(Storage):
    """S3 that refuses to remove what is below `locked`, as a locked object does."""

    locked = "nothing"

    def remove(self, prefix: str, *, kept: str | None = None) -> int:
        if prefix.startswith(self.locked):
            raise ObjectStoreUnavailableError("S3 refused: AccessDenied")
        return super().remove(prefix, kept=kept)


def test_a_folder_that_cannot_be_removed_keeps_no_other(
    school: School, storage: Storage, s3_keys: S3, tmp_path: Path
) -> None:
    # Given two jobs that were cancelled, the older with a folder that S3 does not remove, and such an orphan
    prefixes = []
    for number, name in enumerate("ab"):
        job_id = school.open(name, minutes=number)
        prefixes.append(f"hls/{school.course_id}/{school.plan(job_id, source=name).key}/")
        storage.put(prefixes[-1] + "240p/00000.m4s", b"segment")
        school.jobs.cancel(job_id)
    stubborn = Stubborn(BUCKET, s3_keys.url)
    stubborn.locked = prefixes[0]
    sweep = Maintenance(school.engine, stubborn, ScratchSpace(tmp_path), orphan_age=timedelta(0), upload_age=WEEK)

    # When they are cleaned, then the younger is, and the older is put off
    with pytest.raises(ObjectStoreUnavailableError):
        sweep.clean_one()
    assert sweep.clean_one() == 1
    assert sweep.clean_one() == 0
    assert list(storage.list("hls/")) == [prefixes[0] + "240p/00000.m4s"]

    # And orphans: those behind it go, and the failure is reported
    storage.put("hls/77/unknown/240p/00000.m4s", b"segment")
    stubborn.locked = "hls/76/"
    storage.put("hls/76/unknown/240p/00000.m4s", b"segment")
    with pytest.raises(ObjectStoreUnavailableError):
        sweep.remove_orphans()
    assert list(storage.list("hls/7")) == ["hls/76/unknown/240p/00000.m4s"]


def test_of_a_failed_job_the_preview_stays_that_its_course_shows(
    school: School, storage: Storage, sweep_with: Callable[[timedelta], Maintenance]
) -> None:
    job_id, shown = show_preview(school, "a")
    prefix = shown.removesuffix("first/master.m3u8")
    for name in ("first/master.m3u8", "240p/00000.m4s", "poster.jpg"):
        storage.put(prefix + name, b"object")
    school.jobs.fail(job_id, "It is damaged.", "")

    assert sweep_with(WEEK).clean_one() == 2
    assert list(storage.list("hls/")) == [shown]
    assert sweep_with(timedelta(0)).remove_orphans() == 0

    publish(school, storage, "b", 1)
    assert sweep_with(timedelta(0)).remove_orphans() == 1
    assert shown not in storage.list("hls/")


def test_what_a_job_left_is_kept_for_another_that_makes_the_same(
    school: School, storage: Storage, sweep_with: Callable[[timedelta], Maintenance]
) -> None:
    first = school.open("a")
    plan = school.plan(first)
    storage.put(f"hls/{school.course_id}/{plan.key}/240p/00000.m4s", b"segment")
    assert school.jobs.finish(school.claim(first, TaskKind.VIDEO), TaskResult({"240p/00000.m4s": 7}), 60.0)
    second = school.open("the same again", minutes=1)
    assert sweep_with(WEEK).clean_one() == 0, "nobody knows yet what the second is"
    school.plan(second)
    assert sweep_with(WEEK).clean_one() == 0
    assert len(storage.list("hls/")) == 1
    assert (TaskKind.VIDEO, 0) not in school.jobs.waiting(second, (TaskKind.VIDEO,))


def test_tasks_that_are_due_are_enqueued_once(school: School, sweep_with: Callable[[timedelta], Maintenance]) -> None:
    job_id = school.open("a")
    school.plan(job_id)
    sweep, before = sweep_with(WEEK), len(school.reported())
    assert sweep.release_due() == 0
    school.scalar("UPDATE transcode_chunks SET due_at = now() WHERE kind IN ('audio', 'stills') RETURNING 1")
    assert sweep.release_due() == 1, "one message is for both"
    assert sweep.release_due() == 0
    assert school.reported()[before:] == ["encode_audio"]

    school.scalar("UPDATE transcode_chunks SET due_at = now() WHERE kind IN ('audio', 'stills') RETURNING 1")
    school.scalar(
        "INSERT INTO outbox (service, message, created_at) "
        """VALUES ('transcoder', '{"queue_name": "default"}', now() - interval '11 s') RETURNING 1"""
    )
    assert sweep.release_due() == 1, "an old message for another queue stops nothing"

    school.jobs.cancel(job_id)
    school.scalar("UPDATE transcode_chunks SET due_at = now() RETURNING 1")
    assert sweep.release_due() == 0, "a job that is over has nothing due"


def test_an_upload_goes_when_its_retention_is_over_and_no_job_needs_it(
    school: School, storage: Storage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Given uploads of two finished jobs and of one that is at work, the first finished a month ago
    finished, other, running = (school.open(f"{name}.mp4", minutes=number) for number, name in enumerate("abc"))
    # a name that begins as another one is another upload
    storage.put("uploads/a.mp4.vtt", b"WEBVTT")
    for name in "abc":
        storage.client.put_object(Bucket=BUCKET, Key=f"uploads/{name}.mp4", Body=b"film")
    with school.engine.begin() as connection:
        for job_id, age in ((finished, "31 days"), (other, "1 day")):
            connection.exec_driver_sql(
                "UPDATE transcode_jobs SET state = 'completed', finished_at = now() - %s::interval WHERE id = %s",
                (age, job_id),
            )
        connection.exec_driver_sql(
            "UPDATE transcode_jobs SET state = 'queued', finished_at = NULL WHERE id = %s", (running,)
        )
    scratch = ScratchSpace(tmp_path_factory.mktemp("scratch"))

    def sweep(retention: timedelta | None) -> Maintenance:
        return Maintenance(
            school.engine, storage, scratch, orphan_age=WEEK, upload_age=WEEK, upload_retention=retention
        )

    # When it is swept: without a retention, and with one of 30 days, twice
    assert sweep(None).remove_sources() == 0
    assert sweep(timedelta(days=30)).remove_sources() == 1
    assert sweep(timedelta(days=30)).remove_sources() == 0

    # Then that upload is gone, and the others are there
    assert sorted(storage.list("uploads/")) == ["uploads/a.mp4.vtt", "uploads/b.mp4", "uploads/c.mp4"]
    with school.engine.connect() as connection:
        removed = connection.exec_driver_sql(
            "SELECT id FROM transcode_jobs WHERE source_removed_at IS NOT NULL"
        ).scalars()
        assert list(removed) == [finished]
