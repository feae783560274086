"""Whatever is killed, fails or restarts while a lesson is made, its bytes are the same in the end.

KILLS=30 in the environment kills more workers than the default run does.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from local.postgres import Postgres
from local.s3 import S3
from tests.transcoder.jobs.flaky_s3 import FlakyS3
from tests.transcoder.jobs.harness import Bench, Files
from tests.waiting import wait_until

SHORT_LEASE = {"NOUBA_TRANSCODER_LEASE_SECONDS": "1.5", "NOUBA_TRANSCODER_MAX_ATTEMPTS": "100"}


@pytest.mark.slow
def test_workers_killed_at_random_instants_leave_the_same_lesson(bench: Bench, film: Path, alone: Files) -> None:
    kills, dice = int(os.environ.get("KILLS", "8")), random.Random(11)
    course_id, _ = bench.submit(film)
    # slowed down, and not let to the end, so that there is something to kill
    slow = "transcoder.after_encode=delay:1.5;transcoder.before_publish=delay:3600"
    with ExitStack() as all_of_them:

        def start(failpoints: str) -> "subprocess.Popen[bytes]":
            return all_of_them.enter_context(bench.worker(failpoints, **SHORT_LEASE))

        workers = [start(slow), start(slow)]
        for _ in range(kills):
            time.sleep(dice.uniform(0.4, 2.4))
            victim = dice.randrange(len(workers))
            workers[victim].kill()
            workers[victim] = start(slow)
        for worker in workers:
            worker.kill()
        start("")
        bench.wait_for(course_id, timeout_seconds=120)
        bench.wait_until_quiet()

    assert bench.lesson(course_id) == alone
    wait_until(lambda: bench.depths().get("default") == 1, message="the statistics are not notified once")


def test_a_worker_that_is_stopped_gives_its_task_back_at_once(bench: Bench, film: Path, alone: Files) -> None:
    course_id, _ = bench.submit(film)
    with bench.worker(NOUBA_TRANSCODER_LEASE_SECONDS="600") as worker:
        bench.wait(lambda: bench.scalar("SELECT id FROM transcode_chunks WHERE state = 'running'"), "nothing runs")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0

    with bench.worker():
        bench.wait_for(course_id)
    assert bench.lesson(course_id) == alone


@pytest.mark.slow
def test_a_job_that_was_begun_with_a_build_of_ffmpeg_that_is_gone_is_made_anew(
    bench: Bench, film: Path, alone: Files
) -> None:
    course_id, _ = bench.submit(film)
    with bench.worker("transcoder.after_first=kill*1") as worker:
        assert worker.wait(60) == -signal.SIGKILL
    with bench.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE transcode_jobs SET plan = jsonb_set(plan, '{encoder}', '\"gone\"'),"
            " planned_at = now() - interval '1 hour'"
        )
        connection.exec_driver_sql(
            "UPDATE transcode_chunks SET finished_at = now() - interval '1 hour', lease_until = now()"
        )

    with bench.worker():
        bench.wait_for(course_id)
    assert bench.lesson(course_id) == alone


@pytest.mark.slow
def test_s3_that_fails_and_a_database_that_restarts_change_nothing(
    own_postgres: Postgres,
    rabbitmq_url: str,
    s3_keys: S3,
    queue_depths: Callable[[str], dict[str, int]],
    tmp_path: Path,
    film: Path,
    alone: Files,
) -> None:
    folder = tmp_path / "bench"
    folder.mkdir()
    with FlakyS3(s3_keys.url, share=0.05) as flaky:
        bench = Bench(own_postgres.url, rabbitmq_url, s3_keys.url, folder, partial(queue_depths, rabbitmq_url))
        bench.environment["NOUBA_S3_ENDPOINT_URL"] = flaky.url
        course_id, _ = bench.submit(film)

        with bench.worker(), bench.worker():
            bench.wait(lambda: bench.scalar("SELECT id FROM transcode_chunks WHERE state = 'running'"), "nothing runs")
            own_postgres.kill()
            own_postgres.start()
            bench.wait_for(course_id, timeout_seconds=120)

        assert sum(flaky.spoilt.values()) >= 3, "too few requests failed to prove anything"
        assert bench.lesson(course_id) == alone
        bench.storage.remove("")
        bench.engine.dispose()
