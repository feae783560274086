"""Use case: what the gateway does with an upload, from a terminal: a file to S3, and the word that it is there."""

from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Engine, select, update

from services.transcoder.errors import UnknownCourse, UnknownJob
from services.transcoder.jobs import SERVICE
from services.transcoder.standing import JobStanding, read_standings
from services.transcoder.storage import Storage
from services.transcoder.uploads import send_file, upload_key
from shared.contracts.videos import TranscodeVideo
from shared.runtime import outbox
from shared.schema.tables import courses


def submit(
    engine: Engine, storage: Storage, path: Path, course_id: int, advance: Callable[[int], None] = lambda _: None
) -> str:
    """Upload `path` for a course and promise its transcoding; the upload's key. Raises UnknownCourse, StorageAway."""
    with engine.connect() as connection:
        if connection.scalar(select(courses.c.id).where(courses.c.id == course_id)) is None:
            raise UnknownCourse(course_id)
    key = upload_key(course_id)
    send_file(storage, path, key, advance)
    with engine.begin() as connection:
        connection.execute(update(courses).where(courses.c.id == course_id).values(transcoding_status="pending"))
        outbox.add(connection, SERVICE, TranscodeVideo(course_id=course_id, source_key=key))
    return key


def follow(engine: Engine, source_key: str, wait: Callable[[], None]) -> Iterator[JobStanding | None]:
    """How far the job of an upload is, again and again until it is over; None while no worker has seen it."""
    while True:
        found = read_standings(engine, source_key=source_key, limit=1)
        yield found[0] if found else None
        if found and found[0].over:
            return
        wait()


def standing_of(engine: Engine, job_id: int) -> JobStanding:
    """How far one job is. Raises UnknownJob."""
    found = read_standings(engine, job_ids=[job_id])
    if not found:
        raise UnknownJob(f"There is no job {job_id}: `nouba transcoder jobs` lists them.")
    return found[0]
