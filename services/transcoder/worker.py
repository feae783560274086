"""The transcoding worker: actors of queue `videos` and background threads."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from dramatiq import Broker
from dramatiq.middleware import Middleware
from sqlalchemy import Engine

from services.transcoder.errors import UnknownCourseError
from services.transcoder.ffmpeg.process import Ffmpeg, Limits
from services.transcoder.hls.encryption_policy import EncryptionPolicy
from services.transcoder.hls.postgres_keys import PostgresKeyStore
from services.transcoder.jobs.handlers import MessageHandlers, WorkerPolicy
from services.transcoder.jobs.job_requests import VideoRequests, request_thread
from services.transcoder.jobs.maintenance import Maintenance, maintenance_threads
from services.transcoder.jobs.postgres_captions import PostgresCaptionStore
from services.transcoder.jobs.postgres_job_requests import PostgresRequestStore
from services.transcoder.jobs.postgres_jobs import PostgresJobStore
from services.transcoder.jobs.postgres_speech import PostgresSpeechStore
from services.transcoder.jobs.scratch import ScratchSpace
from services.transcoder.jobs.transcriber import CHECK_EVERY_SECONDS, Tools, Transcriber
from services.transcoder.speech.whisper import Whisper
from services.transcoder.storage.s3 import Storage
from services.transcoder.worker_settings import WorkerSettings
from shared.contracts.routes import TRANSCODER
from shared.contracts.videos import EncodeAudio, EncodeChunk, PublishLesson, TranscodeVideo
from shared.messaging.actors import actor
from shared.messaging.broker import build_broker
from shared.messaging.relay import Relay, connections_of
from shared.messaging.worker import BackgroundThread, run_worker
from shared.operations.worker_threads import operator_threads
from shared.runtime.database import RetryingEngine, build_engine
from shared.runtime.metrics import serve_metrics
from shared.runtime.periodic_thread import PeriodicThread

#: Never reached: ffmpeg has a deadline and a watchdog of its own, and no correctness depends on the message.
TIME_LIMIT_MS = 3 * 3600 * 1000
#: A part of captions with a large model on an old processor, and once more.
MAX_SPEECH_SECONDS = 2 * 3600.0


def run(settings: WorkerSettings) -> int:
    """Work until stopped; returns the exit status. An encoder has one thread; parts at once use the others."""
    model = Whisper(settings.whisper) if settings.whisper else None
    url = settings.database_url.get_secret_value()
    rabbitmq_url = settings.rabbitmq_url.get_secret_value()
    # one for each part, one for its lease, one for what the school asks, two for captions
    at_once = settings.transcoder_concurrency
    connections = 2 * at_once + (4 if settings.whisper else 2)
    engine = build_engine(url, pool_size=connections, application="nouba transcoder")
    background = build_engine(url, pool_size=3 + connections_of(TRANSCODER), application="nouba transcoder relay")
    relay = Relay(background, rabbitmq_url, TRANSCODER)
    jobs = PostgresJobStore(RetryingEngine(engine), settings.transcoder_lease_seconds)
    storage, scratch = (
        settings.storage,
        ScratchSpace(settings.transcoder_scratch_dir, settings.transcoder_scratch_reserve_bytes),
    )
    limits = Limits(memory_bytes=settings.ffmpeg_memory_bytes)
    ffmpeg = Ffmpeg(settings.ffmpeg, settings.ffprobe, confinement=settings.sandbox, limits=limits)
    key_store = PostgresKeyStore(RetryingEngine(engine))
    encryption_policy = EncryptionPolicy(key_store, settings.transcoder_encrypt, settings.transcoder_key_url)
    handlers = MessageHandlers(jobs, storage, scratch, ffmpeg, encryption_policy, _policy(settings))
    broker = build_broker(rabbitmq_url)
    broker.add_middleware(_Stopping(handlers))
    declare(broker, handlers, relay.wake)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, settings.metrics_host)
    sweep = _sweep(settings, background, storage, scratch)
    asked = [
        _requests(engine, jobs, storage, relay.wake),
        *operator_threads(broker, background, rabbitmq_url, ["videos"]),
    ]
    speech = []
    if model:
        tools = Tools(objects=storage, scratch=scratch, ffmpeg=ffmpeg, keys=encryption_policy, model=model)
        speech.append(_speech(settings, engine, tools, handlers.stopping))
    loops: list[BackgroundThread] = [relay, *maintenance_threads(sweep, relay.wake), *asked, *speech]
    try:
        return run_worker(broker, ["videos"], threads=at_once, prefetch=at_once, background_threads=loops)
    finally:
        scratch.close()


def _policy(settings: WorkerSettings) -> WorkerPolicy:
    return WorkerPolicy(
        recipe=settings.recipe,
        today=lambda: datetime.now(settings.zone).date(),
        attempts=settings.transcoder_max_attempts,
        backoff_seconds=settings.transcoder_retry_seconds,
        beat_seconds=min(1.0, settings.transcoder_lease_seconds / 3),
        captions=settings.whisper is not None,
    )


def declare(broker: Broker, handlers: MessageHandlers, wake: Callable[[], None]) -> None:
    """The service's actors. A message that is lost or dead costs nothing: its row is still there and due again."""
    on = partial(
        actor,
        broker,
        max_retries=8,
        min_backoff_ms=1000,
        max_backoff_ms=15 * 60_000,
        time_limit_ms=TIME_LIMIT_MS,
        permanent=(UnknownCourseError,),
    )

    @on(TranscodeVideo)
    def transcode(message: TranscodeVideo) -> None:
        handlers.transcode(message.course_id, message.source_key)
        wake()

    @on(EncodeChunk)
    def encode_chunk(message: EncodeChunk) -> None:
        handlers.encode_chunk(message.job_id, message.chunk)
        wake()

    @on(EncodeAudio)
    def encode_audio(message: EncodeAudio) -> None:
        handlers.encode_audio(message.job_id)
        wake()

    @on(PublishLesson)
    def publish(message: PublishLesson) -> None:
        handlers.publish(message.job_id)
        wake()


def _sweep(settings: WorkerSettings, engine: Engine, storage: Storage, scratch: ScratchSpace) -> Maintenance:
    return Maintenance(
        engine,
        storage,
        scratch,
        orphan_age=timedelta(hours=settings.transcoder_orphan_ttl_hours),
        upload_age=timedelta(hours=settings.transcoder_upload_ttl_hours),
        upload_retention=timedelta(days=settings.retention_uploads_days) if settings.retention_uploads_days else None,
    )


def _requests(engine: Engine, jobs: PostgresJobStore, storage: Storage, wake: Callable[[], None]) -> PeriodicThread:
    database = RetryingEngine(engine)
    return request_thread(
        VideoRequests(PostgresRequestStore(database), jobs, PostgresCaptionStore(database), storage), wake
    )


def _speech(settings: WorkerSettings, engine: Engine, tools: Tools, stopping: threading.Event) -> PeriodicThread:
    parts = PostgresSpeechStore(RetryingEngine(engine), settings.transcoder_lease_seconds)
    transcriber = Transcriber(parts, tools, stopping, min(1.0, settings.transcoder_lease_seconds / 3))
    return PeriodicThread("captions", transcriber.work, CHECK_EVERY_SECONDS, late_after_seconds=MAX_SPEECH_SECONDS)


class _Stopping(Middleware):
    """Sets `stopping` when the worker ends: the lease of a chunk is released, not waited for."""

    def __init__(self, handlers: MessageHandlers) -> None:
        self._handlers = handlers

    def before_worker_shutdown(self, broker: Broker, worker: object) -> None:
        self._handlers.stopping.set()
