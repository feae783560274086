"""Parts of automatic captions in PostgreSQL: when one is due, what it heard, and the captions of all.

They are rows of `transcode_chunks` as all tasks are, of jobs that are completed. No message is about them: it would
stand in the queue before those of other lessons' pictures. Workers read the table instead.
"""

from dataclasses import asdict

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.transcoder.errors import UnknownJobError
from services.transcoder.jobs.model import Job, Lease, State, TaskKind
from services.transcoder.jobs.postgres_course_status import course_of, lock_course
from services.transcoder.jobs.postgres_tasks import PostgresTaskStore, held
from services.transcoder.planning.plan import Plan
from services.transcoder.speech.transcript import Transcript, Word, cues_of, joined, task_count
from shared.runtime.webvtt import write_captions
from shared.schema.tables import captions
from shared.schema.tables import transcode_chunks as chunks
from shared.schema.tables import transcode_jobs as jobs

_NEVER = text("'infinity'::timestamptz")
_UNDONE = ("waiting", "running")
_is_speech = chunks.c.kind == TaskKind.SPEECH


class PostgresSpeechStore(PostgresTaskStore):
    """Leases on tasks of speech, and their results."""

    def claim_speech(self) -> Lease | None:
        """The lease on a task that is due, the oldest lesson first; None while any picture or sound waits."""
        first, other, theirs = chunks.alias("first"), chunks.alias("other"), jobs.alias("theirs")
        # the first task finds the language of the lesson
        begun = exists().where(first.c.job_id == chunks.c.job_id, first.c.kind == TaskKind.SPEECH, first.c.number == 0)
        begun = begun.where(first.c.state.in_(("done", "failed")))
        waits = exists().where(
            other.c.job_id == theirs.c.id, other.c.state == "waiting", theirs.c.finished_at.is_(None)
        )
        due = (
            select(chunks.c.job_id, chunks.c.number)
            .join(jobs, jobs.c.id == chunks.c.job_id)
            .where(_is_speech, chunks.c.state.in_(_UNDONE), chunks.c.due_at <= func.now())
            .where(jobs.c.state == State.COMPLETED, jobs.c.deleted_at.is_(None))
            .where(or_(chunks.c.number == 0, begun), ~waits)
            .order_by(chunks.c.job_id, chunks.c.number)
            .limit(1)
        )
        row = self._database.run(lambda connection: connection.execute(due).one_or_none())
        return None if row is None else self.claim(row.job_id, TaskKind.SPEECH, row.number)

    def language(self, job_id: int) -> str | None:
        """The language that was found in the first task with words; None where there is none yet."""
        known = select(chunks.c.result["language"].astext).where(
            chunks.c.job_id == job_id, _is_speech, chunks.c.state == "done"
        )
        spoken = func.jsonb_array_length(chunks.c.result["words"]) > 0
        query = known.where(spoken).order_by(chunks.c.number).limit(1)
        return self._database.run(lambda connection: connection.scalar(query))

    def heard(self, lease: Lease, transcript: Transcript) -> bool:
        """The task is done; with the last one, the lesson has captions. False where the lease was lost."""
        result = {"files": {}, "parts": [], **asdict(transcript)}
        done = {"state": "done", "result": result, "error": None, "finished_at": func.now()}

        def work(connection: Connection) -> bool:
            lock_course(connection, lease.job.course_id)
            if connection.execute(update(chunks).where(_own(lease)).values(done)).rowcount != 1:
                return False
            if _has_persons(connection, lease.job.course_id, transcript.language):
                # a person's captions are better: the rest need not be heard
                connection.execute(delete(chunks).where(chunks.c.job_id == lease.job.id, _is_speech))
                return True
            _conclude(connection, lease.job)
            return True

        return self._database.run(work)

    def give_up(self, lease: Lease, error: str) -> None:
        """The lesson gets no automatic captions; what was heard stays for another attempt."""
        failed = {"state": "failed", "lease_owner": None, "lease_until": None, "due_at": _NEVER, "error": error[:2000]}

        def work(connection: Connection) -> None:
            if connection.execute(update(chunks).where(held(lease)).values(failed)).rowcount == 1:
                rest = update(chunks).where(chunks.c.job_id == lease.job.id, _is_speech, chunks.c.state.in_(_UNDONE))
                connection.execute(rest.values(failed))

        self._database.run(work)

    def begin(self, job_id: int) -> None:
        """Transcribe a completed lesson, again or for the first time; what was heard before a failure is kept."""

        def work(connection: Connection) -> None:
            lock_course(connection, course_of(connection, job_id))
            job = connection.execute(select(jobs).where(jobs.c.id == job_id)).one()
            if job.state != State.COMPLETED or job.deleted_at is not None:
                raise UnknownJobError(f"Job {job_id} has no lesson: `nouba transcoder jobs` lists those that do.")
            of_job = and_(chunks.c.job_id == job_id, _is_speech)
            fresh = {"state": "waiting", "attempts": 0, "due_at": func.now(), "error": None}
            again = update(chunks).where(of_job, chunks.c.state == "failed")
            if connection.execute(again.values(fresh)).rowcount:
                return
            connection.execute(delete(chunks).where(of_job))
            _plan(connection, job_id, task_count(Plan.load(job.plan)))

        self._database.run(work)


