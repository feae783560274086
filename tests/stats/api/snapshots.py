"""Kept days for the readers' tests: every number of every section, by the same book that a computation writes."""

import gzip
import hashlib
import math
from datetime import date, timedelta

from services.stats.sections import SECTIONS
from services.stats.sections.base import MetricDefinition, Unit
from services.stats.settings import CountSettings
from services.stats.snapshots.compute import NewVersion, Payload, canonical
from services.stats.snapshots.postgres_snapshots import open_book
from services.stats.snapshots.wiring import build_computation
from shared.runtime.database import build_engine

#: Why a section fails in a version that is not complete.
REASON = "the database is busy"

KEYS = {
    "role": ("student", "teacher", "parent"),
    "status": ("completed", "pending", "failed"),
    "provider": ("chargily", "satim", "stripe"),
    "method": ("edahabia", "cib"),
    "chapter's id": tuple(str(number) for number in range(1, 12)),
    "teacher's id": ("3", "14", "15"),
}


def compute(database_url: str, facts: str, day: date) -> None:
    """Write the facts of a school, in SQL, and compute a day of them as a worker does."""
    engine = build_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(facts)
    build_computation(engine, CountSettings(database_url=database_url)).compute(day, day)
    engine.dispose()


def keep(database_url: str, first: date, last: date, *, complete: bool = True, version: int = 1) -> dict[date, str]:
    """Keep a version of all days from `first` to `last`; returns their tags. Another `version` has other numbers."""
    engine = build_engine(database_url)
    try:
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        versions = [version_of(day, version, complete=complete) for day in days]
        with open_book(engine) as book:
            book.keep(versions)
            book.checked(dict.fromkeys(days, not complete), {})
        return {kept.day: kept.etag for kept in versions}
    finally:
        engine.dispose()


def keep_version(database_url: str, day: date, version: int, without: tuple[str, str]) -> None:
    """Keep another version of `day`, which lacks the number `without`: its section and its name."""
    payload = payload_of(day, version)
    del payload["sections"][without[0]]["numbers"][without[1]]
    engine = build_engine(database_url)
    try:
        with open_book(engine) as book:
            book.keep([_version(day, version, payload)])
            book.checked({day: False}, {})
    finally:
        engine.dispose()


def version_of(day: date, version: int = 1, *, complete: bool = True) -> NewVersion:
    """One version of a day; the same day and version are the same bytes."""
    return _version(day, version, payload_of(day, version, complete=complete))


def _version(day: date, version: int, payload: Payload) -> NewVersion:
    body = canonical(payload)
    etag, zipped = hashlib.sha256(body).hexdigest(), gzip.compress(body, 9, mtime=0)
    return NewVersion(day, version, payload, etag, zipped, bool(payload["complete"]), "1:1:")


def payload_of(day: date, version: int = 1, *, complete: bool = True) -> Payload:
    return {
        "day": day.isoformat(),
        "zone": "Africa/Algiers",
        "currency": "DZD",
        "definitions": 1,
        "complete": complete,
        "names": {"chapter": {"1": "Suites and series"}, "teacher": {}},
        "sections": {
            section.name: {"numbers": {number.name: _value(number, day, version) for number in section.numbers}}
            for section in SECTIONS
        }
        | ({} if complete else {"users": {"failed": REASON}}),
    }


def _value(number: MetricDefinition, day: date, version: int) -> int | dict[str, int]:
    """Something that grows, swings with the week and jumps about a little."""
    ordinal = day.toordinal() - date(2024, 1, 1).toordinal()
    seed = hashlib.sha256(f"{number.name} {day}".encode()).digest()[0]
    scale = {Unit.MINOR: 250_000, Unit.BASIS_POINTS: 20, Unit.HUNDREDTHS: 30, Unit.MILLISECONDS: 2}.get(number.unit, 1)
    amount = scale * int(100 + ordinal / 8 + 25 * math.sin(ordinal / 7 * 2 * math.pi) + seed / 8) + version
    if number.by is None:
        return amount
    keys = KEYS.get(number.by, ("first", "second", "~none"))
    return {key: amount // (place + 2) for place, key in enumerate(keys)}
