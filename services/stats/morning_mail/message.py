"""Renders a day as a mail, as text and as HTML, in the reader's language."""

from collections.abc import Sequence
from datetime import date
from email.message import EmailMessage
from email.utils import parseaddr

import jinja2

from services.stats.api.dashboard.i18n import words_of
from services.stats.api.dashboard.view_model import OVERVIEW, view_of
from services.stats.api.snapshot_cache import SnapshotCache
from services.stats.errors import NoStatisticsError
from shared.runtime.visible_text import finalize

#: The page's first ones; a mail is read on a phone.
NUMBERS = OVERVIEW[:6]

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("services.stats.morning_mail"),
    autoescape=jinja2.select_autoescape(["html"]),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
    finalize=finalize,
)


def mail_of(
    cache: SnapshotCache, day: date | None, *, language: str, sender: str, recipients: Sequence[str], page_url: str = ""
) -> EmailMessage:
    """The mail about `day`, with a link to `page_url` where there is one.

    Raises NoStatisticsError. Its Message-ID is made of the day, so that a mail program shows one that comes twice once.
    """
    found = None if day is None else cache.days.get(day)
    if day is None or found is None:
        raise NoStatisticsError(f"Nothing is kept for {day or 'any day'}; compute it with: nouba stats compute DAY")
    words = words_of(language)
    view = view_of(cache, found, words)
    given = {
        "words": words,
        "say": words.page,
        "day": day,
        "numbers": [number for number in view.overview if number.id in NUMBERS],
        "failed": [section for section in view.sections if section.failed],
        "link": f"{page_url.rstrip('/')}/?day={day}&lang={language}" if page_url else "",
    }
    mail = EmailMessage()
    mail["Subject"] = f"{words.page['title']}: {words.day(day)}"
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Message-ID"] = f"<nouba-statistics-{day}@{parseaddr(sender)[1].rpartition('@')[2]}>"
    # says to mail programs that no person wrote it, so that no holiday reply comes back (RFC 3834)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(_TEMPLATES.get_template("mail.txt").render(given))
    mail.add_alternative(_TEMPLATES.get_template("mail.html").render(given), subtype="html")
    return mail