def plan_speech(connection: Connection, job: Job, tasks: int) -> None:
    """Make the tasks of a lesson that is whole now, in place of those of the lesson that it follows."""
    earlier = select(jobs.c.id).where(jobs.c.course_id == job.course_id, jobs.c.id != job.id)
    connection.execute(delete(chunks).where(_is_speech, chunks.c.job_id.in_(earlier)))
    _plan(connection, job.id, tasks)


def _plan(connection: Connection, job_id: int, tasks: int) -> None:
    for number in range(tasks):
        row = upsert(chunks).values(job_id=job_id, kind=TaskKind.SPEECH, number=number, due_at=func.now())
        connection.execute(row.on_conflict_do_nothing())


def _own(lease: Lease) -> ColumnElement[bool]:
    """The task; a repetition after a commit that nobody heard of finds its own mark."""
    return and_(
        chunks.c.id == lease.task_id, chunks.c.lease_owner == lease.owner, chunks.c.state.in_(("running", "done"))
    )


def _has_persons(connection: Connection, course_id: int, language: str) -> bool:
    own = select(captions.c.language).where(captions.c.course_id == course_id, captions.c.language == language)
    return connection.scalar(own.where(~captions.c.automatic)) is not None


def _conclude(connection: Connection, job: Job) -> None:
    """Where all tasks are heard, keep the captions and ask for a master that has them."""
    of_job = and_(chunks.c.job_id == job.id, _is_speech)
    states = connection.execute(
        select(chunks.c.state, chunks.c.result).where(of_job).order_by(chunks.c.number).with_for_update()
    ).all()
    if any(row.state != "done" for row in states):
        return
    transcript = joined([_transcript(row.result) for row in states])
    cues = cues_of(transcript.words) if transcript else []
    # the words are in the captions now
    slim = func.jsonb_set(chunks.c.result, text("'{words}'"), text("'[]'::jsonb"))
    connection.execute(update(chunks).where(of_job).values(result=slim))
    if transcript is None or not cues:
        return
    connection.execute(delete(captions).where(captions.c.course_id == job.course_id, captions.c.automatic))
    track = {"course_id": job.course_id, "language": transcript.language, "automatic": True, "job_id": job.id}
    row = upsert(captions).values(**track, body=write_captions(cues)).on_conflict_do_nothing()
    if connection.execute(row).rowcount != 1:
        return
    # the captions before the job, as the gateway has them: two transactions never wait for each other
    is_shown = and_(jobs.c.deleted_at.is_(None), func.coalesce(jobs.c.requested, "") != "delete")
    ask = update(jobs).where(jobs.c.id == job.id, is_shown)
    if connection.execute(ask.values(requested=func.coalesce(jobs.c.requested, "captions"))).rowcount != 1:
        connection.execute(delete(captions).where(captions.c.job_id == job.id, captions.c.automatic))


def _transcript(result: dict[str, object]) -> Transcript:
    words = result["words"]
    assert isinstance(words, list)
    return Transcript(str(result["language"]), [Word(*word) for word in words])
