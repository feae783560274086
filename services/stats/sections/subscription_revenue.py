"""Revenue of subscriptions: billed, returned, net, earned and deferred; refunds and fees are in `payments`."""

from services.stats.days import Days
from services.stats.sections.base import (
    FOREVER,
    MetricDefinition,
    Query,
    Rules,
    Section,
    Unit,
    Values,
    breakdown,
)
from services.stats.sections.ledger_movements import ledger
from services.stats.sections.subscriptions import count_terms

_LEDGER = "ledger_transactions, ledger_entries"
_TERMS = "subscriptions, subscription_terms"

NUMBERS = (
    MetricDefinition(
        "net",
        Unit.MINOR,
        "Net sales: what wallets paid in the day for subscriptions, less what of it was returned in the day. A top-up "
        "is no sale; what was returned is taken off the day of the return, and the day of the sale stays as it is. "
        "Money of the office is beside the wallets and no part of this. Prices are as the school set them: VAT is not "
        "split off.",
        reconciles="billed less returned; the change of deferred and what was earned",
        reference="https://docs.stripe.com/revenue-recognition/methodology",
    ),
    MetricDefinition("billed", Unit.MINOR, "What wallets paid for subscriptions, booked in the day."),
    MetricDefinition(
        "returned", Unit.MINOR, "What went back to wallets for subscriptions that could not be paid any more."
    ),
    MetricDefinition("net_to_date", Unit.MINOR, "`net` of all days up to this one.", reach_days=FOREVER),
    MetricDefinition(
        "by_chapter",
        Unit.MINOR,
        "`net` of the day; what has no chapter is `~none`.",
        by="chapter's id",
        reconciles="`net`",
    ),
    MetricDefinition(
        "by_teacher",
        Unit.MINOR,
        "`net` of the day, by the teacher whom the chapter had when it was booked; what has none is `~none`.",
        by="teacher's id",
        source=f"{_LEDGER}, chapter_teachers",
        reconciles="`net`",
    ),
    MetricDefinition(
        "earned",
        Unit.MINOR,
        "What was paid, spread over the days that it was paid for: from the day in which a term begins to the one "
        "before that in which it ends, in whole units, the first days get the remainder. A term without an end is "
        "earned on its first day. The rest of a term that is stopped is earned on that day; what is returned is taken "
        "off. Money of the office is beside the wallets and no part of this.",
        reach_days=FOREVER,
        source=_TERMS,
        reconciles="`net` less the change of deferred",
        reference="https://docs.stripe.com/revenue-recognition/methodology",
    ),
    MetricDefinition(
        "deferred",
        Unit.MINOR,
        "Deferred revenue at the day's end: what was paid for terms and is not earned yet. Money of the "
        "office is beside the wallets and no part of this.",
        reach_days=FOREVER,
        source=_TERMS,
        reconciles="the day before, with `net`, without earned",
        reference="https://docs.stripe.com/revenue-recognition/methodology",
    ),
)


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    moved = ask.once(ledger, days, rules.currency).moved
    terms = ask.once(count_terms, days, rules.grace_days).recognition
    earned, deferred, to_date = terms.earned(), terms.deferred(), moved.before["revenue"]
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        net = moved.billed[bucket] - moved.returned[bucket]
        to_date += net
        values[day] = {
            "net": net,
            "billed": moved.billed[bucket],
            "returned": moved.returned[bucket],
            "net_to_date": to_date,
            "by_chapter": breakdown(moved.by_chapter, bucket),
            "by_teacher": breakdown(moved.by_teacher, bucket),
            "earned": earned[bucket],
            "deferred": deferred[bucket],
        }
    return values


SECTION = Section("revenue", NUMBERS, compute, weight=0, source=_LEDGER)
