"""Series over a range of days, and a day beside earlier ones."""

import hashlib
from datetime import date, timedelta

import httpx
import pytest

from services.stats.api.comparison import before
from services.stats.api.rollup import add_up, begin_of
from services.stats.sections import SECTIONS
from services.stats.sections.base import OTHERS
from services.stats.snapshots.compute import canonical, flatten
from tests.stats.api.conftest import FAILED, GAP, LAST, Library
from tests.stats.api.processes import PLAIN
from tests.stats.api.snapshots import REASON, payload_of


def read(library: Library, **query: object) -> httpx.Response:
    return library.client.get("/api/stats", params={name: str(value) for name, value in query.items()}, headers=PLAIN)


def test_every_number_has_a_series_with_a_value_a_day(library: Library) -> None:
    answer = read(library, **{"from": LAST - timedelta(days=9), "to": LAST})

    found = answer.json()
    assert answer.headers["ETag"] == f'"{hashlib.sha256(canonical(found)).hexdigest()}"'
    assert (found["from"], found["to"], len(found["days"]), found["missing"]) == (
        str(LAST - timedelta(days=9)), str(LAST), 10, [],
    )  # fmt: skip
    for section in SECTIONS:
        for number in section.numbers:
            series = found["sections"][section.name]["numbers"][number.name]
            for place, day in enumerate(found["days"]):
                value = payload_of(date.fromisoformat(day))["sections"][section.name]["numbers"][number.name]
                if number.by is None:
                    assert series[place] == value
                else:
                    assert {key: values[place] for key, values in series.items()} == value


def test_a_day_that_is_not_kept_is_a_null_and_is_named(library: Library) -> None:
    found = read(library, **{"from": FAILED - timedelta(days=1), "to": GAP + timedelta(days=1)}).json()

    assert found["missing"] == [str(GAP)]
    assert found["failed"] == {str(FAILED): {"users": REASON}}
    # the other sections are there
    assert None not in found["sections"]["revenue"]["numbers"]["net"][:2]
    totals = found["sections"]["users"]["numbers"]["total"]
    assert [total is None for total in totals] == [False, True, True, False]
    assert [total is None for total in found["sections"]["users"]["numbers"]["by_role"]["student"]] == [
        False, True, True, False,
    ]  # fmt: skip


def test_months_add_up_what_adds_up_and_take_the_last_day_of_what_stands(library: Library) -> None:
    first = (GAP + timedelta(days=1)).replace(day=1) + timedelta(days=32)
    first = max(first.replace(day=1), GAP + timedelta(days=1))
    found = read(library, **{"from": first, "to": LAST, "step": "month"}).json()

    days = [first + timedelta(days=number) for number in range((LAST - first).days + 1)]
    months = sorted({day.replace(day=1) for day in days})
    assert [date.fromisoformat(one["from"]).replace(day=1) for one in found["periods"]] == months
    assert found["periods"][-1]["to"] == str(LAST)
    for place, month in enumerate(months):
        of_month = [flatten(payload_of(day)) for day in days if day.replace(day=1) == month]
        revenue, subscriptions = (found["sections"][name]["numbers"] for name in ("revenue", "subscriptions"))
        assert revenue["net"][place] == sum(numbers["revenue.net"] for numbers in of_month)
        assert revenue["by_teacher"]["14"][place] == sum(numbers["revenue.by_teacher"]["14"] for numbers in of_month)
        assert subscriptions["mrr"][place] == of_month[-1]["subscriptions.mrr"]
    assert "mean" not in found["sections"]["payments"]["numbers"]


def test_a_key_that_a_day_does_not_name_is_part_of_the_others_of_the_sum() -> None:
    days = [{"A": 5, "B": 3, OTHERS: 2}, {"A": 4, "C": 3, OTHERS: 1}, {"A": 1, "B": 7, "C": 9}]

    assert add_up(days) == {"A": 10, OTHERS: 2 + 1 + 3 + 7 + 3 + 9}
    assert add_up([*days, None]) is None


