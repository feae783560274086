"""Status and progress of jobs, for terminals and programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, case, func, select

from services.transcoder.hls.playlists import MASTER_NAME
from services.transcoder.jobs.model import State, TaskKind, prefix_of
from shared.runtime.database import RetryingEngine
from shared.schema.tables import transcode_chunks as chunks
from shared.schema.tables import transcode_jobs as jobs

#: Checking the upload, and publishing, are the rest of the way.
_ENCODING_SHARE = 0.96


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """One job. `speed` is seconds of the lesson made in one second, `seconds_left` None where nobody can say."""

    id: int
    course_id: int
    source_key: str
    state: State
    reason: str | None
    #: What a completed lesson lacks: `code` for programs, `text` for the teacher.
    warnings: tuple[dict[str, str], ...]
    detail: str | None
    fault: str | None
    percent: float
    chunks: int
    chunks_done: int
    speed: float | None
    seconds_left: float | None
    duration_seconds: float | None
    master: str | None
    created_at: datetime
    first_shown_at: datetime | None
    finished_at: datetime | None

    @property
    def over(self) -> bool:
        return self.finished_at is not None

    def as_json(self) -> dict[str, Any]:
        """The same, as JSON can carry it."""
        plain = asdict(self)
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in plain.items()}


def read_statuses(
    database: RetryingEngine, *, job_ids: Sequence[int] = (), source_key: str | None = None, limit: int = 50
) -> list[JobStatus]:
    """The newest jobs first."""
    video = chunks.c.kind == TaskKind.VIDEO
    audio = chunks.c.kind == TaskKind.AUDIO
    made = func.coalesce(
        func.sum(chunks.c.done_seconds).filter(video), func.avg(chunks.c.done_seconds).filter(audio), 0.0
    )
    ended_at = func.coalesce(jobs.c.finished_at, func.now())
    query = (
        select(
            *jobs.c["id", "course_id", "source_key", "state", "reason", "detail", "content_key", "duration_seconds"],
            *jobs.c["warnings", "created_at", "first_shown_at", "finished_at"],
            made.label("made_seconds"),
            func.extract("epoch", ended_at - jobs.c.planned_at).label("worked_seconds"),
            func.count().filter(video).label("chunks"),
            func.count().filter(video, chunks.c.state == "done").label("chunks_done"),
            func.max(case((chunks.c.state != "done", chunks.c.error))).label("fault"),
        )
        .outerjoin(chunks, chunks.c.job_id == jobs.c.id)
        .group_by(jobs.c.id)
        .order_by(jobs.c.id.desc())
        .limit(limit)
    )
    if job_ids:
        query = query.where(jobs.c.id.in_(job_ids))
    if source_key is not None:
        query = query.where(jobs.c.source_key == source_key)
    rows = database.run(lambda connection: connection.execute(query).all())
    return [_job_status(row) for row in rows]


def _job_status(row: Row[*tuple[Any, ...]]) -> JobStatus:
    state = State(row.state)
    made, whole = float(row.made_seconds), row.duration_seconds
    worked = float(row.worked_seconds or 0)
    speed = made / worked if worked > 0 and made > 0 else None
    share = min(1.0, made / whole) if whole else 0.0
    left = (whole - made) / speed if speed and whole and row.finished_at is None else None
    completed = state is State.COMPLETED
    return JobStatus(
        id=row.id,
        course_id=row.course_id,
        source_key=row.source_key,
        state=state,
        reason=row.reason,
        warnings=tuple(row.warnings or ()),
        detail=row.detail,
        fault=row.fault,
        percent=100.0 if completed else round(100 * (0.02 + _ENCODING_SHARE * share) if whole else 0.0, 1),
        chunks=row.chunks,
        chunks_done=row.chunks_done,
        speed=None if speed is None else round(speed, 2),
        seconds_left=None if left is None else round(max(0.0, left), 1),
        duration_seconds=whole,
        master=prefix_of(row.course_id, row.content_key) + MASTER_NAME if completed else None,
        created_at=row.created_at,
        first_shown_at=row.first_shown_at,
        finished_at=row.finished_at,
    )
