"""What the page says about the closing of months."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.stats.api.dashboard.closing import closing_words
from services.stats.api.dashboard.i18n import words_of
from services.stats.api.snapshot_cache import Closing, Day, SnapshotCache
from services.stats.snapshots.closing import next_month
from shared.runtime.languages import LANGUAGES

ALGIERS = ZoneInfo("Africa/Algiers")
SEPTEMBER, OCTOBER = date(2026, 9, 1), date(2026, 10, 1)
CLOSED_AT = datetime(2026, 10, 5, 1, tzinfo=UTC)


def cache_of(last: date, *closings: Closing, begun_at: datetime | None = None) -> SnapshotCache:
    """The days from 10 September to `last`."""
    first = date(2026, 9, 10)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    kept = {day: Day(day, 1, "", b"", datetime(2026, 11, 1, tzinfo=UTC)) for day in days}
    return SnapshotCache(kept, closings={one.month: one for one in closings}, begun_at=begun_at)


def about(cache: SnapshotCache, closing_day: int = 5, language: str = "en") -> str:
    return closing_words(cache, date(2026, 9, 10), closing_day, ALGIERS, words_of(language)).about


def test_before_any_month_is_closed_it_says_who_closes_which_ones_and_when() -> None:
    said = about(cache_of(date(2026, 11, 20), begun_at=datetime(2026, 11, 20, 3, tzinfo=UTC)))

    assert "No month is closed yet." in said
    assert "The scheduler closes each month on day 5 of the next one" in said
    assert "“nouba stats close-months”" in said
    assert said.endswith("Closed next: September 2026 to November 2026, on 5 December 2026.")


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (date(2026, 11, 3), "Closed next: October 2026, on 5 November 2026."),
        (date(2026, 11, 4), "Due since 5 November 2026, and closed as soon as all days are computed: October 2026."),
        (date(2026, 12, 4), "computed: October 2026 to November 2026."),
    ],
)
def test_it_says_when_and_by_whom_the_last_month_was_closed_and_what_is_due(last: date, said: str) -> None:
    found = about(cache_of(last, Closing(SEPTEMBER, CLOSED_AT, "schedule")))

    assert found.startswith(
        "Closed until 30 September 2026. The last month was closed on 5 October 2026, 02:00 by the scheduler."
    )
    assert found.endswith(said)


def test_a_closed_day_says_when_its_own_month_was_closed_and_by_whom() -> None:
    closings = Closing(SEPTEMBER, CLOSED_AT, "Amel"), Closing(OCTOBER, CLOSED_AT, "operator")
    cache = cache_of(date(2026, 11, 20), *closings)
    said = [
        closing_words(cache, day, 5, ALGIERS, words_of("en")).of_day
        for day in (date(2026, 9, 10), date(2026, 10, 2), date(2026, 11, 2))
    ]
    times = "It was closed on 5 October 2026, 02:00 by"
    assert said == [f"{times} Amel.", f"{times} an operator.", ""]


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_a_closing_day_an_operator_closes_months(language: str) -> None:
    words = words_of(language)
    said = about(cache_of(date(2026, 11, 20)), 0, language)

    assert words.page["closing_operator"] in said
    months = words.page["months"].format(first=words.month("2026-09"), last=words.month("2026-10"))
    assert said.endswith(words.page["months_over"].format(months=months))
    assert about(cache_of(date(2026, 9, 20)), 0, language).endswith(words.page["closing_operator"])


@pytest.mark.parametrize(
    ("done", "begun_on", "month"),
    [
        (SEPTEMBER, date(2026, 12, 1), OCTOBER),
        (None, date(2026, 11, 4), OCTOBER),
        (None, date(2026, 11, 5), date(2026, 11, 1)),
    ],
)
def test_the_next_month_is_the_one_that_the_schedule_closes(done: date | None, begun_on: date, month: date) -> None:
    assert next_month(done, begun_on, 5) == month
