"""The catalogue of all numbers by id; docs/statistics.md is generated from it."""

from enum import StrEnum
from functools import cache

from services.stats.sections import SECTIONS
from services.stats.sections.base import MetricDefinition, Section, Unit

#: Raised with every change of what a number means, so that older days are seen to be of older definitions.
REVISION = 8

#: What became of payments that were begun in a day: it goes on after the month is closed, and alarms nobody.
SETTLE_LATER = frozenset(
    f"payments.{name}" for name in ("started_by_status", "pending", "failed", "failure_reasons", "success_rate")
)

#: What a reader would like to know and the data do not say; a number is never made up.
LEFT_OUT = {
    "users who logged in": "only the last login of a user is kept, so a day's logins are forgotten at the next one",
    "lessons watched in a player that does not report": "segments come from caches, and a segment that was fetched is "
    "not one that was watched; docs/playback.md has the report that a player sends",
    "payouts that nobody recorded": "providers report none of them; `nouba payments record-payout` books what the "
    "school's bank got",
    "webhooks that came twice": "a repetition leaves no row; Prometheus counts it (nouba_gateway_requests_total)",
    "webhooks that were refused": "what proves nothing is not kept; Prometheus counts it",
    "jobs of the queues": "that a message was done or tried again leaves no row; Prometheus counts it "
    "(nouba_messages_total); here is what became of the webhooks and of the transcodings, which is in the database",
    "storage beside the videos": "the store alone knows what else it holds",
    "a transcoding that failed and was tried again": "only its last end is kept",
    "terms that were returned before migration 0034": "the row forgot them; later ones are kept",
    "when a payment failed": "only that it did; it counts in the day in which it was begun",
}

#: What has to agree, on every day; tests/stats/sections/test_reconciliation.py tries it on thousands of histories.
IDENTITIES = (
    ("the change of `wallets.total`", "`payments.topped_up` + `wallets.adjusted` - `payments.refunded` - "
     "`payments.charged_back` - the change of `payments.disputes_open` - `revenue.net`"),
    ("`payments.cash_in`", "`payments.topped_up` + `payments.office`; `payments.office_returned` is not taken off"),
    ("`payments.office`", "the sum of `payments.office_by_method`"),
    ("`payments.fees`", "the sum of `payments.fees_by_provider`"),
    ("`payments.clearing`", "the sum of `payments.clearing_by_provider`"),
    ("the change of `payments.clearing`", "`payments.topped_up` - `payments.refunded` - `payments.charged_back` - the "
     "change of `payments.disputes_open` - `payments.fees` - `payments.paid_out`, where disputes took nothing that the "
     "wallets did not hold"),
    ("`wallets.total`", "`wallets.credit` - `wallets.debt`"),
    ("`revenue.net`", "`revenue.billed` - `revenue.returned`, and the sum of `revenue.by_chapter` and of "
     "`revenue.by_teacher`"),
    ("`revenue.net`", "`revenue.earned` + the change of `revenue.deferred`, where every term was paid from a wallet"),
    ("the change of `subscriptions.mrr`", "new + expansion + reactivation - contraction - churn"),
    ("the change of `subscriptions.subscribers`", "`subscribers_gained` - `subscribers_lost`"),
    ("`lessons.watched`", "the sum of `lessons.by_course` and of `lessons.by_chapter`"),
    ("`lessons.watch_time`", "the sum of `lessons.watch_time_by_course` and of `lessons.watch_time_by_chapter`"),
    ("the change of `subscriptions.active`", "`begun` - `ended`"),
    ("`gross_mrr_churn_30`, `net_mrr_churn_30`", "100 % - `grr_30`, 100 % - `nrr_30`"),
)  # fmt: skip


class Over(StrEnum):
    """What a number is over several days."""

    SUM = "sum"
    LAST = "last"  # it stands at a day's end, or is of the days until then
    NOTHING = "nothing"  # a ratio, a mean, a percentile, or users who may be the same on several days


_LAST = {
    "revenue": ("net_to_date", "deferred"),
    "payments": ("disputes_open", "clearing", "clearing_by_provider", "topped_up_to_date", "completed_to_date"),
    "wallets": ("credit", "debt", "debtors", "total"),
    "subscriptions": (
        "total", "students", "students_by_year", "active", "expired", "expiring_7", "expiring_30", "active_by_level",
        "popular_chapters", "pending", "mrr", "subscribers", "customer_churn_30", "gross_mrr_churn_30",
        "net_mrr_churn_30", "grr_30", "nrr_30", "renewal_rate_30",
    ),
    "engagement": ("weekly", "monthly", "stickiness"),
    "users": ("total", "by_role", "by_year"),
    "teachers": ("total", "regular", "by_specialisation"),
    "content": (
        "chapters", "chapters_by_year", "courses", "courses_with_video", "courses_with_pdf", "videos_by_status",
        "videos", "video_minutes", "video_bytes",
    ),
}  # fmt: skip
#: Times that add up; those of other sections are percentiles.
_ADDED_TIMES = frozenset(f"lessons.watch_time{by}" for by in ("", "_by_course", "_by_chapter"))
_NOTHING = {
    "lessons": ("viewers",),
    "payments": ("mean",),
    "wallets": ("mean",),
    "attendance": ("attendees",),
    "engagement": ("daily",),
    "users": ("active",),
    "teachers": ("active", "own"),
}


