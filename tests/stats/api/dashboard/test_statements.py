"""Statements of the page: bridges, what the school owes, and what a rate is of."""

import gzip
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from services.stats.api.dashboard.i18n import words_of
from services.stats.api.dashboard.render import Policy, page_of
from services.stats.api.snapshot_cache import Day, SnapshotCache
from services.stats.sections.base import Unit
from services.stats.sections.catalogue import find
from services.stats.snapshots.compute import canonical
from shared.runtime.languages import LANGUAGES
from tests.stats.api.snapshots import payload_of

LAST = date(2026, 11, 3)
Numbers = dict[str, Any]
POLICY = Policy(7, 5)


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


def shown(cache: SnapshotCache, language: str = "en", policy: Policy = POLICY) -> str:
    with Flask("services.stats.api").app_context():
        return page_of(cache, LAST, language, policy).plain.decode()


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
        mrr=16_500,
        mrr_new=3_000,
        mrr_expansion=700,
        mrr_reactivation=300,
        mrr_contraction=500,
        mrr_churn=2_000,
        subscribers=11,
        subscribers_gained=2,
        subscribers_lost=3,
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

    assert "from opening to closing" not in shown(cache_of({LAST: BRIDGE[LAST]}))


def of(html: str, number: str) -> str | None:
    """What stands in brackets beside a number."""
    row = html.split(f'<tr id="{number}">')[1].split("</tr>")[0]
    found = re.search(r'<span class="of quiet">\(<bdi>(.*?)</bdi>\)', row)
    return found[1] if found else None


#: 30 days and one more, with the same numbers each day.
MONTH: dict[date, Numbers] = {
    LAST - timedelta(days=back): {
        "payments.started": 160,
        "payments.pending": 10,
        "payments.success_rate": 8200,
        "payments.started_by_status": {"completed": 120, "refunded": 2, "disputed": 1, "failed": 27, "pending": 10},
        "subscriptions.subscribers": 400,
        "subscriptions.customer_churn_30": 275,
        "subscriptions.mrr": 1_000_000,
        "subscriptions.grr_30": 9725,
        "subscriptions.renewals": 3,
        "subscriptions.renewals_due": 4,
        "subscriptions.renewal_rate_30": 7500,
        "lessons.finished": 1,
        "lessons.watched": 3,
        "lessons.completion": 3333,
        "attendance.check_ins": 5,
        "attendance.expected": 4,
        "attendance.attendance_rate": 12_500,
        "engagement.cohort_7": 0,
        "engagement.retained_7": 0,
        "engagement.converted_30": 1,
        "engagement.cohort_30": 8,
        "engagement.conversion_30": 1250,
        "engagement.daily": 10,
        "engagement.monthly": 40,
        "engagement.stickiness": 2500,
    }
    for back in range(31)
}


def test_a_rate_says_how_many_of_how_many_it_is() -> None:
    html = shown(cache_of(MONTH))

    assert of(html, "payments.success_rate") == "123 of 150"
    assert of(html, "subscriptions.customer_churn_30") == "11 of 400"
    assert of(html, "subscriptions.grr_30") == "of DZD\u00a010,000.00"
    assert of(html, "subscriptions.renewal_rate_30") == "90 of 120"
    assert of(html, "lessons.completion") == "1 of 3"
    assert of(html, "attendance.attendance_rate") == "5 of 4"
    assert of(html, "engagement.conversion_30") == "30 of 240"
    assert of(html, "engagement.stickiness") == "10.0 of 40"
    assert of(html, "engagement.cohort_7") is None


@pytest.mark.parametrize(("language", "written"), [("fr", "123 sur 150"), ("ar", "123 من 150")])
def test_it_says_so_in_the_language_of_the_page(language: str, written: str) -> None:
    assert of(shown(cache_of(MONTH), language), "payments.success_rate") == written


@pytest.mark.parametrize(
    ("number", "changed"),
    [
        ("subscriptions.renewal_rate_30", {LAST - timedelta(days=9): {}}),
        ("payments.success_rate", {LAST: MONTH[LAST] | {"payments.pending": 11}}),
        ("payments.success_rate", {LAST: MONTH[LAST] | {"payments.started_by_status": {"~others": 160}}}),
        ("engagement.retention_7", {}),
    ],
)
def test_it_says_nothing_where_the_kept_numbers_do_not_make_the_rate(number: str, changed: dict[date, Numbers]) -> None:
    days = {day: numbers for day, numbers in (MONTH | changed).items() if numbers}
    assert of(shown(cache_of(days)), number) is None


def test_of_very_many_customers_it_says_of_how_many_a_share_is_lost() -> None:
    many = {day: numbers | {"subscriptions.subscribers": 20_000} for day, numbers in MONTH.items()}
    assert of(shown(cache_of(many)), "subscriptions.customer_churn_30") == "of 20,000"


@pytest.mark.parametrize(
    ("language", "grace_days", "said"),
    [
        ("en", 7, "a subscription counts as lost 7 days after its end"),
        ("en", 1, "a subscription counts as lost 1 day after its end"),
        ("en", 0, "a subscription counts as lost at its end. There are no days of grace"),
        ("fr", 7, "un abonnement compte comme perdu 7\u00a0jours après sa fin"),
        ("ar", 7, "بانقضاء المهلة (7 أيام)"),
    ],
)
def test_the_days_of_grace_are_said_as_they_are_set(language: str, grace_days: int, said: str) -> None:
    subscriptions = shown(cache_of(MONTH), language, Policy(grace_days, 5)).split('<section id="subscriptions"')[1]
    assert said in subscriptions.split("</section>")[0]


@pytest.mark.parametrize(
    ("language", "customers", "subscriptions"),
    [("en", "customer", "subscription"), ("fr", "client", "abonnement"), ("ar", "زبائن", "اشتراكات")],
)
def test_names_say_whether_they_count_customers_or_subscriptions(
    language: str, customers: str, subscriptions: str
) -> None:
    words = words_of(language)
    names = {number.name: words.number("subscriptions", number.name).lower() for _, number in find("subscriptions.")}

    of_customers = {name for name, text in names.items() if customers in text.replace("الزبائن", "زبائن")}
    assert of_customers >= {"subscribers", "subscribers_gained", "subscribers_lost", "customer_churn_30"}
    for name in ("total", "new", "active", "begun", "ended", "pending", "expiring_7", "renewals_due", "renewals"):
        assert subscriptions in names[name].replace("الاشتراكات", "اشتراكات"), name


OWED = {"wallets.credit": 12_345, "revenue.deferred": 655, "wallets.debt": 300, "payments.disputes_open": 50}


def test_what_the_school_owes_stands_together_with_its_sum_and_leads_to_rows() -> None:
    html = shown(cache_of({LAST: OWED}))

    assert lines(html, "What the school owes") == {
        "Owed to students": ["DZD\u00a0123.45"],
        "Deferred revenue": ["DZD\u00a06.55"],
        "Sum": ["DZD\u00a0130.00"],
    }
    block = html.split('<section class="owed"')[1].split("</section>")[0]
    for number in ("wallets.credit", "revenue.deferred"):
        assert f'href="rows?day={LAST}&amp;lang=en&amp;number={number}"' in block


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_says_what_is_not_in_the_sum(language: str) -> None:
    html = shown(cache_of({LAST: OWED}), language)
    assert words_of(language).page["owed_about"] in html
    missing = cache_of({LAST: OWED | {"revenue.deferred": None}})
    assert words_of(language).page["owed"] not in shown(missing, language)
