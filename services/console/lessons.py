"""Transcoding jobs for the console, read from the transcoder's tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, text

_LESSONS = text("""
SELECT job.id, job.course_id, job.state, job.reason, job.detail, job.duration_seconds, job.source_bytes,
    job.created_at, job.planned_at, job.first_shown_at, job.finished_at, job.warnings,
    coalesce(sum(part.done_seconds) FILTER (WHERE part.kind = 'video'),
             avg(part.done_seconds) FILTER (WHERE part.kind = 'audio'), 0) AS made_seconds,
    count(*) FILTER (WHERE part.kind = 'video') AS chunks,
    count(*) FILTER (WHERE part.kind = 'video' AND part.state = 'done') AS chunks_done,
    count(*) FILTER (WHERE part.state = 'running' AND part.lease_until > now()) AS in_work,
    coalesce(sum(part.attempts), 0) AS attempts,
    max(part.error) FILTER (WHERE part.state <> 'done') AS fault,
    extract(epoch FROM coalesce(job.finished_at, now()) - job.planned_at) AS worked_seconds
FROM (SELECT * FROM transcode_jobs WHERE CAST(:state AS text) IS NULL OR state = :state
      ORDER BY id DESC LIMIT :limit) AS job
LEFT JOIN transcode_chunks AS part ON part.job_id = job.id
GROUP BY job.id, job.course_id, job.state, job.reason, job.detail, job.duration_seconds, job.source_bytes,
    job.created_at, job.planned_at, job.first_shown_at, job.finished_at, job.warnings
ORDER BY job.id DESC
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One job. `speed` is seconds of the lesson made in one second."""

    id: int
    course_id: int
    state: str
    reason: str | None
    warnings: Sequence[dict[str, str]]
    detail: str | None
    fault: str | None
    duration_seconds: float | None
    source_bytes: int
    made_seconds: float
    worked_seconds: float | None
    chunks: int
    chunks_done: int
    in_work: int
    attempts: int
    created_at: datetime
    planned_at: datetime | None
    first_shown_at: datetime | None
    finished_at: datetime | None

    @property
    def percent(self) -> float:
        if self.state == "completed":
            return 100.0
        return min(99.0, 100 * self.made_seconds / self.duration_seconds) if self.duration_seconds else 0.0

    @property
    def speed(self) -> float | None:
        return self.made_seconds / self.worked_seconds if self.worked_seconds and self.made_seconds else None

    @property
    def left(self) -> timedelta | None:
        if self.finished_at or not (self.speed and self.duration_seconds):
            return None
        return timedelta(seconds=max(0.0, self.duration_seconds - self.made_seconds) / self.speed)


def read_lessons(engine: Engine, *, state: str | None = None, limit: int = 50) -> Sequence[Lesson]:
    """The newest first."""
    with engine.connect() as connection:
        return [_lesson(dict(row)) for row in connection.execute(_LESSONS, {"state": state, "limit": limit}).mappings()]


def _lesson(row: dict[str, object]) -> Lesson:
    worked = row.pop("worked_seconds")
    row["warnings"] = row["warnings"] or ()
    return Lesson(**row, worked_seconds=None if worked is None else float(str(worked)))  # type: ignore[arg-type]
