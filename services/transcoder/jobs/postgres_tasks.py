"""Tasks in PostgreSQL: leases and results."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.transcoder.hls.captions import Captions
from services.transcoder.jobs.model import (
    MADE,
    PREVIEW_FOLDER,
    ROOT,
    STATE_OF,
    Job,
    Lease,
    State,
    TaskKind,
    TaskResult,
)
from services.transcoder.planning.damage import dump_damage, load_damage
from services.transcoder.planning.plan import Plan
from shared.contracts.message import Message
from shared.contracts.routes import TRANSCODER
from shared.contracts.videos import EncodeAudio, EncodeChunk, PublishLesson, TranscodeVideo
from shared.messaging import outbox
from shared.runtime.database import RetryingEngine
from shared.runtime.failpoints import failpoint
from shared.schema.tables import courses
from shared.schema.tables import transcode_chunks as chunks
from shared.schema.tables import transcode_jobs as jobs

#: When a task is enqueued again that nobody has touched: its message was lost, or stands behind many others.
REANNOUNCE_AFTER = timedelta(minutes=5)
#: Chunks of one job that are in the queue at once: enough for every worker, few enough that the next upload's
#: message is not behind an hour of work.
WINDOW = 8
#: A complete lesson, however old, stays until the next one is complete. A preview gives way to the next preview.
SHOWS_NO_LESSON = or_(courses.c.video_ref.is_(None), courses.c.video_ref.like(f"{ROOT}%/{PREVIEW_FOLDER}%"))
_LATER = text("'infinity'::timestamptz")


class PostgresTaskStore:
    """Half of `Jobs`: leases and results."""

    def __init__(self, database: RetryingEngine, lease_seconds: float, window: int = WINDOW) -> None:
        self._database = database
        self._lease = timedelta(seconds=lease_seconds)
        self._window = window

    def waiting(self, job_id: int, kinds: Sequence[TaskKind]) -> list[tuple[TaskKind, int]]:
        query = (
            select(chunks.c.kind, chunks.c.number)
            .where(chunks.c.job_id == job_id, chunks.c.kind.in_(kinds), chunks.c.state != "done")
            .order_by(chunks.c.id)
        )
        return self._database.run(lambda c: [(TaskKind(row.kind), row.number) for row in c.execute(query)])

    def claim(self, job_id: int, kind: TaskKind, number: int) -> Lease | None:
        owner = str(uuid.uuid4())
        states = [STATE_OF[kind], State.QUEUED] if kind is TaskKind.PLAN else [STATE_OF[kind]]
        free = or_(
            chunks.c.state == "waiting",
            and_(chunks.c.state == "running", or_(chunks.c.lease_until < func.now(), chunks.c.lease_owner == owner)),
        )
        wanted = (
            select(chunks.c.id)
            .join(jobs, jobs.c.id == chunks.c.job_id)
            .where(chunks.c.job_id == job_id, chunks.c.kind == kind, chunks.c.number == number, free)
            .where(jobs.c.state.in_(states))
            .with_for_update(of=chunks, skip_locked=True)
            .scalar_subquery()
        )
        take = (
            update(chunks)
            .where(chunks.c.id == wanted)
            .values(state="running", lease_owner=owner, attempts=chunks.c.attempts + 1, **self._until())
            .returning(chunks.c.id, chunks.c.attempts)
        )

        def work(connection: Connection) -> Lease | None:
            row = connection.execute(take).one_or_none()
            if row is None:
                return None
            job = _job(connection.execute(select(jobs).where(jobs.c.id == job_id)).one())
            return Lease(job=job, task_id=row.id, kind=kind, number=number, owner=owner, attempts=row.attempts)

        return self._database.run(work)

    def beat(self, lease: Lease, done_seconds: float) -> bool:
        # the captions of a lesson are made when its job is over
        is_active = jobs.c.deleted_at if lease.kind is TaskKind.SPEECH else jobs.c.finished_at
        renew = (
            update(chunks)
            .where(held(lease), jobs.c.id == chunks.c.job_id, is_active.is_(None))
            .values(done_seconds=done_seconds, **self._until())
        )
        # while the database is away nobody else can take the lease, so the work goes on
        return self._database.attempt(lambda c: c.execute(renew).rowcount == 1) is not False

    def planned(
        self, lease: Lease, plan: Plan, rewrapped: bool, *, show_preview: bool, captions: Sequence[Captions] = ()
    ) -> bool:
        found = TaskResult({}, captions=captions) if captions else None

        def work(connection: Connection) -> bool:
            if not self._end(connection, lease, found, 0.0):
                return False
            keep = update(jobs).where(jobs.c.id == lease.job.id, jobs.c.state == State.PROBING)
            facts = {
                "plan": plan.dump(),
                "content_key": plan.key,
                "encoder": plan.encoder,
                "rewrapped": rewrapped,
                "duration_seconds": float(plan.duration_seconds),
                "chapters": [asdict(chapter) for chapter in plan.source.chapters] or None,
                "state": State.ENCODING,
                "planned_at": func.now(),
            }
            made_of = connection.scalar(select(jobs.c.content_key).where(jobs.c.id == lease.job.id))
            if connection.execute(keep.values(facts)).rowcount == 1:
                if made_of != plan.key:
                    # what was made before has other bytes than what comes now
                    connection.execute(delete(chunks).where(chunks.c.job_id == lease.job.id, chunks.c.kind.in_(MADE)))
                free = select(courses.c.id).where(courses.c.id == lease.job.course_id, SHOWS_NO_LESSON)
                wanted = show_preview and connection.scalar(free) is not None
                self._make_parts(connection, lease.job.id, plan, show_preview=wanted)
                _reuse(connection, lease.job, plan)
                self._enqueue_tasks(connection, lease.job.id)
            failpoint("transcoder.before_plan_commit")
            return True

        return self._database.run(work)

    def finish(self, lease: Lease, done: TaskResult, done_seconds: float) -> bool:
        def work(connection: Connection) -> bool:
            if not self._end(connection, lease, done, done_seconds):
                return False
            self._advance(connection, lease.job.id)
            failpoint("transcoder.before_finish_commit")
            return True

        return self._database.run(work)

    def release(self, lease: Lease, error: str, wait_seconds: float, *, counted: bool) -> None:
        back = (
            update(chunks)
            .where(held(lease))
            .values(
                state="waiting",
                lease_owner=None,
                lease_until=None,
                due_at=func.now() + timedelta(seconds=wait_seconds),
                error=error[:2000],
                attempts=chunks.c.attempts - (0 if counted else 1),
            )
        )
        self._database.run(lambda c: c.execute(back))

    def results(self, job_id: int) -> dict[tuple[TaskKind, int], TaskResult]:
        query = select(chunks.c.kind, chunks.c.number, chunks.c.result).where(
            chunks.c.job_id == job_id, chunks.c.kind.in_(MADE), chunks.c.state == "done"
        )
        rows = self._database.run(lambda c: c.execute(query).all())
        return {(TaskKind(row.kind), row.number): _result(row.result) for row in rows}

    def requeue(self, lease: Lease, tasks: Sequence[tuple[TaskKind, int]]) -> None:
        def work(connection: Connection) -> None:
            _lock(connection, lease.job.id)
            # the row stays, and with it how often this happened
            rest = {"state": "waiting", "lease_owner": None, "lease_until": None, "due_at": _LATER}
            if connection.execute(update(chunks).where(held(lease)).values(rest)).rowcount != 1:
                return
            for kind, number in tasks:
                again = update(chunks).where(
                    chunks.c.job_id == lease.job.id, chunks.c.kind == kind, chunks.c.number == number
                )
                connection.execute(
                    again.values(
                        state="waiting", lease_owner=None, lease_until=None, result=None, done_seconds=0,
                        due_at=func.now(), finished_at=None,
                    )
                )  # fmt: skip
            back = update(jobs).where(jobs.c.id == lease.job.id, jobs.c.state == State.PUBLISHING)
            connection.execute(back.values(state=State.ENCODING))

        self._database.run(work)

    def _until(self) -> dict[str, Any]:
        # enqueued again as soon as the lease is over
        return {"lease_until": func.now() + self._lease, "due_at": func.now() + self._lease}

    def _end(self, connection: Connection, lease: Lease, done: TaskResult | None, done_seconds: float) -> bool:
        """Mark the task as done. A repetition after a commit that nobody heard of finds its own mark, and is fine."""
        _lock(connection, lease.job.id)
        mark = update(chunks).where(
            chunks.c.id == lease.task_id, chunks.c.lease_owner == lease.owner, chunks.c.state.in_(("running", "done"))
        )
        result = None if done is None else _plain(done)
        values = {"state": "done", "result": result, "done_seconds": done_seconds, "error": None}
        return connection.execute(mark.values(**values, finished_at=func.now())).rowcount == 1

    def _make_parts(self, connection: Connection, job_id: int, plan: Plan, *, show_preview: bool) -> None:
        rows = [(TaskKind.FIRST, 0)] if show_preview else []
        rows += [(TaskKind.VIDEO, chunk.index) for chunk in plan.chunks]
        rows += [(TaskKind.AUDIO, number) for number in range(len(plan.sounds))]
        rows += [(TaskKind.STILLS, 0)] if plan.rungs else []
        for kind, number in rows:
            due_at = _LATER if kind is TaskKind.VIDEO else func.now() + REANNOUNCE_AFTER
            row = upsert(chunks).values(job_id=job_id, kind=kind, number=number, due_at=due_at)
            connection.execute(row.on_conflict_do_nothing())

    def _enqueue_tasks(self, connection: Connection, job_id: int) -> None:
        undone = select(func.count()).where(
            chunks.c.job_id == job_id, chunks.c.kind.in_((TaskKind.AUDIO, TaskKind.STILLS)), chunks.c.state != "done"
        )
        for _ in range(self._window):
            self._advance(connection, job_id)
        if connection.scalar(undone):
            outbox.enqueue(connection, TRANSCODER, EncodeAudio(job_id=job_id))

    def _advance(self, connection: Connection, job_id: int) -> None:
        """Enqueue the next chunk or, where all tasks are done, publishing."""
        if connection.scalar(select(jobs.c.state).where(jobs.c.id == job_id)) != State.ENCODING:
            return
        made = and_(chunks.c.job_id == job_id, chunks.c.kind.in_(MADE), chunks.c.state != "done")
        following = (
            select(chunks.c.id)
            .where(made, chunks.c.kind == TaskKind.VIDEO, chunks.c.due_at == _LATER)
            .order_by(chunks.c.number)
            .limit(1)
            .scalar_subquery()
        )
        announce = update(chunks).where(chunks.c.id == following).values(due_at=func.now() + REANNOUNCE_AFTER)
        number = connection.scalar(announce.returning(chunks.c.number))
        if number is not None:
            outbox.enqueue(connection, TRANSCODER, EncodeChunk(job_id=job_id, chunk=number))
        elif not connection.scalar(select(func.count()).where(made)):
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(state=State.PUBLISHING))
            due = upsert(chunks).values(
                job_id=job_id, kind=TaskKind.PUBLISH, number=0, due_at=func.now() + REANNOUNCE_AFTER
            )
            known = [chunks.c.job_id, chunks.c.kind, chunks.c.number]
            connection.execute(due.on_conflict_do_update(index_elements=known, set_={"due_at": due.excluded.due_at}))
            outbox.enqueue(connection, TRANSCODER, PublishLesson(job_id=job_id))


def message_for(job_id: int, course_id: int, source_key: str, kind: TaskKind, number: int) -> Message:
    """The message that makes a worker run a task that is due."""
    if kind is TaskKind.VIDEO:
        return EncodeChunk(job_id=job_id, chunk=number)
    if kind in (TaskKind.AUDIO, TaskKind.STILLS):
        return EncodeAudio(job_id=job_id)
    if kind is TaskKind.PUBLISH:
        return PublishLesson(job_id=job_id)
    return TranscodeVideo(course_id=course_id, source_key=source_key)


def _reuse(connection: Connection, job: Job, plan: Plan) -> None:
    """Take over what an earlier job made of the same bytes; publishing sees whether it is still there."""
    earlier = (
        select(jobs.c.id)
        .where(jobs.c.course_id == job.course_id, jobs.c.content_key == plan.key, jobs.c.id != job.id)
        .where(jobs.c.cleaned_at.is_(None))
        .order_by(jobs.c.id.desc())
        .limit(1)
    )
    theirs = chunks.alias("theirs")
    connection.execute(
        update(chunks)
        .where(chunks.c.job_id == job.id, theirs.c.job_id == earlier.scalar_subquery(), theirs.c.state == "done")
        .where(chunks.c.kind.in_(MADE), chunks.c.kind == theirs.c.kind, chunks.c.number == theirs.c.number)
        .values(
            state="done", result=theirs.c.result, done_seconds=theirs.c.done_seconds, finished_at=theirs.c.finished_at
        )
    )


def _lock(connection: Connection, job_id: int) -> None:
    """All that ends a task takes the job's row first: of two last tasks, one sees that both are done."""
    connection.execute(select(jobs.c.id).where(jobs.c.id == job_id).with_for_update(key_share=True))


def held(lease: Lease) -> Any:
    return and_(chunks.c.id == lease.task_id, chunks.c.lease_owner == lease.owner, chunks.c.state == "running")


def _plain(done: TaskResult) -> dict[str, Any]:
    kept: dict[str, Any] = {"files": dict(done.files), "parts": [dict(part) for part in done.parts]}
    if done.damage:
        kept["damage"] = dump_damage(done.damage)
    if done.captions:
        kept["captions"] = [asdict(track) for track in done.captions]
    return kept


def _result(plain: dict[str, Any]) -> TaskResult:
    return TaskResult(plain["files"], plain["parts"], load_damage(plain.get("damage", ())))


def _job(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        course_id=row.course_id,
        source_key=row.source_key,
        source_etag=row.source_etag,
        source_bytes=row.source_bytes,
        plan=None if row.plan is None else Plan.load(row.plan),
        rewrapped=row.rewrapped,
    )
