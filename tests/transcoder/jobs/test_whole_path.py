"""From an upload to a published lesson, with all servers and more than one worker."""

from pathlib import Path

from tests.transcoder.jobs.bench import Bench, Files


def test_two_workers_make_the_same_bytes_as_one_process_without_a_server(
    bench: Bench, film: Path, alone: Files
) -> None:
    course_id, _ = bench.submit(film)

    with bench.worker(), bench.worker():
        job = bench.wait_for(course_id)
        bench.wait_until_quiet()

    assert bench.course(course_id) == ("completed", job.master)
    assert bench.lesson(course_id) == alone
    assert job.chunks == job.chunks_done == 4
    assert bench.depths()["default"] == 1, "the statistics are told once"
    assert bench.scalar("SELECT max(attempts) FROM transcode_chunks") == 1
