"""Composition root of the computation, for the worker and the command line."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import Engine

from services.stats.sections import SECTIONS
from services.stats.sections.base import Rules
from services.stats.settings import CountSettings
from services.stats.snapshots.compute import Computation
from services.stats.snapshots.postgres_sections import PostgresSections
from services.stats.snapshots.postgres_snapshots import open_book


def build_computation(
    engine: Engine, settings: CountSettings, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Computation:
    """A computation needs three connections of `engine` at a time: two read the facts, one keeps the days."""
    return Computation(
        facts=PostgresSections(engine, SECTIONS, Rules(settings.currency, settings.stats_grace_days)),
        open_book=partial(open_book, engine),
        zone=settings.zone,
        currency=settings.currency,
        now=now,
    )
