"""Metrics of the backlog, exported by every worker."""

from sqlalchemy import Engine, func, select

from services.transcoder.metrics import OLDEST_JOB_AGE_SECONDS, OPEN_JOBS, PENDING_TASKS
from shared.schema.tables import transcode_chunks as chunks
from shared.schema.tables import transcode_jobs as jobs


def measure_backlog(engine: Engine) -> None:
    """Count the jobs that are not over, and their tasks that nobody works on."""
    age = func.extract("epoch", func.now() - func.min(jobs.c.created_at))
    open_jobs = select(func.count(), func.coalesce(age, 0)).where(jobs.c.finished_at.is_(None))
    waiting = (
        select(func.count())
        .select_from(chunks.join(jobs, jobs.c.id == chunks.c.job_id))
        .where(chunks.c.state == "waiting", jobs.c.finished_at.is_(None))
    )
    with engine.connect() as connection:
        count, age_seconds = connection.execute(open_jobs).one()
        PENDING_TASKS.set(connection.scalar(waiting) or 0)
    OPEN_JOBS.set(count)
    OLDEST_JOB_AGE_SECONDS.set(max(0.0, float(age_seconds)))
