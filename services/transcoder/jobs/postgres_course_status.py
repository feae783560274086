"""Locks a course's row in PostgreSQL, and writes its transcoding status and its video."""

from sqlalchemy import Connection, select, update

from services.transcoder.errors import UnknownJobError
from shared.schema.tables import courses
from shared.schema.tables import transcode_jobs as jobs


def lock_course(connection: Connection, course_id: int) -> bool:
    lock = select(courses.c.id).where(courses.c.id == course_id).with_for_update(key_share=True)
    return connection.scalar(lock) is not None


def course_of(connection: Connection, job_id: int) -> int:
    course_id = connection.scalar(select(jobs.c.course_id).where(jobs.c.id == job_id))
    if course_id is None:
        raise UnknownJobError(f"There is no job {job_id}: `nouba transcoder jobs` lists them.")
    return int(course_id)


def set_course(connection: Connection, course_id: int, **values: str) -> None:
    connection.execute(update(courses).where(courses.c.id == course_id).values(values))
