"""Use case: transcribes one stretch of a published lesson at a time, while no video task waits for a worker."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import structlog

from services.transcoder.errors import (
    EnvironmentNotReadyError,
    JobCancelledError,
    ObjectStoreUnavailableError,
    OutOfSpaceError,
)
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.encryption_policy import EncryptionPolicy
from services.transcoder.hls.rendition_assembly import assemble_rendition
from services.transcoder.hls.segment_metadata import load_parts
from services.transcoder.jobs.heartbeat import LeaseHeartbeat, LeaseStore
from services.transcoder.jobs.model import Lease, TaskKind, TaskResult
from services.transcoder.jobs.scratch import ScratchSpace
from services.transcoder.metrics import MEDIA_SECONDS, TASK_SECONDS
from services.transcoder.speech.sound import SAMPLES_NAME, fetch_sound
from services.transcoder.speech.transcript import (
    SPEECH_TASK_SECONDS,
    Transcript,
    Word,
    speech_track,
    window,
    words_of_task,
)
from services.transcoder.storage.object_store import ObjectStore
from shared.runtime.failpoints import failpoint

#: How soon a worker sees that a task is due.
CHECK_EVERY_SECONDS = 1.0
#: How long a task waits for S3, the disk or the machine.
SERVER_RETRY_SECONDS = 15.0
BACKOFF_SECONDS = 30.0
#: Captions are a convenience: after so many faults the lesson has none.
ATTEMPTS = 3

log = structlog.get_logger(__name__)


class SpeechStore(LeaseStore, Protocol):
    """The tasks. Every method is one transaction, may be repeated, and waits for a database that is away."""

    def claim_speech(self) -> Lease | None:
        """The lease on a task that is due; None while any picture or sound waits."""
        ...

    def results(self, job_id: int) -> dict[tuple[TaskKind, int], TaskResult]:
        """What all finished tasks of the lesson left."""
        ...

    def language(self, job_id: int) -> str | None:
        """The language of the lesson, where an earlier task found it."""
        ...

    def heard(self, lease: Lease, transcript: Transcript) -> bool:
        """The task is done; with the last one, the lesson has captions. False where the lease was lost."""
        ...

    def give_up(self, lease: Lease, error: str) -> None:
        """The lesson gets no automatic captions."""
        ...

    def release(self, lease: Lease, error: str, wait_seconds: float, *, counted: bool) -> None:
        """The task waits for another attempt."""
        ...


class SpeechModel(Protocol):
    """What hears words in samples."""

    def transcribe(
        self, sound: Path, folder: Path, language: str | None = None, cancelled: Callable[[], bool] = ...
    ) -> Transcript:
        """What is said in `sound`, by its clock. Raises TransientError where a retry may help."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a transcriber works with."""

    objects: ObjectStore
    scratch: ScratchSpace
    ffmpeg: Ffmpeg
    keys: EncryptionPolicy
    model: SpeechModel


class Transcriber:
    """One task at a time: a model uses several processors, and stands back for everything else."""

    def __init__(self, store: SpeechStore, tools: Tools, stopping: threading.Event, beat_seconds: float = 1.0) -> None:
        self._store, self._tools, self._stopping, self._beat_seconds = store, tools, stopping, beat_seconds

    def work(self) -> bool:
        """Transcribe the task that is due; whether there was one."""
        if self._stopping.is_set():
            return False
        lease = self._store.claim_speech()
        if lease is None:
            return False
        started = time.monotonic()
        outcome = "again"
        try:
            with LeaseHeartbeat(self._store, lease, self._stopping, self._beat_seconds) as heartbeat:
                transcript = self._transcribe(lease, heartbeat.stop)
            outcome = "done" if self._store.heard(lease, transcript) else "lost"
            MEDIA_SECONDS.labels(lease.kind).inc(SPEECH_TASK_SECONDS)
        except JobCancelledError:
            outcome = "lost" if heartbeat.lost else "stopped"
            self._store.release(lease, "The worker was stopped.", 0.0, counted=False)
        except Exception as error:  # noqa: BLE001 - no fault of captions is a fault of the lesson
            outcome = self._cope(lease, error)
        finally:
            TASK_SECONDS.labels(lease.kind, outcome).observe(time.monotonic() - started)
            log.info("task ended", job_id=lease.job.id, kind=lease.kind, number=lease.number, outcome=outcome)
        # what failed waits, and others need not
        return True

    def _transcribe(self, lease: Lease, stop: Callable[[], bool]) -> Transcript:
        tools, job = self._tools, lease.job
        assert job.plan is not None
        number = speech_track(job.plan)
        assert number is not None, "a silent film has no tasks of speech"
        sound = self._store.results(job.id)[TaskKind.AUDIO, number]
        (rendition,) = assemble_rendition(load_parts([dict(part) for part in sound.parts])).values()
        key = tools.keys.key(job.plan)
        with tools.scratch.work() as folder:
            heard = window(lease.number)
            start = fetch_sound(rendition, job.prefix, heard, tools.objects, folder, tools.ffmpeg, key, stop)
            language = self._store.language(job.id)
            found = tools.model.transcribe(folder / SAMPLES_NAME, folder, language, stop)
        later = round(start * 1000)
        words = [Word(word.start_ms + later, word.end_ms + later, word.text) for word in found.words]
        failpoint("transcoder.after_speech")
        return replace(found, words=words_of_task(words, lease.number))

    def _cope(self, lease: Lease, error: Exception) -> str:
        """Write down what went wrong, and what is next; the outcome in one word."""
        message = f"{type(error).__name__}: {error}"
        is_away = isinstance(error, ObjectStoreUnavailableError | OutOfSpaceError | EnvironmentNotReadyError)
        log.warning("captions wait", job_id=lease.job.id, number=lease.number, error=message)
        if is_away or lease.attempts < ATTEMPTS:
            wait = SERVER_RETRY_SECONDS if is_away else BACKOFF_SECONDS * 2.0 ** (lease.attempts - 1)
            self._store.release(lease, message, wait, counted=not is_away)
            return "again"
        self._store.give_up(lease, message)
        return "failed"
