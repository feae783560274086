"""The worked cases of cases.toml: the sections' SQL and the oracle both find what a head of finance expects."""

import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.stats.days import Days
from tests.stats import oracle
from tests.stats.oracle_day import Row, School
from tests.stats.school import Connection, count, load

ZONE = ZoneInfo("Africa/Algiers")
CASES = tomllib.loads(Path(__file__).with_name("cases.toml").read_text(encoding="utf-8"))["case"]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
TABLES = (
    "users", "teachers", "chapters", "courses", "sessions", "attendances", "payments", "subscriptions",
    "subscription_terms", "chapter_teachers", "office_payments", "lesson_views", "webhook_events", "transcode_jobs",
    "dead_letters", "ledger",
)  # fmt: skip


def at(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(UTC)


def school_of(case: Row) -> School:
    """A school of which only this case is known."""
    school: School = {table: [] for table in TABLES}
    terms, money = case.get("terms", []), case.get("money", [])
    check_ins, payments, views = (case.get(name, []) for name in ("check_ins", "payments", "views"))
    registered = {int(number): at(text) for number, text in case.get("registered", {}).items()}
    users = registered.keys() | {
        one["user"] for one in [*terms, *money, *check_ins, *payments, *views] if "user" in one
    }
    school["users"] = [
        {
            "id": number,
            "created_at": registered.get(number, LONG_AGO),
            "role": "student",
            "year_of_study": case.get("years", {}).get(str(number)),
        }
        for number in sorted(users)
    ]
    school["teachers"] = [{"id": number, "created_at": LONG_AGO, "specialisation": None} for number in (1, 2)]
    school["chapters"] = [
        {"id": number, "created_at": LONG_AGO, "teacher_id": None, "year_target": None} for number in (1, 2)
    ]
    school["chapter_teachers"] = [
        {"chapter_id": one["chapter"], "teacher_id": one["teacher"], "since": at(one["since"])}
        for one in case.get("teachers", [])
    ]
    for number, term in enumerate(terms, start=1):
        _add_term(school, number, term)
    school["sessions"] = [
        {
            "id": number,
            "starts_at": at(one["at"]),
            "chapter_id": one["chapter"] or None,
            "teacher_id": one.get("teacher"),
        }
        for number, one in enumerate(case.get("sessions", []), start=1)
    ]
    school["attendances"] = [
        {"id": number, "session_id": one["session"], "user_id": one["user"], "checked_in_at": at(one["at"])}
        for number, one in enumerate(check_ins, start=1)
    ]
    school["payments"] = [_payment(number, one) for number, one in enumerate(payments, start=1)]
    school["office_payments"] = [
        {
            "id": number,
            "user_id": None,
            "method": one["method"],
            "amount_minor": one["amount"],
            "currency": one.get("currency", "DZD"),
            "received_at": at(one["at"]),
        }
        for number, one in enumerate(case.get("office", []), start=1)
    ]
    school["lesson_views"] = [
        {
            "id": number,
            "viewer": one.get("viewer", str(one.get("user"))),
            "course_id": one["lesson"],
            "chapter_id": one.get("chapter"),
            "day": date.fromisoformat(one["on"]),
            "played_ms": one["minutes"] * 60_000,
            "parts": ("1" * one["parts"]).rjust(100, "0"),
            "last_at": LONG_AGO,
        }
        for number, one in enumerate(views, start=1)
    ]
    school["ledger"] = [
        {
            "account": one["account"],
            "kind": one["kind"],
            "at": at(one["at"]),
            "amount_minor": one["amount"],
            "user_id": one.get("user"),
            "subscription_id": one.get("subscription"),
            "payment_id": one.get("payment"),
            "provider": one.get("provider"),
        }
        for one in money
    ]
    return school


def _payment(number: int, one: Row) -> Row:
    return {
        "id": number,
        "provider": "chargily",
        "user_id": one["user"],
        "amount_minor": one["amount"],
        "credited_minor": one["amount"] if "paid" in one else 0,
        "currency": "DZD",
        "method": None,
        "status": "completed" if "paid" in one else one.get("status", "pending"),
        "failure_reason": None,
        "created_at": at(one["begun"]),
        "completed_at": at(one.get("paid")),
    }


def _add_term(school: School, number: int, term: Row) -> None:
    sold = {
        "user_id": term["user"],
        "chapter_id": term["chapter"] or None,
        "access_level": None,
        "amount_minor": term["amount"],
        "activated_at": at(term["from"]),
        "ends_at": at(term.get("until")),
    }
    is_returned = term.get("returned", False)
    now = {
        "amount_minor": term.get("now", term["amount"]),
        "ends_at": at(term.get("due", term.get("until"))),
        "status": "pending_payment" if is_returned else term.get("status", "active"),
        "activated_at": None if is_returned else sold["activated_at"],
    }
    school["subscriptions"].append({"id": number, "created_at": LONG_AGO, **sold, **now})
    if term.keys() & {"due", "stopped", "now"}:
        kept = {"subscription_id": number, "stopped_at": at(term.get("stopped")), "is_returned": is_returned}
        school["subscription_terms"].append({**kept, **sold})


def test_there_are_at_least_sixty_cases_each_with_a_name_of_its_own() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES) >= 60
    assert {case["reference"].split("/")[2] for case in CASES if "reference" in case} >= {
        "help.chartmogul.com",
        "www.paddle.com",
        "docs.stripe.com",
    }


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_worked_case(connection: Connection, case: Row) -> None:
    school = school_of(case)
    try:
        load(connection, school)
        for text, expected in case["expect"].items():
            day = date.fromisoformat(text)
            found = count(connection, Days(day, day, ZONE))[day]
            assert {name: found.get(name) for name in expected} == expected, text
            reported: dict[str, Any] = oracle.numbers(school, day, ZONE, "DZD")
            assert {name: reported.get(name) for name in expected} == expected, f"the oracle on {text}"
    finally:
        connection.rollback()
