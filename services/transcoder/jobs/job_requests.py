"""Carries out requests on jobs: cancel, retry, delete, publish captions and chapters.

The gateway writes one word into `transcode_jobs.requested`. A thread of every worker reads it each second, because a
message would wait behind the tasks of lessons. A request may be done twice, by two workers or after a crash.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import structlog

from services.transcoder.errors import NoSuchObjectError, TranscoderError, UnknownJobError
from services.transcoder.hls.captions import captioned_master, captioned_name, first_media, rendition
from services.transcoder.hls.chapters import chapter_list, chapters_name, with_chapters
from services.transcoder.hls.dash import MANIFEST_NAME, captioned_manifest, manifest_name
from services.transcoder.hls.playlists import MASTER_NAME
from services.transcoder.jobs.postgres_captions import CaptionedLesson, PostgresCaptionStore
from services.transcoder.jobs.postgres_job_requests import PostgresRequestStore, Request
from services.transcoder.jobs.postgres_jobs import PostgresJobStore
from services.transcoder.metrics import REMOVED
from services.transcoder.storage.s3 import Storage
from shared.runtime.periodic_thread import PeriodicThread

#: Segments of captions are small, and many.
_SENDERS = 8
POLL_SECONDS = 1.0

log = structlog.get_logger(__name__)


def request_thread(requests: "VideoRequests", wake: Callable[[], None]) -> PeriodicThread:
    """The thread that does it; `wake` is called when something was done."""

    def handle() -> None:
        if requests.handle():
            wake()

    return PeriodicThread("requests", handle, POLL_SECONDS)


class VideoRequests:
    """Each call is one round."""

    def __init__(
        self, asked: PostgresRequestStore, jobs: PostgresJobStore, captions: PostgresCaptionStore, storage: Storage
    ) -> None:
        self._asked, self._jobs, self._captions, self._storage = asked, jobs, captions, storage

    def handle(self) -> int:
        """Do what is asked of any job now; how many requests that were."""
        done = 0
        for request in self._asked.requests():
            try:
                done += self._do(request)
            except TranscoderError as error:
                # S3 is away, say: the next round tries again, and this one goes on with what others ask
                log.warning("a request waits", job_id=request.job_id, requested=request.what, reason=str(error))
        return done

    def _do(self, request: Request) -> bool:
        if request.what == "captions":
            return self._caption(request)
        try:
            if request.what == "delete" and not self._delete(request.job_id):
                # a worker is still at it; a later round finds it stopped
                return False
            if request.what == "cancel":
                self._jobs.cancel(request.job_id)
            if request.what == "retry":
                self._jobs.retry(request.job_id)
        except UnknownJobError as error:
            log.warning("a request was dropped", job_id=request.job_id, requested=request.what, reason=str(error))
        self._asked.answered(request)
        log.info("a request was done", job_id=request.job_id, requested=request.what)
        return True

    def _caption(self, request: Request) -> bool:
        """Publish the lesson's captions and chapters and a master that names them, and let the course show it."""
        lesson = self._captions.captions(request.job_id)
        if lesson is None:
            self._asked.answered(request)
            return True
        name = captioned_name(lesson.captions, lesson.chapters)
        if name != MASTER_NAME:
            master = self._storage.text(lesson.prefix + MASTER_NAME)
            if lesson.captions:
                media = self._storage.text(lesson.prefix + first_media(master))
                for track in lesson.captions:
                    self._put_all(lesson.prefix, rendition(track, media))
                master = captioned_master(master, lesson.captions)
            if lesson.chapters is not None:
                if lesson.chapters:
                    listed = chapter_list(lesson.chapters, Fraction(lesson.duration_seconds))
                    self._storage.put(lesson.prefix + chapters_name(lesson.chapters), listed.encode())
                master = with_chapters(master, lesson.chapters)
            self._put_manifest(lesson, manifest_name(name))
            self._storage.put(lesson.prefix + name, master.encode())
        return self._captions.show_captions(request.job_id, lesson, name)

    def _put_manifest(self, lesson: CaptionedLesson, name: str) -> None:
        try:
            text = self._storage.text(lesson.prefix + MANIFEST_NAME)
        except NoSuchObjectError:
            # encrypted, or made before there were any
            return
        self._storage.put(lesson.prefix + name, captioned_manifest(text, lesson.captions).encode())

    def _put_all(self, prefix: str, files: Mapping[str, str]) -> None:
        """The playlist comes last in `files`, and last into the bucket."""
        *segments, playlist = files
        with ThreadPoolExecutor(_SENDERS, thread_name_prefix="captions") as senders:
            list(senders.map(lambda name: self._storage.put(prefix + name, files[name].encode()), segments))
        self._storage.put(prefix + playlist, files[playlist].encode())

    def _delete(self, job_id: int) -> bool:
        prefixes = self._jobs.withdraw(job_id)
        if prefixes is None:
            return False
        for prefix in prefixes:
            if removed := self._storage.remove(prefix):
                REMOVED.inc(removed)
        self._jobs.forget_keys(job_id)
        return True