@cache
def over(name: str) -> Over:
    """What the number `section.name` is over several days."""
    section, _, number = name.partition(".")
    if number in _LAST.get(section, ()):
        return Over.LAST
    units = {each.unit for _, each in find(name) if each.name == number}
    if name in _ADDED_TIMES:
        return Over.SUM
    is_ratio = units & {Unit.BASIS_POINTS, Unit.HUNDREDTHS, Unit.MILLISECONDS}
    return Over.NOTHING if is_ratio or number in _NOTHING.get(section, ()) else Over.SUM


def find(name: str) -> list[tuple[Section, MetricDefinition]]:
    """The numbers whose id is `name` or begins like it; all of a section for a section's name."""
    return [
        (section, number)
        for section in SECTIONS
        for number in section.numbers
        if f"{section.name}.{number.name}".startswith(name)
    ]


@cache
def find_one(name: str) -> tuple[Section, MetricDefinition] | None:
    """The number whose id is `name`."""
    return next((one for one in find(name) if f"{one[0].name}.{one[1].name}" == name), None)


@cache
def observed_names(section_name: str) -> tuple[str, ...]:
    """The numbers of a section that can be known at the day's end only."""
    return tuple(
        number.name
        for section in SECTIONS
        for number in section.numbers
        if section.name == section_name and number.observed
    )


@cache
def reach_of(name: str) -> int:
    """For how many days a fact in this number has a say; 0 for what no definition names."""
    found = find_one(name)
    return found[1].reach_days if found else 0


@cache
def named_by(name: str) -> str:
    """What the keys of the number `section.name` are ids of: chapter, course or teacher; empty where they are words."""
    found = find_one(name)
    by = found[1].by if found else None
    return (by or "").removesuffix("'s id") if by and by.endswith("'s id") else ""


def is_observed(name: str) -> bool:
    """Whether the number `section.name` is known at the day's end only."""
    section, _, number = name.partition(".")
    return number in observed_names(section)


def as_markdown() -> str:
    """The reference page."""
    lines = [*_INTRODUCTION]
    for section in SECTIONS:
        lines += ["", f"## {section.name}", "", f"Source: {section.source}, where a number does not say another.", ""]
        lines += ["| number | unit | what it is |", "|---|---|---|"]
        lines += [f"| `{number.name}` | {number.unit} | {_definition_text(number)} |" for number in section.numbers]
    lines += ["", "## What agrees", "", "| number | is |", "|---|---|"]
    lines += [f"| {one} | {other} |" for one, other in IDENTITIES]
    lines += ["", "## What is left out", "", "A number that the data do not say is not made up.", ""]
    lines += [f"- {what}: {why}." for what, why in LEFT_OUT.items()]
    return "\n".join(lines) + "\n"


def _definition_text(number: MetricDefinition) -> str:
    parts = [number.definition]
    if number.by:
        parts.append(f"By {number.by}.")
    if number.observed:
        parts.append("*end*")
    if number.source:
        parts.append(f"Source: {number.source}.")
    if number.reconciles:
        parts.append(f"Agrees with {number.reconciles}.")
    if number.reference:
        parts.append(f"[Reference]({number.reference}).")
    return " ".join(parts)


_INTRODUCTION = (
    "# What the statistics count",
    "",
    "Written by `nouba stats definitions --markdown`; a test keeps it true.",
    "",
    "A day is [midnight, midnight) in the school's zone. Every number is an integer: amounts in minor units of the "
    "school's currency (centimes), ratios in basis points (hundredths of a percent), means in hundredths, times in "
    "milliseconds, the length of videos in minutes, sizes in bytes. Rounding is to the nearest, halves up. A breakdown "
    "names the 50 largest keys; `~others` is the rest and `~none` an empty field.",
    "",
    "Money counts on the day on which the ledger booked it. What is taken back later is taken off that later day, and "
    "the day of the sale keeps its number. What somebody edits in a subscription later, its price, its end or its "
    "status, changes no day before: `subscription_terms` keeps it as it was sold, and `chapter_teachers` who taught a "
    "chapter when.",
    "",
    "A number marked *end* has a source that keeps no history. It is read within 24 hours of the day's end, kept in "
    "all later versions of the day, and left out where the day was first computed later.",
    "",
    "The worked cases of `tests/stats/conformance/cases.toml`, published examples of ChartMogul, Paddle and Recurly "
    "among them, say what each of these numbers is; anybody may run their own statistics on them.",
)
