"""Statements of the page: bridges, what the school owes, and what a rate is of."""

import gzip
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from services.stats.api.dashboard.i18n import words_of
from services.stats.api.dashboard.render import page_of
from services.stats.api.snapshot_cache import Day, SnapshotCache
from services.stats.sections.base import Unit
from services.stats.snapshots.compute import canonical
from shared.runtime.languages import LANGUAGES
from tests.stats.api.snapshots import payload_of

LAST = date(2026, 11, 3)
Numbers = dict[str, Any]


def cache_of(numbers: dict[date, Numbers]) -> SnapshotCache:
    """Days with these numbers, by their ids, in place of made-up ones."""
    days = {}
    for day, values in numbers.items():
        payload = payload_of(day)
        for name, value in values.items():
            section, _, number = name.partition(".")
            payload["sections"][section]["numbers"][number] = value
        days[day] = Day(day, 1, f"{day}", gzip.compress(canonical(payload)), datetime(2026, 11, 4, tzinfo=UTC))
    return SnapshotCache(days)


def shown(cache: SnapshotCache, language: str = "en") -> str:
    with Flask("services.stats.api").app_context():
        return page_of(cache, LAST, language).plain.decode()


def lines(html: str, caption: str) -> dict[str, list[str]]:
    """The lines of the statement of this name: their names, and their cells."""
    (table,) = (one for one in html.split('<table class="statement">') if f"<caption>{caption}</caption>" in one)
    rows = re.findall(r'<tr.*?><th scope="row">(.*?)</th>(.*?)</tr>', table.split("</table>")[0])
    return {name: re.findall(r"<bdi>(.*?)</bdi>", cells) for name, cells in rows}


def subscriptions(**numbers: int) -> Numbers:
    moves = ("mrr_new", "mrr_expansion", "mrr_reactivation", "mrr_contraction", "mrr_churn")
    every = dict.fromkeys((*moves, "subscribers_gained", "subscribers_lost"), 0) | numbers
    return {f"subscriptions.{name}": value for name, value in every.items()}


#: October's last day and three days of November, which add up.
BRIDGE = {
    LAST - timedelta(days=3): subscriptions(mrr=10_000, subscribers=10),
    LAST - timedelta(days=2): subscriptions(mrr=15_000, mrr_new=5_000, subscribers=12, subscribers_gained=2),
    LAST - timedelta(days=1): subscriptions(mrr=15_000, subscribers=12),
    LAST: subscriptions(
        **dict(
            mrr=16_500, mrr_new=3_000, mrr_expansion=700, mrr_reactivation=300, mrr_contraction=500, mrr_churn=2_000
        ),
        **dict(subscribers=11, subscribers_gained=2, subscribers_lost=3),
    ),
}


def test_the_bridge_of_mrr_adds_up_of_the_day_and_of_the_month() -> None:
    html = shown(cache_of(BRIDGE))

    assert lines(html, "Monthly recurring revenue: from opening to closing") == {
        "Opening": ["DZD\u00a0150.00", "DZD\u00a0100.00"],
        "MRR won: new": ["+DZD\u00a030.00", "+DZD\u00a080.00"],
        "MRR won: expansion": ["+DZD\u00a07.00", "+DZD\u00a07.00"],
        "MRR won: reactivation": ["+DZD\u00a03.00", "+DZD\u00a03.00"],
        "MRR lost: contraction": ["−DZD\u00a05.00", "−DZD\u00a05.00"],
        "MRR lost: churn": ["−DZD\u00a020.00", "−DZD\u00a020.00"],
        "Closing": ["DZD\u00a0165.00", "DZD\u00a0165.00"],
    }
    subscribers = words_of("en").number("subscriptions", "subscribers")
    found = lines(html, f"{subscribers}: from opening to closing")
    assert list(found.values()) == [["12", "10"], ["+2", "+4"], ["−3", "−3"], ["11", "11"]]
    for name, day in (("mrr", LAST - timedelta(days=1)), ("mrr", LAST - timedelta(days=3)), ("mrr_churn", LAST)):
        assert f'href="rows?day={day}&amp;lang=en&amp;number=subscriptions.{name}"' in html


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_no_move_explains_is_a_line_of_its_own(language: str) -> None:
    words = words_of(language)
    late = BRIDGE | {LAST: BRIDGE[LAST] | {"subscriptions.mrr": 16_400}}
    name = words.page["bridge"].format(name=words.number("subscriptions", "mrr"))

    found = lines(shown(cache_of(late), language), name)[words.page["other_moves"]]
    assert found == [words.value(-100, Unit.MINOR, "DZD").replace("-", "−")] * 2
    assert words.page["other_moves"] not in shown(cache_of(BRIDGE), language)


def test_a_bridge_needs_every_day_of_it() -> None:
    html = shown(cache_of({day: numbers for day, numbers in BRIDGE.items() if day != LAST - timedelta(days=2)}))
    assert len(lines(html, "Monthly recurring revenue: from opening to closing")["Opening"]) == 1

    assert 'class="statement"' not in shown(cache_of({LAST: BRIDGE[LAST]}))
