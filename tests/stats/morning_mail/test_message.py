"""The mail says the six numbers of the day in the reader's language."""

import json
from datetime import date, timedelta
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest

from services.stats.api.snapshot_cache import SnapshotCache, refresh
from services.stats.errors import NoStatisticsError
from services.stats.morning_mail.message import mail_of
from shared.runtime.database import build_engine
from tests.stats.api.snapshots import keep, payload_of

DAY = date(2026, 11, 28)


@pytest.fixture
def cache(database_url: str) -> SnapshotCache:
    keep(database_url, DAY - timedelta(days=8), DAY)
    engine = build_engine(database_url, autocommit=True)
    try:
        return refresh(engine, SnapshotCache())
    finally:
        engine.dispose()


def written(cache: SnapshotCache, language: str, day: date = DAY) -> EmailMessage:
    return mail_of(
        cache,
        day,
        language=language,
        sender="Nouba <nouba@school.example>",
        recipients=["head@school.example"],
        page_url="https://stats.school.example/",
    )


def part(mail: EmailMessage, kind: str) -> str:
    found = mail.get_body((kind,))
    assert found is not None
    text: str = found.get_content()
    return text.replace("\u00a0", " ").replace("\u202f", " ")


class Reader(HTMLParser):
    """The text of a document, and the attributes of its elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.found: dict[str, dict[str, str | None]] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag] = dict(attrs)

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append(data.strip())


def test_six_numbers_with_their_changes_and_a_link_to_the_rest(cache: SnapshotCache) -> None:
    mail = written(cache, "en")
    numbers = payload_of(DAY)["sections"]
    revenue = numbers["revenue"]["numbers"]["net"]

    text = part(mail, "plain")
    assert mail["Subject"] == "Statistics: Saturday, 28 November 2026"
    assert f"Sales, net: DZD {revenue // 100:,}.{revenue % 100:02}\n" in text
    assert f"Monthly recurring revenue: DZD {numbers['subscriptions']['numbers']['mrr'] // 100:,}" in text
    assert text.count("day before:") == text.count("week before:") == 6
    assert "https://stats.school.example/?day=2026-11-28&lang=en" in text

    html = Reader(part(mail, "html"))
    assert html.found["a"]["href"] == "https://stats.school.example/?day=2026-11-28&lang=en"
    assert f"DZD {revenue // 100:,}.{revenue % 100:02}" in html.text
    assert not {"img", "script", "link"} & set(html.found), "a mail loads nothing"


@pytest.mark.parametrize(
    ("language", "direction", "day"),
    [("en", "ltr", "Saturday, 28 November 2026"), ("fr", "ltr", "samedi 28 novembre 2026"), ("ar", "rtl", "السبت")],
)
def test_each_language_is_written_in_its_direction(
    cache: SnapshotCache, language: str, direction: str, day: str
) -> None:
    mail = written(cache, language)
    html = Reader(part(mail, "html"))
    assert (html.found["html"]["lang"], html.found["html"]["dir"]) == (language, direction)
    assert day in mail["Subject"]
    assert day in part(mail, "plain")


def test_a_mail_that_comes_twice_is_one_mail(cache: SnapshotCache) -> None:
    first, second = written(cache, "fr"), written(cache, "fr")
    assert first["Message-ID"] == second["Message-ID"] == "<nouba-statistics-2026-11-28@school.example>"
    assert first["Auto-Submitted"] == "auto-generated"
    assert written(cache, "fr", DAY - timedelta(days=1))["Message-ID"] != first["Message-ID"]


def test_a_section_that_failed_is_said_and_its_reason_is_no_markup(database_url: str) -> None:
    keep(database_url, DAY, DAY, complete=False)
    engine = build_engine(database_url, autocommit=True)
    with engine.connect() as connection:
        body = connection.exec_driver_sql("SELECT payload FROM daily_stats").scalar_one()
    assert json.dumps(body).count("the database is busy") == 1
    mail = written(refresh(engine, SnapshotCache()), "en")
    engine.dispose()
    for kind in ("plain", "html"):
        assert "the database is busy" in part(mail, kind)


def test_a_day_that_is_not_kept_is_an_error(cache: SnapshotCache) -> None:
    with pytest.raises(NoStatisticsError, match="Nothing is kept for 2026-11-29"):
        written(cache, "fr", DAY + timedelta(days=1))
