"""Content: chapters and lessons, and the states of their videos."""

from services.stats.days import Days
from services.stats.sections import videos
from services.stats.sections.base import (
    FOREVER,
    MetricDefinition,
    Query,
    Rules,
    Section,
    Unit,
    Values,
    breakdown,
    by_bucket,
    keyed,
    running,
)

NUMBERS = (
    MetricDefinition("chapters", Unit.COUNT, "Chapters created before the day's end.", reach_days=FOREVER),
    MetricDefinition("chapters_new", Unit.COUNT, "Chapters created in the day."),
    MetricDefinition(
        "chapters_by_year", Unit.COUNT, "Chapters created before the day's end.", by="year they are for", observed=True
    ),
    MetricDefinition("courses", Unit.COUNT, "Lessons created before the day's end.", reach_days=FOREVER),
    MetricDefinition("courses_new", Unit.COUNT, "Lessons created in the day."),
    MetricDefinition(
        "courses_with_video", Unit.COUNT, "Lessons created before the day's end that have a video.", observed=True
    ),
    MetricDefinition(
        "courses_with_pdf", Unit.COUNT, "Lessons created before the day's end that have a PDF summary.", observed=True
    ),
    MetricDefinition(
        "videos_by_status",
        Unit.COUNT,
        "Lessons created before the day's end, by how far the transcoding of their video is.",
        by="status",
        observed=True,
    ),
    *videos.NUMBERS,
)

_CHAPTERS = """
SELECT bucket, year_target, grouping(year_target) AS kind, count(*) AS chapters
FROM (SELECT width_bucket(created_at, %(edges)s) AS bucket, year_target FROM chapters) AS found
GROUP BY GROUPING SETS ((bucket), (bucket, year_target))
"""

_COURSES = """
SELECT bucket, transcoding_status AS status, count(*) AS courses, count(video_ref) AS with_video,
       count(pdf_summary) AS with_pdf
FROM (SELECT width_bucket(created_at, %(edges)s) AS bucket, transcoding_status, video_ref, pdf_summary FROM courses)
     AS found
GROUP BY bucket, transcoding_status
"""


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    rows = ask(_CHAPTERS, edges=days.edges)
    chapters_new = by_bucket(days, ((row.bucket, row.chapters) for row in rows if row.kind == 1))
    found = keyed(days, ((row.bucket, row.year_target, row.chapters) for row in rows if row.kind == 0))
    years = {key: running(counts) for key, counts in found.items()}
    rows = ask(_COURSES, edges=days.edges)
    courses_new = by_bucket(days, ((row.bucket, row.courses) for row in rows))
    with_video = running(by_bucket(days, ((row.bucket, row.with_video) for row in rows)))
    with_pdf = running(by_bucket(days, ((row.bucket, row.with_pdf) for row in rows)))
    found = keyed(days, ((row.bucket, row.status, row.courses) for row in rows if row.status is not None))
    statuses = {key: running(counts) for key, counts in found.items()}
    chapters, courses = running(chapters_new), running(courses_new)
    films = videos.compute(ask, days)
    return {
        day: {
            "chapters": chapters[bucket],
            "chapters_new": chapters_new[bucket],
            "chapters_by_year": breakdown(years, bucket),
            "courses": courses[bucket],
            "courses_new": courses_new[bucket],
            "courses_with_video": with_video[bucket],
            "courses_with_pdf": with_pdf[bucket],
            "videos_by_status": breakdown(statuses, bucket),
            **films[day],
        }
        for bucket, day in enumerate(days, start=1)
    }


SECTION = Section("content", NUMBERS, compute, source="chapters, courses, transcode_jobs")
