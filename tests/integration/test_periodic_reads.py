"""No query that runs by itself reads a whole table that grows: day 1,000 is like day 1."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg2
import pytest
from sqlalchemy import Engine, event

from services.console.overview import read_overview
from services.playback.views import PostgresViews, View
from services.stats.api.snapshot_cache import SnapshotCache, refresh
from services.stats.days import Days
from services.stats.sections import engagement, lessons, subscriptions
from services.stats.sections.base import Query, Rules
from services.stats.snapshots.due_days import sweep
from services.transcoder.jobs.maintenance import Maintenance
from services.transcoder.jobs.scratch import ScratchSpace
from services.webhook_gateway.http.readiness import check
from services.webhook_gateway.reconciliation.postgres_schedule import PostgresPollSchedule
from services.webhook_gateway.settlement.postgres_wallets import users_covered
from services.webhook_gateway.settlement.retry_due import release_due, release_lost
from shared.contracts.routes import GATEWAY
from shared.messaging.relay import _TAKE_NEWEST, _TAKE_OLDEST, backlogs
from shared.operations.queues.pauses import list_pauses

#: Tables that are as large as the school is old; the outbox is empty again as soon as RabbitMQ answers.
GROWING = {
    "webhook_events",
    "payments",
    "ledger_entries",
    "ledger_transactions",
    "ledger_adjustments",
    "subscriptions",
    "users",
    "attendances",
    "dead_letters",
    "operator_acts",
    "transcode_jobs",
    "transcode_chunks",
    "lesson_views",
    "daily_stats",
    "seals",
}


def _take(engine: Engine) -> None:
    with engine.begin() as connection:
        for statement in (_TAKE_OLDEST, _TAKE_NEWEST):
            connection.exec_driver_sql(statement, (GATEWAY, "webhooks", 100))


def _sweep(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO users (created_at) VALUES (now() - interval '3 days')")
    sweep(engine, ZoneInfo("Africa/Algiers"), datetime.now(UTC), lookback_days=3)


def _maintain(engine: Engine) -> None:
    with contextlib.closing(ScratchSpace(reserve_bytes=0)) as scratch:
        with scratch.upload(1, 1, lambda folder: (folder / "upload").touch()):
            pass
        week = timedelta(days=7)
        # nothing is there to be removed, so no S3 is asked
        ages = {"orphan_age": week, "upload_age": week, "upload_retention": week}
        duties = Maintenance(engine, None, scratch, **ages)  # type: ignore[arg-type]
        duties.release_due()
        duties.clean_one()
        duties.forget_uploads()
        duties.measure_backlog()
        duties._remove_firsts([])
        duties.remove_sources()


def _write_views(engine: Engine) -> None:
    PostgresViews(engine).add([View("17", 7, date(2026, 3, 5), 1000, 1)])


def _count(find: Callable[[Query, Days], object]) -> Callable[[Engine], None]:
    """What the statistics of one day ask."""

    def ask(engine: Engine) -> None:
        day = date(2026, 3, 5)
        with engine.connect() as connection:

            def run(query: str, values: Mapping[str, Any]) -> Sequence[Any]:
                return connection.exec_driver_sql(query, dict(values)).all()

            find(Query(run, lambda *_: None), Days(day, day, ZoneInfo("Africa/Algiers")))

    return ask


#: What runs by itself, every few seconds or minutes, in some process.
DUTIES: dict[str, Callable[[Engine], object]] = {
    "relay: publish": _take,
    "relay: count": lambda engine: backlogs(engine, GATEWAY),
    "gateway: readiness": check,
    "payments: due events": release_due,
    "payments: lost messages": lambda engine: release_lost(engine, lambda: True),
    "payments: wallets": users_covered,
    "payments: reconciliation": lambda engine: (
        PostgresPollSchedule(engine).take("satim"),
        PostgresPollSchedule(engine).count_due("satim"),
    ),
    "console: overview": read_overview,
    "workers: pauses": list_pauses,
    "transcoder: maintenance": _maintain,
    "playback: views": _write_views,
    "statistics: lessons": _count(lambda ask, days: lessons.compute(ask, days, Rules("DZD"))),
    "statistics: conversion": _count(engagement._converted),
    "statistics: years of students": _count(lambda ask, _: ask(subscriptions._YEARS, users=[1, 2, 3])),
    "statistics: due days": _sweep,
    "statistics: cache": lambda engine: refresh(engine, SnapshotCache()),
}


@contextlib.contextmanager
def _statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """What is sent to the database meanwhile."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def _read_whole(node: dict[str, Any], partial: set[str], is_limited: bool = False) -> Iterator[str]:
    """The tables that a plan reads from the beginning to the end, also by way of an index that leaves nothing out."""
    kind, is_limited = node["Node Type"], is_limited or node["Node Type"] == "Limit"
    if kind == "Seq Scan":
        yield node["Relation Name"]
    elif kind in ("Index Scan", "Index Only Scan", "Bitmap Index Scan"):
        # a bitmap's node does not name its table
        name = node["Index Name"]
        if "Index Cond" not in node and name not in partial and not is_limited:
            yield node.get("Relation Name") or next((table for table in GROWING if table in name), "")
    for child in node.get("Plans", ()):
        yield from _read_whole(child, partial, is_limited)


def whole_reads(database_url: str, statement: str, parameters: Any) -> set[str]:
    """Growing tables of which no index serves `statement`: they are read whole even where that is as good as barred."""
    with contextlib.closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE indpred IS NOT NULL")
        partial = {name for (name,) in cursor.fetchall()}
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters or None)
        (plan,) = cursor.fetchone() or ("[]",)
        found = plan if isinstance(plan, list) else json.loads(plan)
        return set(_read_whole(found[0]["Plan"], partial)) & GROWING


@pytest.mark.parametrize("duty", DUTIES)
def test_a_duty_reads_no_growing_table_whole(duty: str, engine: Engine, database_url: str) -> None:
    with _statements(engine) as sent:
        DUTIES[duty](engine)

    reads = {
        statement: found
        for statement, parameters in sent
        if statement.split()[0].upper() in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")
        if (found := whole_reads(database_url, statement, parameters))
    }
    assert sent, "it asked nothing"
    assert reads == {}


def test_a_whole_read_is_found(database_url: str) -> None:
    assert whole_reads(database_url, "SELECT count(*) FROM webhook_events WHERE reason = %s", ("x",)) == {
        "webhook_events"
    }
