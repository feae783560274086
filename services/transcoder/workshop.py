"""Use cases: what each message of the queue means. Whatever happens to a part is written down, or told again."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import structlog

from services.transcoder.encode import encode_audio, encode_chunk
from services.transcoder.errors import (
    Cancelled,
    NoSuchObject,
    NotReady,
    OutOfSpace,
    Passing,
    Refused,
    StorageAway,
    TranscoderError,
)
from services.transcoder.ffmpeg import Ffmpeg
from services.transcoder.first import has_first, make_first
from services.transcoder.jobs import FIRST_FOLDER, Done, Job, Jobs, Kind, Lease, Upload
from services.transcoder.lease import Heart
from services.transcoder.measure import INIT_NAME, Part, dump_parts
from services.transcoder.metrics import JOBS_ENDED, MEDIA_SECONDS, PART_SECONDS, SPEED
from services.transcoder.objects import Objects
from services.transcoder.plan import Plan, make_plan
from services.transcoder.playlists import MASTER_NAME
from services.transcoder.prepare import REWRAPPED_NAME, file_sha256, prepare
from services.transcoder.progress import Progress
from services.transcoder.publish import absent, publish
from services.transcoder.recipe import Recipe
from services.transcoder.scratch import Scratch
from services.transcoder.shipment import Shipment
from services.transcoder.stills import make_stills
from shared.runtime.failpoints import failpoint

GONE = "The uploaded file is no longer there: upload it again."
OUR_FAULT = (
    "The video could not be converted because of a fault on our side: tell the school's operators, or try again."
)
#: How long a part waits whose fault is the surroundings': S3, the disk, the machine.
AWAY_SECONDS = 15.0
LONGEST_BACKOFF_SECONDS = 15 * 60.0
_UPLOAD_NAME = "upload"

log = structlog.get_logger(__name__)


class _LeaseLost(Exception):
    """Another worker has the part, or the job is over: what was made here counts for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How this school's worker works."""

    recipe: Recipe
    #: The day in the school's zone.
    today: Callable[[], date]
    attempts: int = 8
    #: The first wait after a fault; it doubles.
    backoff_seconds: float = 2.0
    #: How often a lease is renewed, and how soon a worker sees that its job was cancelled.
    beat_seconds: float = 1.0


