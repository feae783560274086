"""A message may come ten times, at once or late: there is one job, one encode of each part, and one publish."""

from pathlib import Path

from services.transcoder.jobs.model import State
from shared.contracts.videos import EncodeAudio, EncodeChunk, PublishLesson, TranscodeVideo
from tests.transcoder.jobs.harness import Bench, Files
from tests.waiting import wait_until

COPIES = 10


def test_ten_copies_of_each_message_at_once_are_one_encode_and_one_publish(
    bench: Bench, film: Path, alone: Files
) -> None:
    course_id, key = bench.submit(film)
    bench.report(*[TranscodeVideo(course_id=course_id, source_key=key)] * COPIES)

    with bench.worker(), bench.worker():
        bench.wait(lambda: bench.job(course_id), "there is no job")
        job_id = bench.scalar("SELECT id FROM transcode_jobs")
        parts = [EncodeChunk(job_id=job_id, chunk=number) for number in range(4)]
        bench.report(*[EncodeAudio(job_id=job_id), PublishLesson(job_id=job_id), *parts] * COPIES)
        bench.wait_for(course_id)
        bench.report(
            *[PublishLesson(job_id=job_id), *parts] * COPIES, TranscodeVideo(course_id=course_id, source_key=key)
        )
        bench.wait_until_quiet(60)

    assert bench.lesson(course_id) == alone
    assert bench.scalar("SELECT count(*) FROM transcode_jobs") == 1
    assert bench.rows("SELECT kind, number, attempts FROM transcode_chunks WHERE attempts <> 1") == []
    wait_until(lambda: bench.depths().get("default") == 1, message="the statistics are not notified once")
    assert bench.depths().get("videos.XQ", 0) == bench.scalar("SELECT count(*) FROM dead_letters") == 0


def test_a_task_whose_message_was_lost_is_enqueued_again(bench: Bench, short_film: Path) -> None:
    course_id, _ = bench.submit(short_film)
    with bench.worker("transcoder.after_finish=kill*1") as worker:
        worker.wait(30)
    assert bench.scalar("SELECT state FROM transcode_jobs") == State.ENCODING

    # RabbitMQ's disk is lost, and the time passes after which leases are over and parts are enqueued again
    with bench.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM outbox")
        connection.exec_driver_sql(
            "UPDATE transcode_chunks SET due_at = now(), lease_until = least(lease_until, now())"
            " WHERE due_at < 'infinity'"
        )
    with bench.worker():
        bench.wait_for(course_id)
