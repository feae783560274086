"""Videos of lessons: how many are ready, their length and size, and outcomes of transcoding."""

from services.stats.days import Days
from services.stats.sections.base import (
    FOREVER,
    MetricDefinition,
    Query,
    Unit,
    Value,
    Values,
    breakdown,
    by_bucket,
    keyed,
    rounded,
    running,
    span,
)

NUMBERS = (
    MetricDefinition(
        "videos", Unit.COUNT, "Lessons with a transcoding completed before the day's end.", reach_days=FOREVER
    ),
    MetricDefinition(
        "video_minutes",
        Unit.MINUTES,
        "How long the videos of `videos` are together, each by its last completed transcoding; rounded.",
        reach_days=FOREVER,
    ),
    MetricDefinition(
        "video_bytes",
        Unit.BYTES,
        "What these transcodings store: the sizes of the segments and stills, as they were sent.",
        reach_days=FOREVER,
    ),
    MetricDefinition(
        "uploaded_bytes", Unit.BYTES, "The sizes of the uploads whose transcoding was asked for in the day."
    ),
    MetricDefinition("transcodings", Unit.COUNT, "Transcodings that ended (finished_at) in the day.", by="outcome"),
    MetricDefinition(
        "transcode_p50",
        Unit.MILLISECONDS,
        "From the wish for a transcoding until it was completed in the day: half took at most this.",
    ),
    MetricDefinition("transcode_p95", Unit.MILLISECONDS, "The same: 95 of 100 took at most this."),
    MetricDefinition("transcode_max", Unit.MILLISECONDS, "The same: the longest."),
)

# A transcoding is what its lesson shows until the next one of the lesson is completed.
_SHOWN = """
SELECT begins, ends, count(*) AS videos, coalesce(sum(duration_ms), 0)::bigint AS duration_ms,
       coalesce(sum(bytes), 0)::bigint AS bytes
FROM (
    SELECT width_bucket(finished_at, %(edges)s) AS begins,
           coalesce(width_bucket(lead(finished_at) OVER (PARTITION BY course_id ORDER BY finished_at, id), %(edges)s),
                    %(never)s) AS ends,
           round(duration_seconds * 1000)::bigint AS duration_ms, coalesce(stored_bytes, given.bytes) AS bytes
    FROM transcode_jobs AS job
    -- a transcoder of an older release does not say it of the whole lesson
    LEFT JOIN LATERAL (
        SELECT sum(size::bigint) AS bytes
        FROM transcode_chunks, jsonb_each_text(result -> 'files') AS file (name, size)
        WHERE job_id = job.id AND kind IN ('video', 'audio', 'stills') AND job.stored_bytes IS NULL
    ) AS given ON true
    WHERE state = 'completed' AND finished_at < %(ends_at)s
) AS shown GROUP BY begins, ends
"""

_ENDED = """
SELECT width_bucket(finished_at, %(edges)s) AS bucket, state, count(*) AS jobs, max(took_ms) AS longest,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY took_ms) AS half,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY took_ms) AS most
FROM (SELECT finished_at, state, floor(extract(epoch FROM finished_at - created_at) * 1000)::bigint AS took_ms
      FROM transcode_jobs WHERE finished_at >= %(begins_at)s AND finished_at < %(ends_at)s) AS ended
GROUP BY bucket, state
"""

_UPLOADED = """
SELECT width_bucket(created_at, %(edges)s) AS bucket, sum(source_bytes)::bigint AS bytes FROM transcode_jobs
WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s GROUP BY bucket
"""


def compute(ask: Query, days: Days) -> Values:
    """The numbers above, for every one of `days`."""
    shown = ask(_SHOWN, edges=days.edges, never=len(days) + 1, ends_at=days.ends_at)
    stock = {}
    for name in ("videos", "duration_ms", "bytes"):
        steps = [(row.begins, getattr(row, name)) for row in shown]
        steps += [(row.ends, -getattr(row, name)) for row in shown]
        stock[name] = running(by_bucket(days, steps))
    ended = ask(_ENDED, **span(days))
    outcomes = keyed(days, ((row.bucket, row.state, row.jobs) for row in ended))
    completed = {row.bucket: row for row in ended if row.state == "completed"}
    uploaded = by_bucket(days, ((row.bucket, row.bytes) for row in ask(_UPLOADED, **span(days))))
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        numbers: dict[str, Value] = {
            "videos": stock["videos"][bucket],
            "video_minutes": rounded(stock["duration_ms"][bucket], 60_000),
            "video_bytes": stock["bytes"][bucket],
            "uploaded_bytes": uploaded[bucket],
            "transcodings": breakdown(outcomes, bucket),
        }
        if row := completed.get(bucket):
            numbers |= {"transcode_p50": row.half, "transcode_p95": row.most, "transcode_max": row.longest}
        values[day] = numbers
    return values
