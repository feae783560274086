"""Sends the mail of a day, and notes that it was sent."""

from datetime import date
from email.message import EmailMessage

import structlog
from sqlalchemy import Engine, func, select, update

from services.stats.api.snapshot_cache import SnapshotCache, refresh
from services.stats.metrics import MAILS_SENT
from services.stats.morning_mail.message import mail_of
from services.stats.morning_mail.smtp import send
from services.stats.settings import MailSettings
from shared.schema.tables import mailed_days

log = structlog.get_logger(__name__)


def mail_once(engine: Engine, settings: MailSettings, day: date) -> None:
    """Mail `day` and mark it as sent, unless it is. `engine` has to commit by itself.

    Who dies between the two sends it again. Raises MailError and NoStatisticsError.
    """
    recipients = settings.mail_recipients()
    with engine.connect() as connection:
        is_sent = connection.scalar(select(mailed_days.c.sent_at).where(mailed_days.c.day == day)) is not None
    if is_sent or not recipients:
        return
    refused = send(render(engine, settings, day, recipients), settings.mail_url.get_secret_value())
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
