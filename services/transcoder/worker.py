"""The transcoder's worker: the actors on queue `videos`, and the threads that keep them company."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from dramatiq import Broker
from dramatiq.middleware import Middleware

from services.transcoder.errors import UnknownCourse
from services.transcoder.ffmpeg import Ffmpeg, Limits
from services.transcoder.job_settings import WorkerSettings
from services.transcoder.jobs import SERVICE
from services.transcoder.locks import Locksmith
from services.transcoder.patience import PatientEngine
from services.transcoder.recipe import Recipe
from services.transcoder.scratch import Scratch
from services.transcoder.sql_jobs import SqlJobs
from services.transcoder.sql_keys import SqlKeys
from services.transcoder.sweep import Sweep, Sweeper
from services.transcoder.workshop import Terms, Workshop
from shared.contracts.videos import EncodeAudio, EncodeChunk, PublishLesson, TranscodeVideo
from shared.runtime.broker import build_broker
from shared.runtime.database import build_engine
from shared.runtime.messaging import handles
from shared.runtime.metrics import serve_metrics
from shared.runtime.operated import operated
from shared.runtime.publisher import Publisher
from shared.runtime.relay import Relay
from shared.runtime.worker import Companion, run_worker

#: Never reached: ffmpeg has a deadline and a watchdog of its own, and no correctness depends on the message.
TIME_LIMIT_MS = 3 * 3600 * 1000


def run(settings: WorkerSettings) -> int:
    """Work until told to stop; returns the exit status. An encoder has one thread; parts at once use the others."""
    url = settings.database_url.get_secret_value()
    rabbitmq_url = settings.rabbitmq_url.get_secret_value()
    # one for each part, one for its lease
    engine = build_engine(url, pool_size=2 * settings.jobs + 1, application="nouba transcoder")
    company = build_engine(url, pool_size=4, application="nouba transcoder relay")
    relay = Relay(company, Publisher(rabbitmq_url), SERVICE)
    jobs = SqlJobs(PatientEngine(engine), settings.lease_seconds)
    storage, scratch = settings.storage, Scratch(settings.scratch_dir, settings.scratch_reserve_bytes)
    terms = Terms(
        recipe=Recipe(preset=settings.preset, chunk_seconds=settings.chunk_seconds),
        today=lambda: datetime.now(settings.zone).date(),
        attempts=settings.part_attempts,
        backoff_seconds=settings.part_backoff_seconds,
        beat_seconds=min(1.0, settings.lease_seconds / 3),
    )
    limits = Limits(memory_bytes=settings.ffmpeg_memory_bytes)
    ffmpeg = Ffmpeg(settings.ffmpeg, settings.ffprobe, confinement=settings.sandbox, limits=limits)
    locksmith = Locksmith(SqlKeys(PatientEngine(engine)), settings.transcoder_encrypt, settings.transcoder_key_url)
    workshop = Workshop(jobs, storage, scratch, ffmpeg, locksmith, terms)
    broker = build_broker(rabbitmq_url)
    broker.add_middleware(_Stopping(workshop))
    declare(broker, workshop, relay.wake)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, settings.metrics_host)
    sweep = Sweep(
        company,
        storage,
        scratch,
        orphan_age=timedelta(hours=settings.orphan_hours),
        upload_age=timedelta(hours=settings.upload_hours),
    )
    in_hand = operated(broker, company, rabbitmq_url, ["videos"])
    companions: list[Companion] = [relay, Sweeper(sweep, relay.wake), *in_hand]
    try:
        return run_worker(broker, ["videos"], threads=settings.jobs, prefetch=settings.jobs, companions=companions)
    finally:
        scratch.close()


def declare(broker: Broker, workshop: Workshop, wake: Callable[[], None]) -> None:
    """The service's actors. A message that is lost or dead costs nothing: its row is still there and due again."""
    on = partial(
        handles,
        broker,
        max_retries=8,
        min_backoff_ms=1000,
        max_backoff_ms=15 * 60_000,
        time_limit_ms=TIME_LIMIT_MS,
        permanent=(UnknownCourse,),
    )

    @on(TranscodeVideo)
    def transcode(message: TranscodeVideo) -> None:
        workshop.transcode(message.course_id, message.source_key)
        wake()

    @on(EncodeChunk)
    def encode_chunk(message: EncodeChunk) -> None:
        workshop.encode_chunk(message.job_id, message.chunk)
        wake()

    @on(EncodeAudio)
    def encode_audio(message: EncodeAudio) -> None:
        workshop.encode_audio(message.job_id)
        wake()

    @on(PublishLesson)
    def publish(message: PublishLesson) -> None:
        workshop.publish(message.job_id)
        wake()


class _Stopping(Middleware):
    """Tells the workshop that the worker is to end: a chunk of a minute is given back, not waited for."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    def before_worker_shutdown(self, broker: Broker, worker: object) -> None:
        self._workshop.stopping.set()
