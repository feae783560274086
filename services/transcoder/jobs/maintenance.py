"""Maintenance: enqueues due tasks, removes unreferenced objects and incomplete uploads."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine, delete, func, or_, select, update

from services.transcoder.errors import TranscoderError
from services.transcoder.jobs.backlog import measure_backlog
from services.transcoder.jobs.model import PREVIEW_FOLDER, ROOT, State, TaskKind, prefix_of
from services.transcoder.jobs.postgres_tasks import REANNOUNCE_AFTER, message_for
from services.transcoder.jobs.scratch import ScratchSpace
from services.transcoder.metrics import REMOVED
from services.transcoder.storage.multipart_upload import UPLOADS, abort_old
from services.transcoder.storage.s3 import Storage
from shared.contracts.routes import TRANSCODER, route_of
from shared.contracts.videos import EncodeChunk
from shared.messaging import outbox
from shared.runtime.logs import describe
from shared.runtime.periodic_thread import PeriodicThread
from shared.schema.tables import courses
from shared.schema.tables import outbox as outbox_rows
from shared.schema.tables import transcode_chunks as chunks
from shared.schema.tables import transcode_jobs as jobs

POLL_SECONDS = 1.0
MEASURE_EVERY_SECONDS = 5.0
ORPHANS_EVERY_SECONDS = 3600.0
#: A round lists every lesson of the bucket.
ORPHANS_LATE = 4 * ORPHANS_EVERY_SECONDS
#: After S3 did not remove what a job left.
TRY_AGAIN_SECONDS = 600.0

log = structlog.get_logger(__name__)


class Maintenance:
    """Each method is one round of one duty. Many workers may do them at once."""

    def __init__(
        self,
        engine: Engine,
        storage: Storage,
        scratch: ScratchSpace,
        *,
        orphan_age: timedelta,
        upload_age: timedelta,
        upload_retention: timedelta | None = None,
    ) -> None:
        self._engine, self._storage, self._scratch = engine, storage, scratch
        self._orphan_age, self._upload_age = orphan_age, upload_age
        self._upload_retention = upload_retention
        #: Jobs whose objects S3 did not remove, and when they are next tried, on the monotonic clock.
        self._put_off: dict[int, float] = {}

    def release_due(self) -> int:
        """Enqueue a message for every task that is due: its lease is over, its wait is over, its message was lost."""
        # while RabbitMQ takes nothing for this queue, nothing is added to what the outbox holds for it already
        full = select(outbox_rows.c.id).where(
            outbox_rows.c.service == TRANSCODER,
            outbox_rows.c.message["queue_name"].astext == route_of(EncodeChunk).queue,
            outbox_rows.c.created_at < func.now() - timedelta(seconds=10),
        )
        due = (
            select(chunks.c.id, chunks.c.job_id, chunks.c.kind, chunks.c.number, jobs.c.course_id, jobs.c.source_key)
            .join(jobs, jobs.c.id == chunks.c.job_id)
            .where(
                chunks.c.state != "done", chunks.c.due_at <= func.now(), jobs.c.finished_at.is_(None), ~full.exists()
            )
            .order_by(chunks.c.due_at)
            .limit(100)
            .with_for_update(of=chunks, skip_locked=True)
        )
        with self._engine.begin() as connection:
            rows = connection.execute(due).all()
            messages = {
                message_for(row.job_id, row.course_id, row.source_key, TaskKind(row.kind), row.number) for row in rows
            }
            for message in messages:
                outbox.enqueue(connection, TRANSCODER, message)
            announced = update(chunks).where(chunks.c.id.in_([row.id for row in rows]))
            connection.execute(announced.values(due_at=func.now() + REANNOUNCE_AFTER))
        return len(messages)

    def clean_one(self) -> int:
        """Remove what a failed or cancelled job left in S3, once nobody works on it; how many objects there were.

        The preview of a failed job stays while its course shows it.
        """
        live = select(chunks.c.id).where(
            chunks.c.job_id == jobs.c.id, chunks.c.state == "running", chunks.c.lease_until > func.now()
        )
        newer = jobs.alias("newer")
        # a job that has no plan yet may find that it makes the same bytes, and take over what there is
        unplanned = select(newer.c.id).where(
            newer.c.course_id == jobs.c.course_id, newer.c.finished_at.is_(None), newer.c.content_key.is_(None)
        )
        ended = (
            select(jobs.c.id, jobs.c.course_id, jobs.c.content_key)
            .where(jobs.c.state.in_((State.FAILED, State.CANCELLED)), jobs.c.cleaned_at.is_(None))
            .where(~live.exists(), ~unplanned.exists(), jobs.c.id.not_in(self._jobs_put_off()))
            .order_by(jobs.c.finished_at, jobs.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with self._engine.begin() as connection:
            row = connection.execute(ended).one_or_none()
            if row is None:
                return 0
            removed = 0
            if row.content_key is not None and not self._is_active(connection, row.course_id, row.content_key):
                prefix = prefix_of(row.course_id, row.content_key)
                shown = connection.scalar(select(courses.c.video_ref).where(courses.c.id == row.course_id)) or ""
                try:
                    if shown.startswith(prefix + PREVIEW_FOLDER):
                        removed = self._remove(prefix, kept=prefix + PREVIEW_FOLDER)
                    elif not shown.startswith(prefix):
                        removed = self._remove(prefix)
                except TranscoderError:
                    # whatever keeps S3 from it may last, and is about this folder alone
                    self._put_off[row.id] = time.monotonic() + TRY_AGAIN_SECONDS
                    raise
            connection.execute(update(jobs).where(jobs.c.id == row.id).values(cleaned_at=func.now()))
        return removed

    def forget_uploads(self) -> None:
        """Remove uploads from scratch space whose jobs are over."""
        kept = self._scratch.kept()
        if kept:
            with self._engine.connect() as connection:
                active = select(jobs.c.id).where(jobs.c.id.in_(kept), jobs.c.finished_at.is_(None))
                over = set(kept) - set(connection.scalars(active))
            for job_id in over:
                self._scratch.forget(job_id)

    def remove_orphans(self) -> int:
        """Remove lessons that were replaced, first pictures, and what no job knows, each after its grace.

        Raises the last error once all were tried: one folder that S3 does not remove keeps no other.
        """
        failures: list[TranscoderError] = []
        removed = self._remove_firsts(failures)
        for course in self._storage.folders(ROOT):
            for prefix in self._storage.folders(course):
                number, _, content_key = prefix.removeprefix(ROOT).strip("/").partition("/")
                if number.isdecimal() and self._is_orphan(int(number), content_key, prefix):
                    removed += self._try_to_remove(prefix, failures)
        if failures:
            raise failures[-1]
        return removed

    def measure_backlog(self) -> None:
        """Publish what waits as metrics."""
        measure_backlog(self._engine)

    def abort_uploads(self) -> int:
        """Remove the pieces of uploads that were never completed."""
        return abort_old(self._storage, UPLOADS, datetime.now(UTC) - self._upload_age)

    def remove_sources(self) -> int:
        """Remove the uploads of jobs that ended longer ago than their retention; how many jobs that were.

        An upload that a younger or unfinished job uses too stays.
        """
        if self._upload_retention is None:
            return 0
        before = datetime.now(UTC) - self._upload_retention
        other = jobs.alias("other")
        used = select(other.c.id).where(
            other.c.source_key == jobs.c.source_key, or_(other.c.finished_at.is_(None), other.c.finished_at >= before)
        )
        due = (
            select(jobs.c.id, jobs.c.source_key)
            .where(jobs.c.finished_at < before, jobs.c.source_removed_at.is_(None), jobs.c.requested.is_(None))
            .where(jobs.c.source_key.startswith(UPLOADS), ~used.exists())
            .order_by(jobs.c.finished_at)
            .limit(20)
            .with_for_update(skip_locked=True)
        )
        with self._engine.begin() as connection:
            rows = connection.execute(due).all()
            for row in rows:
                self._storage.remove_one(row.source_key)
                log.info("removed an upload past its retention", job_id=row.id)
            over = update(jobs).where(jobs.c.id.in_([row.id for row in rows]))
            connection.execute(over.values(source_removed_at=func.now()))
        return len(rows)

    def _is_orphan(self, course_id: int, content_key: str, prefix: str) -> bool:
        with self._engine.connect() as connection:
            if self._is_wanted(connection, course_id, content_key):
                return False
            replaced_at = connection.scalar(
                select(func.max(jobs.c.finished_at)).where(
                    jobs.c.course_id == course_id, jobs.c.state == State.COMPLETED
                )
            )
        newest = max((stored.modified_at for stored in self._storage.list(prefix).values()), default=None)
        last = max((moment for moment in (replaced_at, newest) if moment), default=None)
        return last is not None and last < datetime.now(UTC) - self._orphan_age

    def _is_wanted(self, connection: Connection, course_id: int, content_key: str) -> bool:
        """Whether a job is at work on this lesson, or the course shows it."""
        shown = select(courses.c.id).where(
            courses.c.id == course_id, courses.c.video_ref.startswith(prefix_of(course_id, content_key))
        )
        return self._is_active(connection, course_id, content_key) or bool(connection.scalar(select(shown.exists())))

    def _is_active(self, connection: Connection, course_id: int, content_key: str) -> bool:
        """Whether a job is at work on this lesson, or may find that it is."""
        active = select(jobs.c.id).where(
            jobs.c.course_id == course_id,
            jobs.c.finished_at.is_(None),
            or_(jobs.c.content_key == content_key, jobs.c.content_key.is_(None)),
        )
        return bool(connection.scalar(select(active.exists())))

    def _jobs_put_off(self) -> list[int]:
        now = time.monotonic()
        self._put_off = {job_id: until for job_id, until in self._put_off.items() if until > now}
        return list(self._put_off)

    def _remove_firsts(self, failures: list[TranscoderError]) -> int:
        """Once a lesson is whole, nobody needs its first pictures but those who began to watch them."""
        old = (
            select(chunks.c.id, jobs.c.course_id, jobs.c.content_key)
            .join(jobs, jobs.c.id == chunks.c.job_id)
            .where(chunks.c.kind == TaskKind.FIRST, jobs.c.state == State.COMPLETED)
            .where(jobs.c.finished_at < func.now() - self._orphan_age)
            # by chance, so that those that cannot be removed do not fill every round
            .order_by(func.random())
            .limit(100)
            .with_for_update(of=chunks, skip_locked=True)
        )
        removed = 0
        with self._engine.begin() as connection:
            for row in connection.execute(old).all():
                before = len(failures)
                removed += self._try_to_remove(prefix_of(row.course_id, row.content_key) + PREVIEW_FOLDER, failures)
                if len(failures) == before:
                    connection.execute(delete(chunks).where(chunks.c.id == row.id))
        return removed

    def _try_to_remove(self, prefix: str, failures: list[TranscoderError]) -> int:
        try:
            return self._remove(prefix)
        except TranscoderError as error:
            failures.append(error)
            log.warning("objects that no lesson needs stay", prefix=prefix, error=describe(error))
            return 0

    def _remove(self, prefix: str, *, kept: str | None = None) -> int:
        removed = self._storage.remove(prefix, kept=kept)
        if removed:
            REMOVED.inc(removed)
            log.info("removed objects that no lesson needs", prefix=prefix, objects=removed)
        return removed


def maintenance_threads(sweep: Maintenance, wake: Callable[[], None]) -> list[PeriodicThread]:
    """A thread for each duty, so that none waits for another: leases are released while S3 is slow, for example."""

    def release() -> None:
        if count := sweep.release_due():
            log.info("tasks are due", count=count)
            wake()

    def remove_orphans() -> None:
        sweep.remove_orphans()

    def abort_uploads() -> None:
        sweep.abort_uploads()

    def remove_sources() -> bool:
        return sweep.remove_sources() > 0

    return [
        PeriodicThread("due tasks", release, POLL_SECONDS),
        PeriodicThread("scratch space", sweep.forget_uploads, POLL_SECONDS),
        PeriodicThread("cleaning", lambda: sweep.clean_one() > 0, POLL_SECONDS),
        PeriodicThread("backlog", sweep.measure_backlog, MEASURE_EVERY_SECONDS, at_once=True),
        PeriodicThread("orphans", remove_orphans, ORPHANS_EVERY_SECONDS, late_after_seconds=ORPHANS_LATE),
        PeriodicThread("retention", remove_sources, ORPHANS_EVERY_SECONDS, late_after_seconds=ORPHANS_LATE),
        PeriodicThread("old uploads", abort_uploads, ORPHANS_EVERY_SECONDS, late_after_seconds=ORPHANS_LATE),
    ]
