"""Use case: runs one leased task of any kind: downloads its input, encodes, uploads, and records the result."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import structlog

from services.transcoder.encoding.captions import read_captions
from services.transcoder.encoding.early_preview import has_preview, make_preview
from services.transcoder.encoding.encode import encode_audio, encode_chunk, warnings_of
from services.transcoder.encoding.plan_lesson import plan_lesson
from services.transcoder.encoding.thumbnails import make_stills
from services.transcoder.errors import JobCancelledError, TransientError
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.ffmpeg.progress import Progress
from services.transcoder.hls.encryption_policy import EncryptionPolicy
from services.transcoder.hls.playlists import MASTER_NAME
from services.transcoder.hls.segment_metadata import INIT_NAME, RenditionSlice, dump_parts
from services.transcoder.inspection.inspect_and_rewrap import REWRAPPED_NAME, file_sha256, prepare
from services.transcoder.jobs.heartbeat import LeaseHeartbeat, LeaseLostError
from services.transcoder.jobs.model import PREVIEW_FOLDER, Job, JobStore, Lease, TaskKind, TaskResult
from services.transcoder.jobs.publish_playlists import missing_objects, publish
from services.transcoder.jobs.scratch import ScratchSpace
from services.transcoder.metrics import JOBS_ENDED, MEDIA_SECONDS, SPEED
from services.transcoder.planning.damage import Damage
from services.transcoder.planning.plan import Plan
from services.transcoder.planning.profile import EncodingProfile
from services.transcoder.speech.transcript import task_count
from services.transcoder.storage.object_store import ObjectStore
from services.transcoder.storage.segment_uploader import SegmentUploader
from shared.runtime.failpoints import failpoint

_UPLOAD_NAME = "upload"
#: How often a lesson whose objects are missing is made again before it is given up.
MAX_SENT_BACK = 3

log = structlog.get_logger(__name__)


class TaskRunner:
    """One worker's tools, and what it does with them. `today` is the day in the school's zone.

    `captions` has the sound of each lesson transcribed, once the lesson is whole.
    """

    def __init__(
        self,
        jobs: JobStore,
        objects: ObjectStore,
        scratch: ScratchSpace,
        ffmpeg: Ffmpeg,
        encryption_policy: EncryptionPolicy,
        recipe: EncodingProfile,
        today: Callable[[], date],
        *,
        captions: bool = False,
    ) -> None:
        self._jobs, self._objects, self._scratch, self._ffmpeg = jobs, objects, scratch, ffmpeg
        self._encryption_policy = encryption_policy
        self._recipe, self._today, self._captions = recipe, today, captions
        self._steps = {
            TaskKind.PLAN: self._plan,
            TaskKind.FIRST: self._preview,
            TaskKind.VIDEO: self._video,
            TaskKind.AUDIO: self._audio,
            TaskKind.STILLS: self._stills,
            TaskKind.PUBLISH: self._publish,
        }

    def make(self, lease: Lease, heartbeat: LeaseHeartbeat) -> None:
        """Do the task and write down that it is done."""
        self._steps[lease.kind](lease, heartbeat)

    def _plan(self, lease: Lease, heartbeat: LeaseHeartbeat) -> None:
        self._jobs.started(lease)
        job = lease.job
        with self._upload(job, heartbeat) as folder:
            upload = folder / _UPLOAD_NAME
            prepared = prepare(upload, folder, self._ffmpeg, self._recipe, cancelled=heartbeat.stop)
            if heartbeat.stop():
                raise JobCancelledError("The work was cancelled.")
            captions = read_captions(prepared.source, upload, folder, self._ffmpeg, heartbeat.stop)
            clear = plan_lesson(prepared, self._recipe, folder, self._ffmpeg, cancelled=heartbeat.stop)
            plan = self._encryption_policy.lock(clear, job.course_id)
        rewrapped = prepared.path != upload
        _kept(self._jobs.planned(lease, plan, rewrapped, show_preview=has_preview(plan), captions=captions))

    def _preview(self, lease: Lease, heartbeat: LeaseHeartbeat) -> None:
        with self._task_inputs(lease, heartbeat) as (plan, source, folder, uploader):
            (folder / PREVIEW_FOLDER).mkdir()
            key = self._encryption_policy.key(plan)
            first = make_preview(plan, source, folder / PREVIEW_FOLDER, self._ffmpeg, key=key, cancelled=heartbeat.stop)
            uploader.send_all()
            files = uploader.arrived()
            prefix = lease.job.prefix + PREVIEW_FOLDER
            for name, text in first.playlists.items():
                files[PREVIEW_FOLDER + name] = self._objects.put(prefix + name, text.encode())
            failpoint("transcoder.after_first")
        self._jobs.show_preview(lease, prefix + MASTER_NAME, TaskResult(files))

    def _video(self, lease: Lease, heartbeat: LeaseHeartbeat) -> None:
        with self._task_inputs(lease, heartbeat) as (plan, source, folder, uploader):
            chunk = plan.chunks[lease.number]
            seconds = float(chunk.frames / plan.rate)
            started = time.monotonic()
            damage: list[Damage] = []

            def advance(progress: Progress) -> None:
                heartbeat.done_seconds = min(seconds, float(progress.frames / plan.rate))

            parts = encode_chunk(
                plan,
                chunk,
                source,
                folder,
                self._ffmpeg,
                key=self._encryption_policy.key(plan),
                on_progress=advance,
                on_damage=damage.append,
                cancelled=heartbeat.stop,
                on_segment=uploader.send,
            )
            if lease.number > 0:
                # all chunks have the same initialisation, and one of them sends it
                for rung in plan.rungs:
                    (folder / rung.name / INIT_NAME).unlink()
            SPEED.observe(seconds / max(0.001, time.monotonic() - started))
            self._deliver(lease, uploader, parts, seconds, damage)

    def _audio(self, lease: Lease, heartbeat: LeaseHeartbeat) -> None:
        with self._task_inputs(lease, heartbeat) as (plan, source, folder, uploader):
            damage: list[Damage] = []

            def advance(progress: Progress) -> None:
                heartbeat.done_seconds = progress.seconds

            sound = plan.sounds[lease.number]
            part = encode_audio(
                plan,
                sound,
                source,
                folder,
                self._ffmpeg,
                upload=source.with_name(_UPLOAD_NAME),
                key=self._encryption_policy.key(plan),
                on_progress=advance,
                on_damage=damage.append,
                cancelled=heartbeat.stop,
            )
            self._deliver(lease, uploader, [part], float(plan.duration_seconds), damage)

    def _stills(self, lease: Lease, heartbeat: LeaseHeartbeat) -> None:
        with self._task_inputs(lease, heartbeat) as (plan, source, folder, uploader):
            make_stills(plan, source, folder, self._ffmpeg, cancelled=heartbeat.stop)
            self._deliver(lease, uploader, [], 0.0)

    def _publish(self, lease: Lease, heartbeat: LeaseHeartbeat) -> None:
        results = self._jobs.results(lease.job.id)
        failpoint("transcoder.before_publish")
        if lost := missing_objects(lease.job, results, self._objects):
            if lease.attempts > MAX_SENT_BACK:
                raise TransientError(f"S3 lost what was sent there, again and again; {len(lost)} tasks this time.")
            log.warning("objects are missing in S3, their tasks are made again", job_id=lease.job.id, parts=len(lost))
            self._jobs.requeue(lease, lost)
            raise LeaseLostError
        assert lease.job.plan is not None
        warnings = warnings_of(lease.job.plan, [damage for done in results.values() for damage in done.damage])
        key = self._encryption_policy.key(lease.job.plan)
        master = publish(lease.job, results, self._objects, key.lock if key else None)
        speech_tasks = task_count(lease.job.plan) if self._captions else 0
        _kept(self._jobs.complete(lease, master, self._today(), warnings, speech_tasks=speech_tasks))
        JOBS_ENDED.labels("completed").inc()
        self._scratch.forget(lease.job.id)

    def _deliver(
        self,
        lease: Lease,
        uploader: SegmentUploader,
        parts: list[RenditionSlice],
        seconds: float,
        damage: Sequence[Damage] = (),
    ) -> None:
        failpoint("transcoder.after_encode")
        uploader.send_all()
        files = uploader.arrived()
        failpoint("transcoder.after_upload")
        _kept(self._jobs.finish(lease, TaskResult(files, dump_parts(parts), damage), seconds))
        MEDIA_SECONDS.labels(lease.kind).inc(seconds)
        failpoint("transcoder.after_finish")

    @contextmanager
    def _task_inputs(
        self, lease: Lease, heartbeat: LeaseHeartbeat
    ) -> Iterator[tuple[Plan, Path, Path, SegmentUploader]]:
        """The plan, the file to cut, an empty folder, and the way from there to S3."""
        job = lease.job
        assert job.plan is not None
        with self._upload(job, heartbeat) as uploaded, self._scratch.work() as folder:
            source = uploaded / (REWRAPPED_NAME if job.rewrapped else _UPLOAD_NAME)
            with SegmentUploader(self._objects, folder, job.prefix, heartbeat.stop) as uploader:
                yield job.plan, source, folder, uploader

    @contextmanager
    def _upload(self, job: Job, heartbeat: LeaseHeartbeat) -> Iterator[Path]:
        """The folder with the job's upload, fetched once on this worker, and proved to be what was planned for."""

        def fetch(folder: Path) -> None:
            path = folder / _UPLOAD_NAME
            self._objects.download(job.source_key, job.source_etag, job.source_bytes, path, heartbeat.stop)
            if job.plan is None:
                return
            if job.rewrapped:
                prepare(path, folder, self._ffmpeg, job.plan.recipe, cancelled=heartbeat.stop)
            elif file_sha256(path, heartbeat.stop) != job.plan.source_sha256 and not heartbeat.stop():
                raise TransientError("S3 sent other bytes than those that were planned for.")

        with self._scratch.upload(job.id, job.source_bytes, fetch) as folder:
            if heartbeat.stop():
                raise JobCancelledError("The work was cancelled.")
            yield folder


def _kept(kept: bool) -> None:
    if not kept:
        raise LeaseLostError
