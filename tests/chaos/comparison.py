"""Compares what the database holds with what there must be, and names every difference."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import httpx
import psycopg2

from tests.chaos.cluster import TOKEN, House
from tests.chaos.lessons import Viewer
from tests.chaos.oracle import Expected

#: Of each kind of difference, so many are reported one by one.
_SHOWN = 10


@dataclass(slots=True)
class Findings:
    """What is not as it must be, by kind; and how many things were compared."""

    differences: dict[str, list[str]] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)

    def note(self, kind: str, differences: list[str], compared: int) -> None:
        self.compared[kind] = compared
        self.differences[kind] = differences

    @property
    def count(self) -> int:
        return sum(map(len, self.differences.values()))

    def sentences(self) -> list[str]:
        """The first few of each kind."""
        return [
            f"{kind}: {one}"
            for kind, found in self.differences.items()
            for one in [
                *found[:_SHOWN],
                *([f"... and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []),
            ]
        ]


class Rows:
    """What the database holds."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with contextlib.closing(psycopg2.connect(self._url, connect_timeout=5)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query, values)
                return list(cursor.fetchall())

    def one(self, query: str, *values: object) -> Any:
        return self.ask(query, *values)[0][0]

    def do(self, statement: str) -> int:
        with contextlib.closing(psycopg2.connect(self._url, connect_timeout=5)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return int(cursor.rowcount)


def compare(house: House, expected: Expected, courses: list[int], days: list[date]) -> Findings:
    """Everything, once the house is quiet."""
    rows = Rows(house.postgres.url)
    findings = compare_books(rows, expected)
    _compare_letters(rows, findings)
    _compare_lessons(house, rows, courses, findings)
    _compare_days(house, rows, expected, days, findings)
    return findings


def compare_books(rows: Rows, expected: Expected) -> Findings:
    """What the gateway keeps: events, payments, money and subscriptions."""
    findings = Findings()
    _compare_events(rows, expected, findings)
    _compare_payments(rows, expected, findings)
    _compare_money(rows, expected, findings)
    _compare_subscriptions(rows, expected, findings)
    return findings


def _compare_events(rows: Rows, expected: Expected, findings: Findings) -> None:
    kept = rows.ask(
        "SELECT provider, encode(body_sha256, 'hex'), state, id, reason, "
        "CASE method WHEN 'ANSWER' THEN headers ->> 'asked-about' END FROM webhook_events"
    )
    found: dict[tuple[str, str], int] = {}
    for provider, digest, *_ in kept:
        found[provider, digest] = found.get((provider, digest), 0) + 1
    # in a long storm the bank is asked about checkouts whose webhook did not come yet, and its answers are kept too
    asked = {(provider, digest) for provider, digest, *_, about in kept if (provider, about) in expected.payments}
    lost = [f"{provider} {digest[:12]}" for provider, digest in expected.events - found.keys()]
    findings.note("events lost", lost, len(expected.events))
    strange = [f"{provider} {digest[:12]}" for provider, digest in found.keys() - expected.events - asked]
    findings.note("events that nobody signed", strange, len(kept))
    findings.note("events kept twice", [f"{key}" for key, count in found.items() if count > 1], len(kept))
    unfinished = [
        f"event {number} of {provider} is {state}: {reason}"
        for provider, _, state, number, reason, _ in kept
        if state not in ("applied", "ignored")
    ]
    findings.note("events not settled", unfinished, len(kept))


def _compare_payments(rows: Rows, expected: Expected, findings: Findings) -> None:
    query = """
        SELECT provider, provider_reference, status, amount_minor, credited_minor, id,
               (SELECT coalesce(sum(e.amount_minor), 0) FROM ledger_entries e
                JOIN ledger_transactions t ON t.id = e.transaction_id
                JOIN ledger_accounts a ON a.id = e.account_id AND a.kind = 'user_wallet'
                WHERE t.payment_id = payments.id)::bigint
        FROM payments
    """
    found = rows.ask(query)
    paid = {(provider, reference): tuple(of_it) for provider, reference, *of_it, _, _ in found}
    findings.note("payments", _unlike(paid, expected.payments), len(expected.payments))
    doubled = [
        f"payment {number} is credited {credited}, its entries say {booked}"
        for *_, credited, number, booked in found
        if credited != booked
    ]
    findings.note("payments booked twice or not at all", doubled, len(found))


def _compare_money(rows: Rows, expected: Expected, findings: Findings) -> None:
    query = """
        SELECT users.id, balance_minor, (
            SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries
            JOIN ledger_accounts ON ledger_accounts.id = account_id WHERE user_id = users.id)::bigint
        FROM users
    """
    found = rows.ask(query)
    balances = {user_id: balance for user_id, balance, _ in found}
    findings.note("balances", _unlike(balances, expected.balances), len(balances))
    drifted = [f"user {user} has {balance}, entries say {sums}" for user, balance, sums in found if balance != sums]
    findings.note("balances that drifted from their entries", drifted, len(found))
    crooked = rows.ask(
        "SELECT transaction_id, sum(amount_minor) FROM ledger_entries GROUP BY transaction_id, currency"
        " HAVING sum(amount_minor) <> 0"
    )
    entries = rows.one("SELECT count(*) FROM ledger_entries")
    findings.note("transactions that do not sum to zero", [f"{number}: {sums}" for number, sums in crooked], entries)
    earned = rows.one(
        "SELECT coalesce(sum(amount_minor), 0)::bigint FROM ledger_entries"
        " JOIN ledger_accounts ON ledger_accounts.id = account_id WHERE kind = 'subscription_revenue'"
    )
    wrong = [f"{earned} is booked, {expected.earned_minor} was earned"] if earned != expected.earned_minor else []
    findings.note("revenue of subscriptions", wrong, 1)


def _compare_subscriptions(rows: Rows, expected: Expected, findings: Findings) -> None:
    query = """
        SELECT subscriptions.id, status,
               count(*) FILTER (WHERE kind = 'activation') - count(*) FILTER (WHERE kind = 'deactivation')
        FROM subscriptions LEFT JOIN ledger_transactions ON subscription_id = subscriptions.id
        GROUP BY subscriptions.id, status
    """
    found = {number: (status, turns) for number, status, turns in rows.ask(query)}
    wanted = {number: ("active", 1) if number - 1 in expected.active else ("pending_payment", 0) for number in found}
    findings.note("subscriptions", _unlike(found, wanted), len(found))


def _compare_letters(rows: Rows, findings: Findings) -> None:
    """A message that was in hand whenever a worker was killed is given up by RabbitMQ; nothing else has a reason to."""
    found = rows.ask("SELECT id, queue, actor, cause, error FROM dead_letters ORDER BY id")
    strange = [
        f"letter {number}, {actor} of {queue}, died of {cause}: {error}"
        for number, queue, actor, cause, error in found
        if cause != "delivery_limit"
    ]
    findings.note("messages that died of something else than kills", strange, len(found))


def _compare_lessons(house: House, rows: Rows, courses: list[int], findings: Findings) -> None:
    viewer, faults = Viewer(house), []
    for number, status, master in rows.ask("SELECT id, transcoding_status, video_ref FROM courses ORDER BY id"):
        if status != "completed" or not master:
            faults.append(f"course {number} is {status} and shows {master}")
        else:
            faults += [f"course {number}: {fault}" for fault in viewer.faults(master)]
    findings.note("videos", faults, len(courses))


def _compare_days(house: House, rows: Rows, expected: Expected, days: list[date], findings: Findings) -> None:
    newest = rows.ask("SELECT day, version, failed FROM daily_stats_newest ORDER BY day")
    once = dict.fromkeys(days, (1, True))
    per_day: dict[date, tuple[int, bool]] = {}
    for day, version, failed in newest:
        count = per_day.get(day, (0, True))[0] + 1
        per_day[day] = (count, version is not None and not failed)
    faults = _unlike(per_day, once)
    # a version is a change: each has the next number, and no two in a row are the same
    query = """
        SELECT day, version FROM (
            SELECT day, version, etag, lag(version, 1, 0) OVER days AS before, lag(etag) OVER days AS same
            FROM daily_stats WINDOW days AS (PARTITION BY day ORDER BY version)) AS versions
        WHERE version <> before + 1 OR etag = same
    """
    faults += [f"version {version} of {day} is one too many" for day, version in rows.ask(query)]
    answer = httpx.get(
        f"http://127.0.0.1:{house.stats_port}/api/stats",
        params={"from": str(days[0]), "to": str(days[-1])},
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=30,
    )
    reported = answer.raise_for_status().json()
    numbers = reported["sections"].get("payments", {"numbers": {"completed": [], "mean": []}})["numbers"]
    counted = zip(reported["days"], numbers["completed"], numbers["mean"], strict=True)
    shown = {date.fromisoformat(day): (completed, mean or 0) for day, completed, mean in counted}
    # amounts are booked today; of an earlier day the statistics say how many payments there were, and their mean
    paid = {day: expected.days.get(day, (0, 0)) for day in days}
    faults += _unlike(shown, {day: (n, (2 * amount + n) // (2 * n) if n else 0) for day, (n, amount) in paid.items()})
    findings.note("days of statistics", faults, len(days))


def _unlike(found: Mapping[Any, object], expected: Mapping[Any, object]) -> list[str]:
    """What is missing, too much, or another value than it must be."""
    return [
        f"{key} is {found.get(key, 'not there')}, it must be {expected.get(key, 'not there')}"
        for key in {**expected, **found}
        if found.get(key) != expected.get(key)
    ]