class Workshop:
    """One worker's tools. Its public methods are the messages."""

    def __init__(self, jobs: Jobs, objects: Objects, scratch: Scratch, ffmpeg: Ffmpeg, terms: Terms) -> None:
        self._jobs, self._objects, self._scratch, self._ffmpeg, self._terms = jobs, objects, scratch, ffmpeg, terms
        #: Set when the worker is to end: the part in hand is given back at once.
        self.stopping = threading.Event()
        self._steps = {
            Kind.PLAN: self._plan,
            Kind.FIRST: self._first,
            Kind.VIDEO: self._video,
            Kind.AUDIO: self._audio,
            Kind.STILLS: self._stills,
            Kind.PUBLISH: self._publish,
        }

    def transcode(self, course_id: int, source_key: str) -> None:
        """An upload is complete: look at it, plan its parts, and show something soon."""
        try:
            found = self._objects.head(source_key)
        except NoSuchObject:
            log.warning("there is no such upload", course_id=course_id)
            self._jobs.missing(course_id, source_key, GONE)
            return
        upload = Upload(
            course_id=course_id,
            key=source_key,
            etag=found.etag,
            size_bytes=found.size_bytes,
            uploaded_at=found.modified_at,
        )
        job_id = self._jobs.open(upload)
        self._do(job_id, Kind.PLAN, 0)
        self._do(job_id, Kind.FIRST, 0)

    def encode_chunk(self, job_id: int, chunk: int) -> None:
        """A chunk of the picture is due."""
        self._do(job_id, Kind.VIDEO, chunk)

    def encode_audio(self, job_id: int) -> None:
        """What stands beside the picture is due."""
        for kind, number in self._jobs.waiting(job_id, (Kind.AUDIO, Kind.STILLS)):
            self._do(job_id, kind, number)

    def publish(self, job_id: int) -> None:
        """All parts are made."""
        self._do(job_id, Kind.PUBLISH, 0)

    def _do(self, job_id: int, kind: Kind, number: int) -> None:
        """Do one part, unless it is done, or somebody else does it. Ends with its row saying what became of it."""
        lease = None if self.stopping.is_set() else self._jobs.claim(job_id, kind, number)
        if lease is None:
            return
        failpoint("transcoder.after_claim")
        started = time.monotonic()
        outcome = "again"
        try:
            with Heart(self._jobs, lease, self.stopping, self._terms.beat_seconds) as heart:
                self._check_encoder(lease)
                self._steps[kind](lease, heart)
            outcome = "done"
        except _LeaseLost:
            outcome = "lost"
        except Cancelled:
            outcome = "lost" if heart.lost else "stopped"
            self._jobs.give_back(lease, "The worker was stopped.", 0.0, counted=False)
        except Exception as error:
            outcome = self._cope(lease, error)
            if not isinstance(error, TranscoderError):
                raise
        finally:
            PART_SECONDS.labels(kind, outcome).observe(time.monotonic() - started)
            log.info("part ended", job_id=job_id, kind=kind, number=number, outcome=outcome)

    def _cope(self, lease: Lease, error: Exception) -> str:
        """Write down what went wrong, and what is next; the outcome in one word."""
        tired = lease.attempts >= self._terms.attempts
        if isinstance(error, StorageAway | OutOfSpace | NotReady):
            log.warning("part waits for its surroundings", job_id=lease.job.id, error=str(error))
            self._jobs.give_back(lease, str(error), AWAY_SECONDS, counted=False)
            return "again"
        if lease.kind is Kind.FIRST and (tired or isinstance(error, Refused | Passing)):
            # a convenience: its failure is no failure of the lesson
            log.warning("nothing can be shown before the lesson is whole", job_id=lease.job.id, error=str(error))
            self._jobs.finish(lease, Done({}), 0.0)
            return "failed"
        if isinstance(error, Refused):
            return self._fail(lease, str(error), error.detail)
        if isinstance(error, NoSuchObject):
            return self._fail(lease, GONE, str(error))
        if tired:
            return self._fail(lease, OUR_FAULT, f"{type(error).__name__}: {error}")
        wait = min(LONGEST_BACKOFF_SECONDS, self._terms.backoff_seconds * 2.0 ** (lease.attempts - 1))
        log.warning("part is tried again", job_id=lease.job.id, kind=lease.kind, error=str(error), wait_seconds=wait)
        self._jobs.give_back(lease, f"{type(error).__name__}: {error}", wait, counted=True)
        return "again"

    def _fail(self, lease: Lease, reason: str, detail: str) -> str:
        if self._jobs.fail(lease.job.id, reason, detail):
            JOBS_ENDED.labels("failed").inc()
            log.warning("job failed", job_id=lease.job.id, reason=reason)
        self._scratch.forget(lease.job.id)
        return "failed"

    def _check_encoder(self, lease: Lease) -> None:
        """Bytes of two builds do not fit each other; after long, the build that is here makes all of it."""
        plan = lease.job.plan
        if plan is None or plan.encoder == self._ffmpeg.build or lease.kind is Kind.PUBLISH:
            return
        self._jobs.give_back(lease, "It was begun with another build of ffmpeg.", AWAY_SECONDS, counted=False)
        if self._jobs.replan(lease.job.id):
            log.warning("job is planned anew for this build of ffmpeg", job_id=lease.job.id)
        raise _LeaseLost

    # The steps. Each raises _LeaseLost where its result came too late.

    def _plan(self, lease: Lease, heart: Heart) -> None:
        self._jobs.started(lease)
        job = lease.job
        with self._upload(job, heart) as folder:
            upload = folder / _UPLOAD_NAME
            prepared = prepare(upload, folder, self._ffmpeg, self._terms.recipe, cancelled=heart.stop)
            if heart.stop():
                raise Cancelled("The work was cancelled.")
            plan = make_plan(prepared.source, prepared.sha256, self._ffmpeg.build, self._terms.recipe)
        rewrapped = prepared.path != upload
        _kept(self._jobs.planned(lease, plan, rewrapped, show_first=has_first(plan)))

    def _first(self, lease: Lease, heart: Heart) -> None:
        with self._parts_of(lease, heart) as (plan, source, folder, shipment):
            (folder / FIRST_FOLDER).mkdir()
            first = make_first(plan, source, folder / FIRST_FOLDER, self._ffmpeg, cancelled=heart.stop)
            shipment.send_all()
            files = shipment.arrived()
            prefix = lease.job.prefix + FIRST_FOLDER
            for name, text in first.playlists.items():
                files[FIRST_FOLDER + name] = self._objects.put(prefix + name, text.encode())
            failpoint("transcoder.after_first")
        self._jobs.show_first(lease, prefix + MASTER_NAME, Done(files))

    def _video(self, lease: Lease, heart: Heart) -> None:
        with self._parts_of(lease, heart) as (plan, source, folder, shipment):
            chunk = plan.chunks[lease.number]
            seconds = float(chunk.frames / plan.rate)
            started = time.monotonic()

            def advance(progress: Progress) -> None:
                heart.done_seconds = min(seconds, float(progress.frames / plan.rate))

            parts = encode_chunk(
                plan,
                chunk,
                source,
                folder,
                self._ffmpeg,
                on_progress=advance,
                cancelled=heart.stop,
                on_segment=shipment.send,
            )
            if lease.number > 0:
                # all chunks have the same initialisation, and one of them sends it
                for rung in plan.rungs:
                    (folder / rung.name / INIT_NAME).unlink()
            SPEED.observe(seconds / max(0.001, time.monotonic() - started))
            self._deliver(lease, shipment, parts, seconds)

    def _audio(self, lease: Lease, heart: Heart) -> None:
        with self._parts_of(lease, heart) as (plan, source, folder, shipment):

            def advance(progress: Progress) -> None:
                heart.done_seconds = progress.seconds

            sound = plan.sounds[lease.number]
            part = encode_audio(plan, sound, source, folder, self._ffmpeg, on_progress=advance, cancelled=heart.stop)
            self._deliver(lease, shipment, [part], float(plan.duration_seconds))

    def _stills(self, lease: Lease, heart: Heart) -> None:
        with self._parts_of(lease, heart) as (plan, source, folder, shipment):
            make_stills(plan, source, folder, self._ffmpeg, cancelled=heart.stop)
            self._deliver(lease, shipment, [], 0.0)

    def _publish(self, lease: Lease, heart: Heart) -> None:
        results = self._jobs.results(lease.job.id)
        failpoint("transcoder.before_publish")
        if lost := absent(lease.job, results, self._objects):
            log.warning("objects are missing in S3, their parts are made again", job_id=lease.job.id, parts=len(lost))
            self._jobs.send_back(lease, lost)
            raise _LeaseLost
        master = publish(lease.job, results, self._objects)
        _kept(self._jobs.complete(lease, master, self._terms.today()))
        JOBS_ENDED.labels("completed").inc()
        self._scratch.forget(lease.job.id)

    def _deliver(self, lease: Lease, shipment: Shipment, parts: list[Part], seconds: float) -> None:
        failpoint("transcoder.after_encode")
        shipment.send_all()
        files = shipment.arrived()
        failpoint("transcoder.after_upload")
        _kept(self._jobs.finish(lease, Done(files, dump_parts(parts)), seconds))
        MEDIA_SECONDS.labels(lease.kind).inc(seconds)
        failpoint("transcoder.after_finish")

    @contextmanager
    def _parts_of(self, lease: Lease, heart: Heart) -> Iterator[tuple[Plan, Path, Path, Shipment]]:
        """The plan, the file to cut, an empty folder, and the way from there to S3."""
        job = lease.job
        assert job.plan is not None
        with self._upload(job, heart) as uploaded, self._scratch.work() as folder:
            source = uploaded / (REWRAPPED_NAME if job.rewrapped else _UPLOAD_NAME)
            with Shipment(self._objects, folder, job.prefix, heart.stop) as shipment:
                yield job.plan, source, folder, shipment

    @contextmanager
    def _upload(self, job: Job, heart: Heart) -> Iterator[Path]:
        """The folder with the job's upload, fetched once on this worker, and proved to be what was planned for."""

        def fetch(folder: Path) -> None:
            path = folder / _UPLOAD_NAME
            self._objects.download(job.source_key, job.source_etag, job.source_bytes, path, heart.stop)
            if job.plan is None:
                return
            if job.rewrapped:
                prepare(path, folder, self._ffmpeg, job.plan.recipe, cancelled=heart.stop)
            elif file_sha256(path, heart.stop) != job.plan.source_sha256 and not heart.stop():
                raise StorageAway("S3 sent other bytes than those that were planned for.")

        with self._scratch.upload(job.id, job.source_bytes, fetch) as folder:
            if heart.stop():
                raise Cancelled("The work was cancelled.")
            yield folder


def _kept(kept: bool) -> None:
    if not kept:
        raise _LeaseLost
