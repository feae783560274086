"""Sends the mail of a day, and notes that it was sent."""

from datetime import date
from email.message import EmailMessage

import structlog
from sqlalchemy import Engine, func, select, update

from services.stats.api.cache import SnapshotCache, refresh
from services.stats.metrics import MAILS_SENT
from services.stats.morning_mail.message import mail_of
from services.stats.morning_mail.smtp import send
from services.stats.settings import MailSettings
from shared.schema.tables import mailed_days

log = structlog.get_logger(__name__)


def is_sent(engine: Engine, day: date) -> bool:
    """Whether the mail server has taken the mail of `day`."""
    with engine.connect() as connection:
        return connection.scalar(select(mailed_days.c.sent_at).where(mailed_days.c.day == day)) is not None


def mail_and_mark(engine: Engine, settings: MailSettings, day: date) -> None:
    """Mail `day` and mark it as sent. `engine` has to commit by itself.

    Who dies between the two sends it again. Raises MailError and NoStatisticsError.
    """
    refused = send(render(engine, settings, day, settings.mail_recipients()), settings.mail_url.get_secret_value())
    with engine.connect() as connection:
        connection.execute(update(mailed_days).where(mailed_days.c.day == day).values(sent_at=func.now()))
    MAILS_SENT.inc()
    log.info("day mailed", day=str(day))
    if refused:
        log.warning("the mail server refused some of the recipients of NOUBA_STATS_MAIL_TO", refused=refused)


def render(engine: Engine, settings: MailSettings, day: date | None, recipients: tuple[str, ...]) -> EmailMessage:
    """The mail of `day`, or of the last one. Raises NoStatisticsError."""
    cache = refresh(engine, SnapshotCache())
    return mail_of(
        cache,
        day or cache.last,
        language=settings.stats_mail_language,
        sender=settings.mail_from,
        recipients=recipients,
        page_url=settings.stats_page_url,
    )