def test_a_period_with_a_day_that_is_not_kept_has_no_sum(library: Library) -> None:
    found = read(library, **{"from": GAP - timedelta(days=9), "to": LAST, "step": "year"}).json()

    assert found["missing"] == [str(GAP)]
    place = next(place for place, one in enumerate(found["periods"]) if one["from"] <= str(GAP) <= one["to"])
    assert found["sections"]["revenue"]["numbers"]["net"][place] is None
    assert found["sections"]["subscriptions"]["numbers"]["mrr"][-1] == flatten(payload_of(LAST))["subscriptions.mrr"]


@pytest.mark.parametrize(
    ("day", "step", "begins"),
    [
        ("2026-11-22", "week", "2026-11-22"),
        ("2026-11-28", "week", "2026-11-22"),
        ("2026-11-22", "month", "2026-11-01"),
        ("2026-11-22", "year", "2026-01-01"),
        ("2026-11-22", "school_year", "2026-09-01"),
        ("2026-08-31", "school_year", "2025-09-01"),
    ],
)
def test_where_a_period_begins(day: str, step: str, begins: str) -> None:
    assert begin_of(date.fromisoformat(day), step) == date.fromisoformat(begins)


def test_a_range_without_any_kept_day_has_no_series(library: Library) -> None:
    found = read(library, **{"from": "2001-01-01", "to": "2001-01-02"}).json()

    assert (found["missing"], found["sections"]) == (["2001-01-01", "2001-01-02"], {})


def test_a_leap_year_is_the_longest_range(library: Library) -> None:
    assert read(library, **{"from": "2024-01-01", "to": "2024-12-31"}).status_code == 200
    refused = read(library, **{"from": "2024-01-01", "to": "2025-01-01"})

    assert (refused.status_code, "at most 366" in refused.json()["message"]) == (400, True)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({}, "from="),
        ({"from": LAST}, "to="),
        ({"to": LAST}, "from="),
        ({"from": "then", "to": LAST}, "from='then'"),
        ({"from": LAST, "to": LAST - timedelta(days=1)}, "later than"),
        ({"from": LAST, "to": LAST, "step": "fortnight"}, "step is one of day, week"),
        ({"from": LAST, "to": LAST, "step": "month", "format": "csv"}, "CSV is of days"),
    ],
)
def test_a_range_that_makes_no_sense_is_400_and_says_why(library: Library, query: dict[str, object], word: str) -> None:
    refused = read(library, **query)

    assert refused.status_code == 400
    assert word in refused.json()["message"]


def test_a_day_is_compared_with_the_day_the_week_and_the_month_before(library: Library) -> None:
    answer = library.client.get("/api/stats/latest?compare=1", headers=PLAIN)

    found = answer.json()
    comparison = found.pop("comparison")
    assert found == payload_of(LAST)
    assert answer.headers["ETag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert set(comparison) == {"day_before", "week_before", "month_before"}
    for name, then in before(LAST).items():
        assert (comparison[name]["day"], comparison[name]["etag"]) == (str(then), library.etags[then])
        now, earlier = flatten(payload_of(LAST)), flatten(payload_of(then))
        for number, change in comparison[name]["numbers"].items():
            assert change["then"] == earlier[number]
            assert change["change"] == now[number] - earlier[number]
            exact = 10_000 * (now[number] - earlier[number]) / earlier[number]
            assert abs(change["change_basis_points"] - exact) <= 0.5


def test_what_is_not_kept_is_compared_with_nothing(library: Library) -> None:
    comparison = library.client.get(f"/api/stats/{GAP + timedelta(days=1)}?compare=1").json()["comparison"]

    assert comparison["day_before"] is None
    assert comparison["week_before"] is not None


def test_compare_is_0_or_1(library: Library) -> None:
    assert library.client.get("/api/stats/latest?compare=0", headers=PLAIN).json() == payload_of(LAST)
    assert library.client.get("/api/stats/latest?compare=yes").status_code == 400


@pytest.mark.parametrize(
    ("day", "month_before"),
    [
        ("2024-03-31", "2024-02-29"),
        ("2026-03-30", "2026-02-28"),
        ("2026-01-05", "2025-12-05"),
        ("2026-07-31", "2026-06-30"),
    ],
)
def test_a_month_before_is_a_day_of_the_month_before(day: str, month_before: str) -> None:
    assert before(date.fromisoformat(day))["month_before"] == date.fromisoformat(month_before)
