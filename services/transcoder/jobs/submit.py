"""Uploads a local file and enqueues its transcoding, for `nouba transcoder submit`."""

from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Connection, select, update

from services.transcoder.errors import UnknownCourseError
from services.transcoder.jobs.status import JobStatus, read_statuses
from services.transcoder.storage.multipart_upload import send_file, upload_key
from services.transcoder.storage.s3 import Storage
from shared.contracts.routes import TRANSCODER
from shared.contracts.videos import TranscodeVideo
from shared.messaging import outbox
from shared.runtime.database import RetryingEngine
from shared.schema.tables import courses


def submit(
    database: RetryingEngine,
    storage: Storage,
    path: Path,
    course_id: int,
    advance: Callable[[int], None] = lambda _: None,
) -> str:
    """Upload `path` for a course and enqueue its transcoding; returns its key."""
    known = select(courses.c.id).where(courses.c.id == course_id)
    if database.run(lambda connection: connection.scalar(known)) is None:
        raise UnknownCourseError(course_id)
    key = upload_key(course_id)
    send_file(storage, path, key, advance)

    def enqueue_transcoding(connection: Connection) -> None:
        connection.execute(update(courses).where(courses.c.id == course_id).values(transcoding_status="pending"))
        outbox.enqueue(connection, TRANSCODER, TranscodeVideo(course_id=course_id, source_key=key))

    database.run(enqueue_transcoding)
    return key


def follow(database: RetryingEngine, source_key: str, wait: Callable[[], None]) -> Iterator[JobStatus | None]:
    """How far the job of an upload is, again and again until it is over; None while no worker has seen it."""
    while True:
        found = read_statuses(database, source_key=source_key, limit=1)
        yield found[0] if found else None
        if found and found[0].over:
            return
        wait()
