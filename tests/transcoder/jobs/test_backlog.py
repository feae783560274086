"""Metrics of lessons that wait."""

from services.transcoder.jobs.backlog import measure_backlog
from services.transcoder.jobs.model import TaskKind
from services.transcoder.metrics import OLDEST_JOB_AGE_SECONDS, OPEN_JOBS, PENDING_TASKS
from tests.transcoder.jobs.test_postgres_jobs import School
from tests.transcoder.jobs.test_postgres_jobs import school as school  # a fixture


def reported(school: School) -> tuple[float, float]:
    measure_backlog(school.engine)
    return OPEN_JOBS._value.get(), PENDING_TASKS._value.get()


def test_without_jobs_nothing_waits(school: School) -> None:
    assert reported(school) == (0, 0)
    assert OLDEST_JOB_AGE_SECONDS._value.get() == 0


def test_a_lesson_is_open_until_it_is_whole_and_its_parts_wait_until_somebody_takes_them(school: School) -> None:
    # Given a lesson that was uploaded an hour ago
    job_id = school.open("a")
    school.scalar("UPDATE transcode_jobs SET created_at = now() - interval '1 hour' RETURNING id")

    # Then its plan waits, and after the plan its parts
    assert reported(school) == (1, 1)
    assert 3600 <= OLDEST_JOB_AGE_SECONDS._value.get() < 3700
    school.plan(job_id)
    waiting = reported(school)[1]
    assert waiting > 1

    # And who takes one leaves one less
    school.claim(job_id, TaskKind.AUDIO)
    assert reported(school) == (1, waiting - 1)

    # And a lesson that is over is not open
    school.scalar("UPDATE transcode_jobs SET finished_at = now(), state = 'failed' RETURNING id")
    assert reported(school) == (0, 0)
