"""Queries of the console's overview page, from the tables of all services."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Engine, text

#: The chart's minutes.
MINUTES = 60

# One round trip; each figure is read from an index or from few rows.
_FIGURES = text("""
SELECT
    (SELECT count(*) FROM webhook_events WHERE received_at > now() - interval '1 hour') AS kept,
    (SELECT count(*) FROM webhook_events WHERE received_at > now() - interval '1 minute') AS kept_last_minute,
    (SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY processed_at - received_at) FROM webhook_events
     WHERE received_at > now() - interval '1 hour' AND processed_at IS NOT NULL) AS settled_within,
    (SELECT count(*) FROM webhook_events WHERE state = 'received' AND attempts = 0
     AND received_at < now() - interval '5 minutes') AS unsettled,
    (SELECT count(*) FROM webhook_events WHERE state = 'received' AND attempts > 0) AS parked,
    (SELECT count(*) FROM webhook_events WHERE state IN ('quarantined', 'dead') AND resolution IS NULL) AS to_decide,
    (SELECT count(*) FROM outbox) AS unpublished,
    (SELECT created_at FROM outbox ORDER BY id LIMIT 1) AS unpublished_since,
    (SELECT count(*) FROM dead_letters WHERE state = 'dead') AS dead,
    (SELECT count(*) FROM dead_letters WHERE died_at > now() - interval '7 days') AS died_last_week,
    (SELECT count(*) FROM transcode_jobs WHERE finished_at IS NULL) AS lessons_in_work,
    (SELECT count(*) FROM transcode_jobs WHERE state = 'completed' AND finished_at > now() - interval '1 day')
        AS lessons_done,
    (SELECT count(*) FROM transcode_jobs WHERE state = 'failed' AND finished_at > now() - interval '7 days')
        AS lessons_failed,
    (SELECT max(day) FROM daily_stats_newest WHERE version IS NOT NULL) AS newest_day,
    (SELECT count(*) FROM daily_stats_newest WHERE failed) AS failed_days
""")

_BY_MINUTE = text("""
SELECT date_bin('1 minute', received_at, TIMESTAMPTZ '2000-01-01 00:00+00') AS minute,
       count(*), count(*) FILTER (WHERE state IN ('quarantined', 'dead') AND resolution IS NULL)
FROM webhook_events WHERE received_at > date_bin('1 minute', now(), TIMESTAMPTZ '2000-01-01 00:00+00')
    - make_interval(mins => :minutes - 1) GROUP BY 1
""")


@dataclass(frozen=True, slots=True)
class Minute:
    """How many webhooks were kept in one minute, and how many of these need a decision."""

    kept: int
    to_decide: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The figures by name, and the last hour minute by minute, oldest first."""

    figures: dict[str, Any]
    now: datetime
    minutes: list[Minute]

    @property
    def newest_day(self) -> date | None:
        return self.figures["newest_day"]  # type: ignore[no-any-return]

    @property
    def tallest(self) -> int:
        return max((minute.kept for minute in self.minutes), default=0) or 1


def read_overview(engine: Engine) -> Overview:
    """Reads all figures in one round trip."""
    with engine.connect() as connection:
        figures = dict(connection.execute(_FIGURES).mappings().one())
        now: datetime = connection.scalar(text("SELECT now()"))
        rows = connection.execute(_BY_MINUTE, {"minutes": MINUTES})
        by_minute = {int(row.minute.timestamp()) // 60: Minute(row[1], row[2]) for row in rows}
    last = int(now.timestamp()) // 60
    return Overview(figures, now, [by_minute.get(last - ago, Minute(0, 0)) for ago in reversed(range(MINUTES))])
