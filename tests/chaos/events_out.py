"""What a receiver must have been reported, computed from the plan; and every event of the database, once at least."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from tests.chaos.comparison import Findings, Rows
from tests.chaos.events import Life, Plan
from tests.chaos.oracle import Expected, payer

Event = Mapping[str, Any]
Received = Mapping[int, Event]

_ENDED = ("failed", "canceled", "expired")


def compare_events_out(
    rows: Rows, plan: Plan, expected: Expected, received: Received | None, courses: Sequence[int], days: Sequence[date]
) -> Findings:
    """Everything that came against the rows of the database, and then against the plan alone.

    None where nobody listened: then the rows are compared with the plan.
    """
    findings = Findings()
    recorded = rows.ask("SELECT id, type, payload FROM events")
    kept: Received = {number: {"type": kind, "data": payload} for number, kind, payload in recorded}
    if received is None:
        received = kept
    else:
        _compare_with_rows(kept, received, findings)
    findings.note("events out of payments", list(_payments(plan, expected, received)), len(plan.lives))
    findings.note("events out of wallets", list(_wallets(expected, received)), len(expected.balances))
    findings.note("events out of subscriptions", list(_subscriptions(expected, received)), len(expected.active))
    findings.note("events out of lessons", list(_lessons(courses, received)), len(courses))
    reported = {event["data"]["day"] for event in _of_type(received, "statistics.day_ready")}
    findings.note(
        "events out of days", [f"{day} is not reported" for day in days if str(day) not in reported], len(days)
    )
    return findings


def _compare_with_rows(kept: Received, received: Received, findings: Findings) -> None:
    lost = [f"evt_{number} {kept[number]['type']}" for number in sorted(kept.keys() - received.keys())]
    findings.note("events out lost", lost, len(kept))
    strange = [
        f"evt_{number} {event['type']}"
        for number, event in sorted(received.items())
        if number not in kept or {"type": event["type"], "data": event["data"]} != kept[number]
    ]
    findings.note("events out that the database does not hold", strange, len(received))


def _payments(plan: Plan, expected: Expected, received: Received) -> Iterator[str]:
    reported: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for _, event in sorted(received.items()):
        if event["type"].startswith("payment."):
            reported[event["data"]["provider"], event["data"]["reference"]].append(event)
    for place, life in enumerate(plan.lives):
        key = life.provider, life.payment.reference
        for fault in _faults_of(life, expected.payments[key], payer(plan, place), reported.pop(key, [])):
            yield f"{key}: {fault}"
    for key, events in reported.items():
        yield f"{key}: nobody planned it, and there are {len(events)} events of it"


def _faults_of(life: Life, outcome: tuple[str, int, int], user_id: int, reported: Sequence[Event]) -> Iterator[str]:
    """`reported` are the payment's events, the oldest first."""
    status, amount, credited = outcome
    counts: dict[str, int] = defaultdict(int)
    for event in reported:
        counts[event["type"].removeprefix("payment.")] += 1
    is_collected = status not in (*_ENDED, "authorized", "pending")
    if counts["completed"] != int(is_collected):
        yield f"{counts['completed']} times completed, and it is {status}"
    if status in _ENDED and not counts["failed"]:
        yield f"it is {status}, and no event says so"
    for kind, words in (
        ("failed", (*_ENDED, "charge_failed", "session_failed")),
        ("refunded", ("refunded", "part", "refund_failed", "part_failed", "refund_created", "refund_reverted")),
        ("disputed", ("disputed", "won", "lost", "disputed_again")),
    ):
        if counts[kind] and life.words.isdisjoint(words):
            yield f"{counts[kind]} times {kind}, and nobody said that"
    if "disputed" in life.words and not counts["disputed"]:
        yield "it was disputed, and no event says so"
    if not reported:
        return
    last = reported[-1]["data"]
    refunded = {"refunded": amount, "partially_refunded": amount - credited}.get(status, 0)
    # a payment that ended and began again is pending once more, of which no event says
    wanted = {"status": status if is_collected or status in _ENDED else last["status"], "user_id": user_id}
    wanted |= {"refunded_minor": refunded, "amount_minor": amount}
    for name, value in wanted.items():
        if last[name] != value:
            yield f"the last event says {name} {last[name]}, it must be {value}"


def _wallets(expected: Expected, received: Received) -> Iterator[str]:
    last: dict[int, int] = {}
    for event in _of_type(received, "wallet.changed"):
        last[event["data"]["user_id"]] = event["data"]["balance_minor"]
    for user_id, balance in expected.balances.items():
        if last.get(user_id, 0) != balance:
            yield f"user {user_id}: the last event says {last.get(user_id)}, it must be {balance}"


def _subscriptions(expected: Expected, received: Received) -> Iterator[str]:
    turns: dict[int, int] = defaultdict(int)
    for kind, step in (("activated", 1), ("suspended", -1)):
        for event in _of_type(received, f"subscription.{kind}"):
            turns[event["data"]["subscription_id"]] += step
    wanted = {place + 1: 1 for place in expected.active}
    for number in sorted(turns.keys() | wanted.keys()):
        if turns[number] != wanted.get(number, 0):
            turn, must = turns[number], wanted.get(number, 0)
            yield f"subscription {number}: {turn} times more activated than suspended, it must be {must}"


def _lessons(courses: Sequence[int], received: Received) -> Iterator[str]:
    ready = {event["data"]["course_id"] for event in _of_type(received, "lesson.ready")}
    yield from (f"course {number} is ready, and no event says so" for number in sorted(set(courses) - ready))
    yield from (f"course {number} is not of this school" for number in sorted(ready - set(courses)))
    failed = [event["data"]["course_id"] for event in _of_type(received, "lesson.failed")]
    yield from (f"course {number} failed" for number in failed)


def _of_type(received: Received, kind: str) -> list[Event]:
    """The oldest first."""
    return [event for _, event in sorted(received.items()) if event["type"] == kind]
