"""Erases what is older than its retention, in small batches.

The functions of the database do it with the rights of the tables' owner: a service may call them, and erase nothing
else. Rows of record stay, with their digests, so that the hash chain is as valid as before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Counter
from sqlalchemy import Engine, func, select, text

from shared.operations.retention.settings import RetentionSettings
from shared.runtime.periodic_thread import PeriodicThread

#: Rows of one transaction: its locks last milliseconds.
BATCH_SIZE = 500
ROUND_EVERY_SECONDS = 600.0

ERASED = Counter("nouba_retention_erased_total", "Rows that retention erased or emptied.", ["kind"])
# a process that erased nothing yet shows that it would
for _kind in ("webhook_bodies", "dead_letters", "audit", "statistics", "lesson_views"):
    ERASED.labels(_kind)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of data: how long it is kept, the function that erases it, and what is due."""

    kind: str
    days: int
    function: str
    due: str
    #: Of an index that has what is due alone, so that a count of the first rows ends there; columns of `due`, too.
    order: str

    def before(self, now: datetime) -> datetime:
        """What is older is erased."""
        return now - timedelta(days=self.days)


def rules(settings: RetentionSettings) -> Sequence[Rule]:
    """All of them; one of 0 days erases nothing."""
    return (
        Rule(
            "webhook_bodies",
            settings.retention_webhook_bodies_days,
            "erase_webhook_bodies",
            "webhook_events WHERE received_at < :before AND body_erased_at IS NULL AND sha256(body) = body_sha256"
            " AND (state IN ('applied', 'ignored') OR state IN ('quarantined', 'dead') AND resolution IS NOT NULL)",
            "received_at",
        ),
        Rule(
            "dead_letters",
            settings.retention_dead_letters_days,
            "erase_dead_letters",
            "dead_letters WHERE died_at < :before AND state <> 'dead' AND message <> ''::bytea",
            "died_at",
        ),
        Rule(
            "audit",
            settings.retention_audit_days,
            "erase_operator_acts",
            "operator_acts WHERE acted_at < :before AND erased_at IS NULL",
            "acted_at",
        ),
        Rule(
            "statistics",
            settings.retention_statistics_days,
            "delete_old_statistics",
            "daily_stats s JOIN daily_stats_newest n ON n.day = s.day AND s.version < n.version"
            " WHERE s.computed_at < :before",
            "s.day",
        ),
        Rule(
            "lesson_views",
            settings.retention_lesson_views_days,
            "forget_lessons",
            "(SELECT DISTINCT day, viewer FROM lesson_views WHERE day < CAST(:before AS date) AND course_id <> 0"
            " AND viewer NOT LIKE '~%') AS named",
            "day, viewer",
        ),
    )


def count_due(engine: Engine, rule: Rule, now: datetime, at_most: int | None = None) -> int:
    """How many rows the rule would erase now; beyond `at_most` they are not counted."""
    if not rule.days:
        return 0
    with engine.connect() as connection:
        # constants of this module
        rows = f"SELECT FROM {rule.due} ORDER BY {rule.order} LIMIT :at_most"
        query = text(f"SELECT count(*) FROM ({rows}) AS due")  # noqa: S608
        return int(connection.scalar(query, {"before": rule.before(now), "at_most": at_most}) or 0)


def erase_batch(engine: Engine, rule: Rule, now: datetime) -> int:
    """Erase at most a batch, in a transaction of its own; how many rows it had."""
    if not rule.days:
        return 0
    with engine.begin() as connection:
        call = getattr(func, rule.function)(rule.before(now), BATCH_SIZE)
        erased = int(connection.scalar(select(call)) or 0)
    ERASED.labels(rule.kind).inc(erased)
    return erased


def retention_thread(
    engine: Engine, settings: RetentionSettings, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> PeriodicThread:
    """The duty of the payments worker. Several workers may do it at once: each takes rows that no other has locked."""

    def round_of_all() -> bool:
        erased = {rule.kind: erase_batch(engine, rule, now()) for rule in rules(settings)}
        if any(erased.values()):
            log.info("erased what is past its retention", **erased)
        return BATCH_SIZE in erased.values()

    return PeriodicThread("retention", round_of_all, ROUND_EVERY_SECONDS, at_once=True)
