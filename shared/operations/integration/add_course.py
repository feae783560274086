"""Adds one course, for a school that starts without courses of its own."""

from typing import Final

from sqlalchemy import Connection, Engine, text

from shared.runtime.visible_text import is_title

_COURSE: Final = text("""
INSERT INTO courses (id, title, chapter_id) VALUES (:id, :title, :chapter_id) ON CONFLICT (id) DO NOTHING RETURNING id
""")
_NEXT_COURSE: Final = text("""
INSERT INTO courses (title, chapter_id) VALUES (:title, :chapter_id) ON CONFLICT (id) DO NOTHING RETURNING id
""")
_CHAPTER: Final = text("SELECT id FROM chapters WHERE id = :id")
#: Ids that somebody chose do not move the sequence. It moves forward alone: numbers of removed courses stay used.
_PASS_CHOSEN_IDS: Final = text("""
SELECT setval(sequence, greatest(pg_sequence_last_value(sequence), (SELECT max(id) FROM courses)))
FROM CAST(pg_get_serial_sequence('courses', 'id') AS regclass) AS sequence
""")


class CourseFaultError(Exception):
    """The course cannot be added; the message says why."""


def add_course(engine: Engine, title: str, *, course_id: int | None = None, chapter_id: int | None = None) -> int:
    """The new course's id: `course_id`, or the next free one. Raises CourseFaultError."""
    try:
        title.encode()
    except UnicodeEncodeError:
        raise CourseFaultError("Give the course a title in UTF-8.") from None
    if not is_title(title):
        raise CourseFaultError("Give the course a title of one line, without characters of control or direction.")
    values: dict[str, int | str | None] = {"id": course_id, "title": title, "chapter_id": chapter_id}
    with engine.begin() as connection:
        if chapter_id is not None and connection.scalar(_CHAPTER, {"id": chapter_id}) is None:
            raise CourseFaultError(f"There is no chapter {chapter_id}: insert it first, or leave --chapter out.")
        if course_id is None:
            return _add_next(connection, values)
        if connection.scalar(_COURSE, values) is None:
            raise CourseFaultError(f"There is a course {course_id} already.")
        connection.execute(_PASS_CHOSEN_IDS)
    return course_id


def _add_next(connection: Connection, values: dict[str, int | str | None]) -> int:
    added: int | None = connection.scalar(_NEXT_COURSE, values)
    if added is None:
        connection.execute(_PASS_CHOSEN_IDS)
        added = connection.scalar(_NEXT_COURSE, values)
    if added is None:
        raise CourseFaultError("Another program adds courses at this moment: repeat the command.")
    return added
