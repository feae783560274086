"""Enqueues the mail of yesterday, once, when it is time and the day is kept."""

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from sqlalchemy import Date, Engine, cast, exists, select
from sqlalchemy.dialects.postgresql import insert

from services.stats.days import yesterday
from shared.contracts.routes import STATS
from shared.contracts.stats import MailDay
from shared.messaging import outbox
from shared.schema.tables import daily_stats, mailed_days


def enqueue_due(engine: Engine, zone: ZoneInfo, now: datetime, send_at: time) -> date | None:
    """The day whose mail was enqueued, if one was.

    Only yesterday's is ever due: after a week of outage nobody wants seven mails. A day that is computed late is
    mailed late. Schedulers that run side by side enqueue one message.
    """
    day = yesterday(now, zone)
    if now.astimezone(zone).time() < send_at:
        return None
    with engine.begin() as connection:
        is_kept = exists().where(daily_stats.c.day == day)
        row = insert(mailed_days).from_select(["day"], select(cast(day, Date)).where(is_kept))
        if connection.scalar(row.on_conflict_do_nothing().returning(mailed_days.c.day)) is None:
            return None
        outbox.enqueue(connection, STATS, MailDay(day=day))
    return day
