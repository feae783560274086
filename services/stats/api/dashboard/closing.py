"""What the page says about the closing of months: who closes them, when, and which are due."""

from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from services.stats.api.dashboard.i18n import Translations
from services.stats.api.snapshot_cache import Closing, SnapshotCache
from services.stats.days import ONE_DAY, last_of_month
from services.stats.snapshots.closing import SCHEDULE, closes_on, next_month


@dataclass(frozen=True, slots=True)
class ClosingWords:
    """Sentences about the closing of months; one about the month of the day where that is closed."""

    about: str
    of_day: str


def closing_words(
    cache: SnapshotCache, day: date, closing_day: int, zone: ZoneInfo, words: Translations
) -> ClosingWords:
    """What is said on the page of `day`, as of the day after the last one that is kept."""
    found = [_state(cache, zone, words)]
    found.append(words.page["closing_schedule" if closing_day else "closing_operator"].format(day=closing_day))
    found.append(_open_months(cache, closing_day, zone, words))
    closing = cache.closings.get(day.replace(day=1))
    of_day = words.page["closed_when"].format(**_when(closing, zone, words)) if closing else ""
    return ClosingWords(" ".join(filter(None, found)), of_day)


def _state(cache: SnapshotCache, zone: ZoneInfo, words: Translations) -> str:
    if not cache.closings:
        return words.page["none_closed"]
    last = cache.closings[max(cache.closings)]
    until = words.page["closed_until"].format(day=words.day(last_of_month(last.month), "long"))
    return f"{until} {words.page['last_closed'].format(**_when(last, zone, words))}"


def _when(closing: Closing, zone: ZoneInfo, words: Translations) -> dict[str, str]:
    known = {SCHEDULE: "closed_by_schedule", "operator": "closed_by_operator"}.get(closing.closed_by)
    who = words.page[known] if known else closing.closed_by
    return {"time": words.moment(closing.closed_at, zone), "who": who}


def _open_months(cache: SnapshotCache, closing_day: int, zone: ZoneInfo, words: Translations) -> str:
    """Which open months are due, or are closed next, and when."""
    if cache.first is None or cache.last is None:
        return ""
    today = cache.last + ONE_DAY
    done = max(cache.closings, default=None)
    first = cache.first.replace(day=1) if done is None else last_of_month(done) + ONE_DAY
    last_over = (today.replace(day=1) - ONE_DAY).replace(day=1)
    if not closing_day:
        months = _months(first, last_over, words)
        return words.page["months_over"].format(months=months) if months else ""
    begun_on = cache.begun_at.astimezone(zone).date() if cache.begun_at else cache.first
    upcoming = next_month(done, begun_on, closing_day)
    on = closes_on(upcoming, closing_day)
    if on > today:
        return words.page["months_next"].format(months=_months(first, upcoming, words), day=words.day(on, "long"))
    last_due = last_over if closes_on(last_over, closing_day) <= today else (last_over - ONE_DAY).replace(day=1)
    return words.page["months_due"].format(months=_months(first, last_due, words), day=words.day(on, "long"))


def _months(first: date, last: date, words: Translations) -> str:
    """One month, or the first and the last one; empty where there is none."""
    if first > last:
        return ""
    names = [words.month(f"{month:%Y-%m}") for month in (first, last)]
    return names[0] if first == last else words.page["months"].format(first=names[0], last=names[1])
