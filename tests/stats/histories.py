"""Histories of small schools for Hypothesis: late, refunded and cancelled, and many events at the edge of midnight."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from tests.stats.oracle_day import Row, School

#: Zones, and days in them whose neighbourhood is worth a test: both clock changes, a leap day, a turn of the year.
PLACES = (
    (ZoneInfo("Africa/Algiers"), date(2026, 3, 29)),
    (ZoneInfo("Africa/Algiers"), date(2028, 2, 29)),
    (ZoneInfo("Africa/Algiers"), date(2026, 1, 1)),
    (ZoneInfo("Europe/Paris"), date(2026, 3, 29)),
    (ZoneInfo("Europe/Paris"), date(2026, 10, 25)),
)
STATUSES = (
    "pending", "authorized", "expired", "canceled", "failed", "completed", "partially_refunded", "refunded",
    "disputed", "charged_back",
)  # fmt: skip
#: Accounts of the school that each provider has of its own.
WITH_PROVIDER = ("psp_clearing", "psp_fees", "dispute_fees", "bank")
#: Those that mean that the money was collected.
COLLECTED = STATUSES[5:]

#: An instant is given by days from the day in question, hours from that midnight, and microseconds from that.
Moment = tuple[int, int, int]
History = tuple[School, ZoneInfo, date]


def _instant(zone: ZoneInfo, day: date, moment: Moment) -> datetime:
    days, hours, microseconds = moment
    midnight = datetime.combine(day + timedelta(days=days), time.min, tzinfo=zone)
    # in UTC: to add to an aware time of a zone would add on the clock's face
    return midnight.astimezone(UTC) + timedelta(hours=hours, microseconds=microseconds)


_days = st.one_of(st.integers(-3, 3), st.sampled_from((-61, -31, -30, -29, -8, -7, -6, 7, 30)))
_moments = st.tuples(_days, st.one_of(st.just(0), st.integers(-25, 25)), st.integers(-1, 1))
_words = st.sampled_from((None, "A", "B", "ب"))
#: Which row of another table is meant; None where it may be none.
_some = st.integers(0, 7)
_maybe = st.one_of(st.none(), _some)
_amounts = st.one_of(st.integers(0, 7), st.integers(0, 1_000_003))

_payments = st.fixed_dictionaries(
    {
        "user_id": _some,
        "provider": st.sampled_from(("chargily", "satim", "stripe")),
        "amount_minor": _amounts,
        "given_back": st.integers(0, 1000),
        "currency": st.sampled_from(("DZD", "DZD", "DZD", "EUR")),
        "method": st.sampled_from((None, "edahabia", "cib")),
        "status": st.sampled_from(STATUSES),
        "fee_minor": st.one_of(st.none(), st.integers(0, 1000)),
        "failure_reason": _words,
        "created_at": _moments,
        "completed_at": _moments,
    }
)
_terms = st.one_of(
    st.none(),
    st.tuples(
        st.sampled_from((0, 0, 1, 7, 28, 30, 31, 32, 59, 62, 90, 93, 365, -1)),
        st.sampled_from((0, 0, 1)),
        st.integers(-1, 1),
    ),
)
_subscriptions = st.fixed_dictionaries(
    {
        "user_id": _some,
        "chapter_id": _maybe,
        "amount_minor": _amounts,
        "status": st.sampled_from(("pending_payment", "active", "active", "active", "expired", "cancelled")),
        "access_level": _words,
        "activated_at": st.one_of(st.none(), _moments),
        "term": _terms,
        "ends_at": st.one_of(st.none(), _moments),
        "created_at": _moments,
    }
)
_events = st.fixed_dictionaries(
    {
        "provider": st.sampled_from(("chargily", "satim", "stripe")),
        "state": st.sampled_from(("received", "applied", "applied", "ignored", "quarantined", "dead")),
        "signed": st.booleans(),
        "attempts": st.integers(0, 3),
        "payment_id": _maybe,
        "received_at": _moments,
        "waited": st.integers(0, 10**10),
    }
)
_jobs = st.fixed_dictionaries(
    {
        "course_id": _some,
        "state": st.sampled_from(("queued", "completed", "completed", "completed", "failed", "cancelled")),
        "source_bytes": st.integers(0, 10**10),
        "duration_seconds": st.floats(0.001, 20_000),
        "created_at": _moments,
        "took": st.integers(0, 10**11),
        # of its parts: the kind, and the sizes of the files
        "parts": st.lists(
            st.tuples(st.sampled_from(("plan", "first", "video", "audio", "stills")), st.lists(_amounts, max_size=2)),
            max_size=3,
        ),
    }
)
_dead = st.fixed_dictionaries({"queue": st.sampled_from(("videos", "default")), "died_at": _moments})
_entries = st.fixed_dictionaries(
    {
        "account": st.sampled_from(
            (
                "user_wallet",
                "user_wallet",
                "user_wallet",
                "subscription_revenue",
                "psp_clearing",
                "psp_fees",
                "bank",
                "dispute_withheld",
                "dispute_fees",
            )
        ),
        "kind": st.sampled_from(
            (
                "payment",
                "payment",
                "refund",
                "refund_reversed",
                "dispute_withheld",
                "dispute_released",
                "dispute_lost",
                "adjustment",
                "payout",
                "activation",
                "deactivation",
            )
        ),
        "at": _moments,
        "amount_minor": st.integers(1, 5000),
        "back": st.booleans(),
        "whose": _some,
        "payment_id": _maybe,
    }
)
#: What is kept of a term that was changed: of the one that its subscription has now, or of an earlier one.
_sold = st.fixed_dictionaries(
    {
        "whose": _some,
        "activated_at": st.one_of(st.none(), _moments),
        "amount_minor": _amounts,
        "term": _terms,
        "stopped_at": st.one_of(st.none(), _moments),
        "is_returned": st.booleans(),
    }
)
_office = st.fixed_dictionaries(
    {
        "user_id": _maybe,
        "method": st.sampled_from(("cash", "transfer")),
        "amount_minor": st.sampled_from((1, 2_500, -40)),
        "currency": st.sampled_from(("DZD", "DZD", "EUR")),
        "received_at": _moments,
    }
)
_views = st.fixed_dictionaries(
    {
        # users, and whom no user's id is
        "viewer": st.sampled_from(("1", "2", "3", "77", "u-1", "~a random name", "01", "9" * 19)),
        # also one that is gone, and what is left of an erased one
        "lesson": st.integers(0, 3),
        "chapter_id": _maybe,
        "days": _days,
        "played_ms": st.sampled_from((0, 1, 59_999, 3_600_000, 86_400_000)),
        "number_of_parts": st.sampled_from((0, 1, 89, 90, 100)),
        "last_at": _moments,
    }
)
_taught = st.fixed_dictionaries({"chapter_id": _maybe, "teacher_id": _maybe, "since_at": _moments})
_raw = st.fixed_dictionaries(
    {
        "users": st.lists(
            st.fixed_dictionaries(
                {"created_at": _moments, "role": st.sampled_from(("student", "teacher")), "year_of_study": _words}
            ),
            min_size=1,
            max_size=6,
        ),
        "teachers": st.lists(st.fixed_dictionaries({"created_at": _moments, "specialisation": _words}), max_size=2),
        "chapters": st.lists(
            st.fixed_dictionaries({"created_at": _moments, "teacher_id": _maybe, "year_target": _words}), max_size=3
        ),
        "courses": st.lists(
            st.fixed_dictionaries(
                {
                    "created_at": _moments,
                    "chapter_id": _maybe,
                    "video_ref": _words,
                    "pdf_summary": _words,
                    "transcoding_status": st.sampled_from((None, "pending", "completed", "failed")),
                }
            ),
            max_size=4,
        ),
        "sessions": st.lists(
            st.fixed_dictionaries({"starts_at": _moments, "chapter_id": _maybe, "teacher_id": _maybe}), max_size=3
        ),
        "attendances": st.lists(
            st.fixed_dictionaries({"session_id": _some, "user_id": _some, "checked_in_at": _moments}), max_size=8
        ),
        "payments": st.lists(_payments, max_size=8),
        "subscriptions": st.lists(_subscriptions, max_size=8),
        "webhook_events": st.lists(_events, max_size=6),
        "transcode_jobs": st.lists(_jobs, max_size=6),
        "dead_letters": st.lists(_dead, max_size=3),
        "ledger": st.lists(_entries, max_size=8),
        "office_payments": st.lists(_office, max_size=3),
        "subscription_terms": st.lists(_sold, max_size=3),
        "chapter_teachers": st.lists(_taught, max_size=3),
        "lesson_views": st.lists(_views, max_size=6),
    }
)


def _build(place: tuple[ZoneInfo, date], raw: School) -> History:
    zone, day = place
    school: School = {}
    for table, rows in raw.items():
        school[table] = [
            {"id": number, **{name: _typed(zone, day, raw, name, value) for name, value in row.items()}}
            for number, row in enumerate(rows, start=1)
        ]
    if not school["sessions"]:
        school["attendances"] = []
    if not school["courses"]:
        school["transcode_jobs"] = []
    for job in school["transcode_jobs"]:
        took = timedelta(microseconds=job.pop("took"))
        job["finished_at"] = None if job["state"] == "queued" else job["created_at"] + took
    for payment in school["payments"]:
        _finish_payment(payment)
    for subscription in school["subscriptions"]:
        _finish_subscription(subscription)
    for event in school["webhook_events"]:
        waited = timedelta(microseconds=event.pop("waited"))
        event["processed_at"] = None if event["state"] == "received" else event["received_at"] + waited
    school["ledger"] = [_entry(school, entry) for entry in school["ledger"]]
    sold = [_sold_term(school["subscriptions"], row) for row in school["subscription_terms"]]
    school["subscription_terms"] = _unique(filter(None, sold), "subscription_id", "activated_at")
    taught = [
        {"chapter_id": row["chapter_id"], "teacher_id": row["teacher_id"], "since": row["since_at"]}
        for row in school["chapter_teachers"]
        if row["chapter_id"] is not None
    ]
    school["chapter_teachers"] = _unique(taught, "chapter_id", "since")
    for view in school["lesson_views"]:
        view["course_id"] = view.pop("lesson")
        view["day"] = day + timedelta(days=view.pop("days"))
        view["parts"] = ("1" * view.pop("number_of_parts")).rjust(100, "0")
    school["lesson_views"] = _unique(school["lesson_views"], "viewer", "course_id", "day")
    return school, zone, day


def _typed(zone: ZoneInfo, day: date, raw: School, name: str, value: Any) -> Any:
    if name.endswith("_at") or name == "at":
        return None if value is None else _instant(zone, day, value)
    if name.endswith("_id"):
        table = name.removesuffix("_id") + "s"
        return None if value is None or not raw[table] else 1 + value % len(raw[table])
    return value


def _finish_payment(payment: Row) -> None:
    amount, thousandths = payment["amount_minor"], payment.pop("given_back")
    gone = {"refunded": amount, "disputed": amount, "charged_back": amount}.get(payment["status"], 0)
    if payment["status"] == "partially_refunded":
        gone = amount * thousandths // 1000
    collected = payment["status"] in COLLECTED
    payment["credited_minor"] = amount - gone if collected else 0
    payment["refunded_minor"] = gone
    if not collected:
        payment["completed_at"] = payment["fee_minor"] = None


def _finish_subscription(subscription: Row) -> None:
    term = subscription.pop("term")
    if term is not None and subscription["activated_at"] is not None:
        subscription["ends_at"] = _later(subscription["activated_at"], term)


def _later(instant: datetime, term: Moment) -> datetime:
    days, hours, microseconds = term
    return instant + timedelta(days=days, hours=hours, microseconds=microseconds)


def _sold_term(subscriptions: list[Row], row: Row) -> Row | None:
    if not subscriptions:
        return None
    one = subscriptions[row["whose"] % len(subscriptions)]
    activated_at = row["activated_at"] or one["activated_at"]
    if activated_at is None:
        return None
    return {
        "subscription_id": one["id"],
        "activated_at": activated_at,
        **{name: one[name] for name in ("user_id", "chapter_id", "access_level")},
        "amount_minor": row["amount_minor"],
        "ends_at": None if row["term"] is None else _later(activated_at, row["term"]),
        "stopped_at": row["stopped_at"],
        "is_returned": row["is_returned"] and row["stopped_at"] is not None,
    }


def _unique(rows: Iterable[Row], *names: str) -> list[Row]:
    """At most one row of the same key."""
    return list({tuple(row[name] for name in names): row for row in rows}.values())


def _entry(school: School, entry: Row) -> Row:
    terms, users, account = school["subscriptions"], school["users"], entry["account"]
    if account == "subscription_revenue" and not terms:
        account = "psp_clearing"
    kind = entry["kind"]
    # a payout is between a provider and the bank
    if kind == "payout" and account != "bank":
        account = "psp_clearing"
    if account == "bank":
        kind = "payout"
    if account == "subscription_revenue" and kind != "deactivation":
        kind = "activation"
    return {
        "account": account,
        "kind": kind,
        "at": entry["at"],
        "amount_minor": -entry["amount_minor"] if entry["back"] else entry["amount_minor"],
        "user_id": 1 + entry["whose"] % len(users) if account == "user_wallet" else None,
        "subscription_id": 1 + entry["whose"] % len(terms) if account == "subscription_revenue" else None,
        "payment_id": entry["payment_id"],
        "provider": (None, "chargily", "satim")[entry["whose"] % 3] if account in WITH_PROVIDER else None,
    }


schools = st.builds(_build, st.sampled_from(PLACES), _raw)
