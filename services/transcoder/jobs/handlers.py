"""Message handlers of queue `videos`: run a task; retry, release or fail it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import structlog

from services.transcoder.errors import (
    EnvironmentNotReadyError,
    JobCancelledError,
    NoSuchObjectError,
    ObjectStoreUnavailableError,
    OutOfSpaceError,
    RejectedInputError,
    TranscoderError,
    TransientError,
    WrongOutputError,
)
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.encryption_policy import EncryptionPolicy
from services.transcoder.jobs.heartbeat import LeaseHeartbeat, LeaseLostError
from services.transcoder.jobs.model import JobStore, Lease, TaskKind, TaskResult, Upload
from services.transcoder.jobs.scratch import ScratchSpace
from services.transcoder.jobs.task_runner import TaskRunner
from services.transcoder.metrics import JOBS_ENDED, TASK_SECONDS
from services.transcoder.planning.profile import EncodingProfile
from services.transcoder.storage.object_store import ObjectStore
from shared.runtime.failpoints import failpoint

GONE = "The uploaded file is no longer there: upload it again."
OUR_FAULT = (
    "The video could not be converted because of a fault on our side: write to the school's operators, or try again."
)
WRONG_OUTPUT = (
    "The video could not be converted, because its pictures or their times do not fit together:"
    " export it again as MP4 (H.264 and AAC), and upload the new file."
)
#: The same bytes give the same measures: what is wrong so often stays wrong, unless the machine made it so.
MAX_WRONG_OUTPUTS = 3
#: How long a task waits whose fault is the surroundings': S3, the disk, the machine.
UNAVAILABLE_SECONDS = 15.0
MAX_BACKOFF_SECONDS = 15 * 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPolicy:
    """How this school's worker works."""

    recipe: EncodingProfile
    #: The day in the school's zone.
    today: Callable[[], date]
    attempts: int = 8
    #: The first wait after a fault; it doubles.
    backoff_seconds: float = 2.0
    #: How often a lease is renewed, and how soon a worker sees that its job was cancelled.
    beat_seconds: float = 1.0
    #: Whether lessons get automatic captions.
    captions: bool = False


class MessageHandlers:
    """One worker's tools. Its public methods are the messages."""

    def __init__(
        self,
        jobs: JobStore,
        objects: ObjectStore,
        scratch: ScratchSpace,
        ffmpeg: Ffmpeg,
        encryption_policy: EncryptionPolicy,
        terms: WorkerPolicy,
    ) -> None:
        self._jobs, self._objects, self._scratch, self._ffmpeg, self._terms = jobs, objects, scratch, ffmpeg, terms
        self._runner = TaskRunner(
            jobs, objects, scratch, ffmpeg, encryption_policy, terms.recipe, terms.today, captions=terms.captions
        )
        #: Set when the worker is to end: the task in hand is given back at once.
        self.stopping = threading.Event()

    def transcode(self, course_id: int, source_key: str) -> None:
        """An upload is complete: check it, plan its tasks, and show something soon."""
        try:
            found = self._objects.head(source_key)
        except NoSuchObjectError:
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
        self._do(job_id, TaskKind.PLAN, 0)
        self._do(job_id, TaskKind.FIRST, 0)

    def encode_chunk(self, job_id: int, chunk: int) -> None:
        """A chunk of the picture is due."""
        self._do(job_id, TaskKind.VIDEO, chunk)

    def encode_audio(self, job_id: int) -> None:
        """What stands beside the picture is due."""
        for kind, number in self._jobs.waiting(job_id, (TaskKind.AUDIO, TaskKind.STILLS)):
            self._do(job_id, kind, number)

    def publish(self, job_id: int) -> None:
        """All tasks are made."""
        self._do(job_id, TaskKind.PUBLISH, 0)

    def _do(self, job_id: int, kind: TaskKind, number: int) -> None:
        """Do one task, unless it is done, or somebody else does it. Ends with its row saying what became of it."""
        lease = self._jobs.claim(job_id, kind, number)
        if lease is None:
            return
        if self.stopping.is_set():
            # its message ends here; given back, it is due now, and not only when it is enqueued again
            self._jobs.release(lease, "The worker was stopped.", 0.0, counted=False)
            return
        failpoint("transcoder.after_claim")
        started = time.monotonic()
        outcome = "again"
        try:
            with LeaseHeartbeat(self._jobs, lease, self.stopping, self._terms.beat_seconds) as heartbeat:
                self._check_encoder(lease)
                self._runner.make(lease, heartbeat)
            outcome = "done"
        except LeaseLostError:
            outcome = "lost"
        except JobCancelledError:
            outcome = "lost" if heartbeat.lost else "stopped"
            self._jobs.release(lease, "The worker was stopped.", 0.0, counted=False)
        except Exception as error:
            outcome = self._cope(lease, error)
            if not isinstance(error, TranscoderError):
                raise
        finally:
            TASK_SECONDS.labels(kind, outcome).observe(time.monotonic() - started)
            log.info("task ended", job_id=job_id, kind=kind, number=number, outcome=outcome)

    def _cope(self, lease: Lease, error: Exception) -> str:
        """Write down what went wrong, and what is next; the outcome in one word."""
        tired = lease.attempts >= self._terms.attempts
        if isinstance(error, ObjectStoreUnavailableError | OutOfSpaceError | EnvironmentNotReadyError):
            log.warning("task waits for its surroundings", job_id=lease.job.id, error=str(error))
            self._jobs.release(lease, str(error), UNAVAILABLE_SECONDS, counted=False)
            return "again"
        if lease.kind is TaskKind.FIRST and (tired or isinstance(error, RejectedInputError | TransientError)):
            # a convenience: its failure is no failure of the lesson
            log.warning("nothing can be shown before the lesson is whole", job_id=lease.job.id, error=str(error))
            self._jobs.finish(lease, TaskResult({}), 0.0)
            return "failed"
        if isinstance(error, RejectedInputError):
            return self._fail(lease, str(error), error.detail)
        if isinstance(error, NoSuchObjectError):
            return self._fail(lease, GONE, str(error))
        if isinstance(error, WrongOutputError) and lease.attempts >= MAX_WRONG_OUTPUTS:
            return self._fail(lease, WRONG_OUTPUT, str(error))
        if tired:
            return self._fail(lease, OUR_FAULT, f"{type(error).__name__}: {error}")
        wait = min(MAX_BACKOFF_SECONDS, self._terms.backoff_seconds * 2.0 ** (lease.attempts - 1))
        log.warning("task is tried again", job_id=lease.job.id, kind=lease.kind, error=str(error), wait_seconds=wait)
        self._jobs.release(lease, f"{type(error).__name__}: {error}", wait, counted=True)
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
        if plan is None or plan.encoder == self._ffmpeg.build or lease.kind is TaskKind.PUBLISH:
            return
        self._jobs.release(lease, "It was begun with another build of ffmpeg.", UNAVAILABLE_SECONDS, counted=False)
        if self._jobs.replan(lease.job.id):
            log.warning("job is planned anew for this build of ffmpeg", job_id=lease.job.id)
        raise LeaseLostError
