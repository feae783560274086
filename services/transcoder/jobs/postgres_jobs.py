"""Jobs in PostgreSQL: how they begin and end, and the course's status.

Locks are taken in one order (course, job, tasks), so that two transactions never wait for each other.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import date, timedelta

from sqlalchemy import BigInteger, Connection, and_, case, delete, func, insert, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.transcoder.errors import UnknownCourseError, UnknownJobError
from services.transcoder.jobs.model import (
    Lease,
    State,
    TaskKind,
    TaskResult,
    Upload,
    prefix_of,
    preview_of,
)
from services.transcoder.jobs.postgres_captions import has_additions, keep_captions
from services.transcoder.jobs.postgres_course_status import course_of, lock_course, set_course
from services.transcoder.jobs.postgres_speech import plan_speech
from services.transcoder.jobs.postgres_tasks import REANNOUNCE_AFTER, SHOWS_NO_LESSON, PostgresTaskStore
from services.transcoder.planning.source import LessonWarning
from services.transcoder.storage.multipart_upload import UPLOADS
from shared.contracts.routes import TRANSCODER
from shared.contracts.videos import VideoReady
from shared.messaging import outbox
from shared.runtime.failpoints import failpoint
from shared.schema.tables import course_keys, courses
from shared.schema.tables import transcode_chunks as chunks
from shared.schema.tables import transcode_jobs as jobs

SUPERSEDED = "A newer upload for this course took its place."
CANCELLED = "The work was cancelled."
DELETED = "The lesson was deleted."
#: A job that nobody has moved for so long waits for an encoder that is gone.
STANDSTILL = timedelta(minutes=10)


class PostgresJobStore(PostgresTaskStore):
    """Implements `Jobs`, and what operators do with them."""

    def open(self, upload: Upload) -> int:
        known = and_(
            jobs.c.course_id == upload.course_id,
            jobs.c.source_key == upload.key,
            jobs.c.source_etag == upload.etag,
        )
        row = upsert(jobs).values(
            course_id=upload.course_id,
            source_key=upload.key,
            source_etag=upload.etag,
            source_bytes=upload.size_bytes,
            uploaded_at=upload.uploaded_at,
        )

        def work(connection: Connection) -> int:
            if not lock_course(connection, upload.course_id):
                raise UnknownCourseError(upload.course_id)
            job_id = connection.scalar(row.on_conflict_do_nothing().returning(jobs.c.id))
            if job_id is None:
                return int(connection.execute(select(jobs.c.id).where(known)).scalar_one())
            if _is_outdated(connection, job_id):
                _end(connection, [job_id], State.CANCELLED, SUPERSEDED)
                _end_pending(connection, upload.course_id)
                return int(job_id)
            _begin(connection, upload.course_id, job_id)
            return int(job_id)

        return self._database.run(work)

    def missing(self, course_id: int, source_key: str, reason: str) -> None:
        def work(connection: Connection) -> None:
            lock_course(connection, course_id)
            waiting = select(jobs.c.id).where(jobs.c.course_id == course_id, jobs.c.finished_at.is_(None))
            ended = connection.scalars(waiting.where(jobs.c.source_key == source_key)).all()
            _end(connection, ended, State.FAILED, reason)
            if not connection.scalars(waiting).all():
                nothing = update(courses).where(
                    courses.c.id == course_id, courses.c.transcoding_status.in_(("pending", "processing"))
                )
                connection.execute(nothing.values(transcoding_status="failed"))

        self._database.run(work)

    def started(self, lease: Lease) -> None:
        def work(connection: Connection) -> None:
            lock_course(connection, lease.job.course_id)
            begin = update(jobs).where(jobs.c.id == lease.job.id, jobs.c.finished_at.is_(None))
            if connection.execute(begin.values(state=State.PROBING)).rowcount == 1:
                set_course(connection, lease.job.course_id, transcoding_status="processing")

        self._database.run(work)

    def show_preview(self, lease: Lease, video_ref: str, done: TaskResult) -> bool:
        def work(connection: Connection) -> bool:
            lock_course(connection, lease.job.course_id)
            if not self._end(connection, lease, done, 0.0):
                return False
            active = select(jobs.c.id).where(jobs.c.id == lease.job.id, jobs.c.finished_at.is_(None)).exists()
            show = update(courses).where(courses.c.id == lease.job.course_id, active)
            shown = connection.execute(show.where(SHOWS_NO_LESSON).values(video_ref=video_ref)).rowcount
            if shown:
                connection.execute(update(jobs).where(jobs.c.id == lease.job.id).values(first_shown_at=func.now()))
            failpoint("transcoder.before_first_commit")
            return bool(shown)

        return self._database.run(work)

    def complete(
        self,
        lease: Lease,
        video_ref: str,
        day: date,
        warnings: Sequence[LessonWarning] = (),
        *,
        speech_tasks: int = 0,
    ) -> bool:
        reported = [asdict(warning) for warning in warnings] or None

        def work(connection: Connection) -> bool:
            lock_course(connection, lease.job.course_id)
            if not self._end(connection, lease, TaskResult({}), 0.0):
                return False
            swap = update(jobs).where(jobs.c.id == lease.job.id, jobs.c.state == State.PUBLISHING)
            ended = {
                "state": State.COMPLETED,
                "finished_at": func.now(),
                "stored_bytes": _STORED_BYTES,
                "warnings": reported,
            }
            if connection.execute(swap.values(ended)).rowcount == 1:
                set_course(connection, lease.job.course_id, transcoding_status="completed", video_ref=video_ref)
                # before the captions: of a transcript that is finished now, one of the two removes what it says
                plan_speech(connection, lease.job, speech_tasks)
                keep_captions(connection, lease.job)
                again = update(jobs).where(
                    jobs.c.id == lease.job.id, jobs.c.requested.is_(None), has_additions(lease.job.course_id)
                )
                connection.execute(again.values(requested="captions"))
                outbox.enqueue(connection, TRANSCODER, VideoReady(course_id=lease.job.course_id, day=day))
            failpoint("transcoder.before_commit")
            state = connection.scalar(select(jobs.c.state).where(jobs.c.id == lease.job.id))
            return bool(state == State.COMPLETED)

        return self._database.run(work)

    def fail(self, job_id: int, reason: str, detail: str) -> bool:
        return self._stop(job_id, State.FAILED, reason, detail)

    def cancel(self, job_id: int) -> bool:
        """Stop the job: workers see it within a second. False where it was over already."""
        return self._stop(job_id, State.CANCELLED, CANCELLED, "")

    def retry(self, job_id: int) -> None:
        """Begin a failed or cancelled job again, with what it had made. Raises UnknownJob where that cannot be."""

        def work(connection: Connection) -> None:
            course_id = course_of(connection, job_id)
            lock_course(connection, course_id)
            again = update(jobs).where(jobs.c.id == job_id, jobs.c.state.in_((State.FAILED, State.CANCELLED)))
            reset = {"state": State.QUEUED, "reason": None, "detail": None, "finished_at": None, "cleaned_at": None}
            if _is_outdated(connection, job_id):
                raise UnknownJobError(f"Job {job_id} is not tried again: a newer upload for its course took its place.")
            cleaned = connection.scalar(select(jobs.c.cleaned_at).where(jobs.c.id == job_id).with_for_update())
            if connection.execute(again.values(reset)).rowcount != 1:
                raise UnknownJobError(
                    f"Job {job_id} has neither failed nor been cancelled, so there is nothing to retry."
                )
            undone = delete(chunks).where(chunks.c.job_id == job_id)
            if _shows_preview(connection, job_id):
                undone = undone.where(chunks.c.kind != TaskKind.FIRST)
            if cleaned is None:
                undone = undone.where(or_(chunks.c.state != "done", chunks.c.kind.in_(_ONCE)))
            connection.execute(undone)
            _begin(connection, course_id, job_id, due_now=True)

        self._database.run(work)

    def replan(self, job_id: int) -> bool:
        def work(connection: Connection) -> bool:
            of_job = chunks.c.job_id == job_id
            finished_at = select(func.max(chunks.c.finished_at)).where(of_job).scalar_subquery()
            moved_at = func.greatest(jobs.c.planned_at, finished_at)
            live = select(chunks.c.id).where(of_job, chunks.c.state == "running", chunks.c.lease_until > func.now())
            stuck = update(jobs).where(
                jobs.c.id == job_id, jobs.c.finished_at.is_(None), moved_at < func.now() - STANDSTILL, ~live.exists()
            )
            fresh = {"state": State.QUEUED, "plan": None, "content_key": None, "encoder": None}
            if connection.execute(stuck.values(fresh)).rowcount != 1:
                return False
            connection.execute(delete(chunks).where(of_job))
            connection.execute(insert(chunks).values(job_id=job_id, kind=TaskKind.PLAN, number=0, due_at=func.now()))
            return True

        return self._database.run(work)

    def withdraw(self, job_id: int) -> Sequence[str] | None:
        """Show nothing that jobs up to `job_id` made for their course, and end those that are at work.

        Returns the prefixes of objects that no one needs now; None while a worker may still write one.
        """

        def work(connection: Connection) -> Sequence[str] | None:
            course_id = course_of(connection, job_id)
            lock_course(connection, course_id)
            older = (jobs.c.course_id == course_id, jobs.c.id <= job_id)
            active = connection.scalars(select(jobs.c.id).where(*older, jobs.c.finished_at.is_(None))).all()
            _end(connection, active, State.CANCELLED, DELETED)
            connection.execute(update(jobs).where(*older, jobs.c.deleted_at.is_(None)).values(deleted_at=func.now()))
            known = connection.execute(
                select(*jobs.c["id", "content_key", "source_key", "state", "finished_at"]).where(
                    jobs.c.course_id == course_id
                )
            ).all()
            newer = [row for row in known if row.id > job_id and row.state not in (State.FAILED, State.CANCELLED)]
            made = {row.content_key for row in known if row.id <= job_id and row.content_key}
            made -= {row.content_key for row in newer}
            _hide(connection, course_id, made, is_over=all(row.finished_at for row in newer))
            live = select(chunks.c.id).join(jobs, jobs.c.id == chunks.c.job_id)
            live = live.where(*older, chunks.c.state == "running", chunks.c.lease_until > func.now())
            # a job without a plan may find that it makes the same bytes, and take over what there is
            if connection.scalar(select(live.exists())) or any(row.content_key is None for row in newer):
                return None
            uploads = {row.source_key for row in known if row.id <= job_id} - {row.source_key for row in newer}
            lessons = [prefix_of(course_id, key) for key in sorted(made)]
            return lessons + sorted(key for key in uploads if key.startswith(f"{UPLOADS}{course_id}/"))

        return self._database.run(work)

    def forget_keys(self, job_id: int) -> None:
        """Remove the keys of a course whose lessons were withdrawn, unless a newer job may need one."""

        def work(connection: Connection) -> None:
            course_id = course_of(connection, job_id)
            lock_course(connection, course_id)
            newer = select(jobs.c.id).where(jobs.c.course_id == course_id, jobs.c.id > job_id)
            connection.execute(delete(course_keys).where(course_keys.c.course_id == course_id, ~newer.exists()))
            gone = update(jobs).where(jobs.c.course_id == course_id, jobs.c.id <= job_id, jobs.c.cleaned_at.is_(None))
            connection.execute(gone.values(cleaned_at=func.now()))

        self._database.run(work)

    def _stop(self, job_id: int, state: State, reason: str, detail: str) -> bool:
        def work(connection: Connection) -> bool:
            course_id = course_of(connection, job_id)
            lock_course(connection, course_id)
            if not _end(connection, [job_id], state, reason, detail):
                return False
            shown = connection.scalar(select(courses.c.video_ref).where(courses.c.id == course_id))
            # a lesson that was whole before goes on being shown; the status describes the newest upload
            kept = state is State.CANCELLED and shown is not None
            set_course(connection, course_id, transcoding_status="completed" if kept else "failed")
            return True

        return self._database.run(work)


#: What the tasks of a lesson store: segments and stills, without what is shown first.
_STORED_BYTES = literal_column(
    "(SELECT coalesce(sum(size::bigint), 0)::bigint FROM transcode_chunks, jsonb_each_text(result -> 'files') "
    "AS file (name, size) WHERE job_id = transcode_jobs.id AND kind IN ('video', 'audio', 'stills'))",
    BigInteger,
)
_ONCE = (TaskKind.PLAN, TaskKind.FIRST, TaskKind.PUBLISH)


def _hide(connection: Connection, course_id: int, content_keys: Collection[str], *, is_over: bool) -> None:
    """Let a course show none of these lessons any more."""
    shown = connection.scalar(select(courses.c.video_ref).where(courses.c.id == course_id))
    if shown is None or any(shown.startswith(prefix_of(course_id, key)) for key in content_keys):
        nothing = {"video_ref": None, "transcoding_status": None if is_over else "processing"}
        connection.execute(update(courses).where(courses.c.id == course_id).values(nothing))


def _is_outdated(connection: Connection, job_id: int) -> bool:
    """Whether a later upload for the same course is known. The course is locked."""
    own = jobs.alias("own")
    later = and_(
        jobs.c.course_id == own.c.course_id,
        jobs.c.id != own.c.id,
        func.row(jobs.c.uploaded_at, jobs.c.id) > func.row(own.c.uploaded_at, own.c.id),
    )
    return connection.scalar(select(jobs.c.id).join(own, later).where(own.c.id == job_id).limit(1)) is not None


def _end_pending(connection: Connection, course_id: int) -> None:
    """Let a course not stay pending for an upload that is outdated, once no other job is left. The course is locked."""
    active = select(jobs.c.id).where(jobs.c.course_id == course_id, jobs.c.finished_at.is_(None))
    # nothing where no lesson is shown: `failed` would be an event about no upload of today
    status = case((courses.c.video_ref.is_not(None), "completed"))
    pending = update(courses).where(courses.c.id == course_id, courses.c.transcoding_status == "pending")
    connection.execute(pending.where(~active.exists()).values(transcoding_status=status))


def _begin(connection: Connection, course_id: int, job_id: int, *, due_now: bool = False) -> None:
    others = select(jobs.c.id).where(jobs.c.course_id == course_id, jobs.c.id != job_id, jobs.c.finished_at.is_(None))
    _end(connection, connection.scalars(others).all(), State.CANCELLED, SUPERSEDED)
    due_at = func.now() if due_now else func.now() + REANNOUNCE_AFTER
    connection.execute(insert(chunks).values(job_id=job_id, kind=TaskKind.PLAN, number=0, due_at=due_at))
    set_course(connection, course_id, transcoding_status="pending")


def _shows_preview(connection: Connection, job_id: int) -> bool:
    """Whether the course shows the preview of this job."""
    job = connection.execute(select(jobs.c.course_id, jobs.c.content_key).where(jobs.c.id == job_id)).one()
    shown = connection.scalar(select(courses.c.video_ref).where(courses.c.id == job.course_id))
    return bool(job.content_key and shown and shown.startswith(preview_of(job.course_id, job.content_key)))


def _end(connection: Connection, job_ids: Sequence[int], state: State, reason: str, detail: str = "") -> bool:
    """End these jobs. A failed one leaves its preview in the course, a cancelled one does not."""
    end = (
        update(jobs)
        .where(jobs.c.id.in_(job_ids), jobs.c.finished_at.is_(None))
        .values(state=state, reason=reason, detail=detail or None, finished_at=func.now())
        .returning(jobs.c.course_id, jobs.c.content_key)
    )
    ended = connection.execute(end).all()
    for row in ended:
        if row.content_key is not None and state is State.CANCELLED:
            first = preview_of(row.course_id, row.content_key)
            shown = update(courses).where(courses.c.id == row.course_id, courses.c.video_ref.startswith(first))
            connection.execute(shown.values(video_ref=None))
    return bool(ended)
