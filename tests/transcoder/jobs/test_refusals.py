"""What can become no lesson fails with a sentence, and leaves nothing behind."""

from pathlib import Path

import pytest

from services.transcoder.jobs.handlers import GONE, MAX_WRONG_OUTPUTS, WRONG_OUTPUT
from services.transcoder.jobs.model import State
from shared.contracts.videos import TranscodeVideo
from tests.transcoder.jobs.harness import Bench, make_film

BODIES = {
    "text": b"not a video\n" * 100,
    "a playlist": b"#EXTM3U\n#EXTINF:6,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
    "nothing": b"",
}


def assert_nothing_left(bench: Bench, course_id: int) -> None:
    bench.wait(lambda: not bench.left_in_scratch(), "scratch space is not empty")
    bench.wait(lambda: not bench.storage.list(f"hls/{course_id}/"), "objects are left in S3")


def test_bodies_that_are_no_video_fail_with_a_sentence_and_leave_nothing(bench: Bench, tmp_path: Path) -> None:
    courses = {}
    for name, body in BODIES.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(body)
        courses[name], _ = bench.submit(path)

    with bench.worker():
        for course_id in courses.values():
            job = bench.wait_for(course_id, State.FAILED)
            assert job.reason
            assert job.reason.endswith(".")
            assert "upload" in job.reason
            assert bench.course(course_id) == ("failed", None)
            assert_nothing_left(bench, course_id)
        bench.wait_until_quiet()

    assert bench.scalar("SELECT max(attempts) FROM transcode_chunks") == 1, "trying again could not help"
    assert bench.scalar("SELECT count(*) FROM transcode_chunks WHERE kind <> 'plan'") == 0
    assert "default" not in bench.depths()


def test_a_film_that_is_damaged_all_over_fails_and_what_was_made_of_it_goes(bench: Bench, tmp_path: Path) -> None:
    # no browser plays MPEG-4 as it is, and its first chunk does not decode: nothing is shown before the job fails
    film = make_film(tmp_path / "film.mp4", codec="mpeg4")
    data = bytearray(film.read_bytes())
    # the index says that all is there
    first, end = len(data) // 20, len(data) * 4 // 5
    data[first:end] = bytes(byte ^ 0x55 for byte in data[first:end])
    film.write_bytes(data)
    course_id, _ = bench.submit(film)

    with bench.worker():
        job = bench.wait_for(course_id, State.FAILED)
        assert_nothing_left(bench, course_id)

    assert job.reason
    assert "damaged" in job.reason
    assert bench.course(course_id) == ("failed", None)


@pytest.mark.slow
def test_what_is_not_what_was_planned_is_made_a_few_times_and_then_reported_to_the_teacher(
    bench: Bench, short_film: Path
) -> None:
    course_id, _ = bench.submit(short_film)
    # no chunk is finished beside the preview, which the lesson's failure would otherwise overtake
    with bench.worker("transcoder.after_encode=delay:300"):
        bench.wait(lambda: bench.course(course_id)[1], "no preview is shown", timeout_seconds=60)
    # as if the header had announced more than there is: every encode comes out alike
    with bench.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE transcode_jobs SET plan = jsonb_set(plan, '{frames}', '501')")

    with bench.worker(NOUBA_TRANSCODER_MAX_ATTEMPTS="100"):
        job = bench.wait_for(course_id, State.FAILED, timeout_seconds=120)
        bench.wait(lambda: bench.scalar("SELECT cleaned_at FROM transcode_jobs"), "the job is not cleaned")
        bench.wait(lambda: not bench.left_in_scratch(), "scratch space is not empty")

    assert job.reason == WRONG_OUTPUT
    assert job.detail
    assert "501 were planned" in job.detail
    assert bench.scalar("SELECT max(attempts) FROM transcode_chunks WHERE kind = 'publish'") == MAX_WRONG_OUTPUTS
    # its preview was shown, and stays
    status, shown = bench.course(course_id)
    assert (status, str(shown).endswith("/first/master.m3u8")) == ("failed", True)
    assert all("/first/" in key for key in bench.storage.list(f"hls/{course_id}/"))


def test_an_upload_that_is_not_there_fails_its_course(bench: Bench) -> None:
    course_id = bench.add_course()
    with bench.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE courses SET transcoding_status = 'pending'")
    bench.report(TranscodeVideo(course_id=course_id, source_key="uploads/1/nothing"))

    with bench.worker():
        bench.wait(lambda: bench.course(course_id)[0] == "failed", "the course is not failed")
    assert bench.job(course_id) is None


def test_an_upload_that_goes_while_it_is_encoded_fails_its_job(bench: Bench, short_film: Path) -> None:
    course_id, key = bench.submit(short_film)
    with bench.worker("transcoder.before_plan_commit=kill*1") as worker:
        worker.wait(30)
    bench.storage.remove(key)

    with bench.worker():
        job = bench.wait_for(course_id, State.FAILED)
    assert job.reason == GONE


def test_a_message_for_a_course_that_does_not_exist_is_dead_at_once(bench: Bench, tmp_path: Path) -> None:
    course_id = bench.add_course()
    path = tmp_path / "file"
    path.write_bytes(b"anything")
    _, key = bench.submit(path, course_id)
    with bench.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM outbox")
    bench.report(TranscodeVideo(course_id=course_id + 1, source_key=key))

    with bench.worker():
        dead = "SELECT count(*) FROM dead_letters WHERE queue = 'videos' AND cause = 'permanent'"
        bench.wait(lambda: bench.scalar(dead) == 1, "the message is not dead")
    assert bench.scalar("SELECT count(*) FROM transcode_jobs") == 0


@pytest.mark.parametrize("attempts", [2])
def test_a_fault_of_our_own_is_tried_again_and_then_reported(bench: Bench, short_film: Path, attempts: int) -> None:
    course_id, _ = bench.submit(short_film)
    with bench.worker("transcoder.after_encode=raise", NOUBA_TRANSCODER_MAX_ATTEMPTS=str(attempts)):
        job = bench.wait_for(course_id, State.FAILED)
    assert job.reason
    assert "our side" in job.reason
    assert job.detail
    assert "FailpointError" in job.detail
    assert bench.scalar("SELECT max(attempts) FROM transcode_chunks WHERE kind = 'video'") == attempts
