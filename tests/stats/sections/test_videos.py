"""What lessons store is read from their jobs, and from their parts only where an older release completed them."""

from datetime import date
from zoneinfo import ZoneInfo

import pytest

from services.stats.days import Days
from tests.stats.school import Connection, count

DAY = date(2026, 3, 5)
DAYS = Days(DAY, DAY, ZoneInfo("UTC"))

_JOB = """
WITH course AS (INSERT INTO courses (title) VALUES ('Optics') RETURNING id),
job AS (
    INSERT INTO transcode_jobs (course_id, source_key, source_etag, source_bytes, uploaded_at, state, finished_at,
        stored_bytes)
    SELECT id, 'uploads/1/a', '"1"', 900, now(), 'completed', '2026-03-05 09:00+00', %s FROM course RETURNING id
)
INSERT INTO transcode_chunks (job_id, kind, number, state, due_at, result)
SELECT id, kind, 0, 'done', now(), '{"files": {"a": 300, "b": 40}}' FROM job,
    unnest(ARRAY['video', 'audio', 'first']) AS kind
"""


@pytest.mark.parametrize(("stored_bytes", "reported"), [(5000, 5000), (0, 0), (None, 680)])
def test_what_a_lesson_stores_is_said_once(connection: Connection, stored_bytes: int | None, reported: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO users (created_at) VALUES ('2026-03-01')")
        cursor.execute(_JOB, (stored_bytes,))

    assert count(connection, DAYS)[DAY]["content.video_bytes"] == reported
