"""No query that runs by itself reads a whole table that grows: day 1,000 is like day 1."""

import ast
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg2
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, event

from bench.periodic_reads import READS, WITHOUT_DATABASE, Round
from services.stats.binary_column_reader import ColumnReader
from services.stats.days import Days
from services.stats.sections import activity_and_retention, lessons, registered_users
from services.stats.sections.base import Query, Rules
from shared.operations.retention.erase_old import rules
from shared.operations.retention.settings import RetentionSettings

PROJECT = Path(__file__).parents[2]

#: Tables that are as large as the school is old; the outbox is empty again as soon as RabbitMQ answers.
GROWING = {
    "webhook_events",
    "payments",
    "ledger_entries",
    "ledger_transactions",
    "ledger_adjustments",
    "provider_payouts",
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
    "row_versions",
    "ledger_accounts",
    "payment_objects",
    "events",
    "webhook_deliveries",
    "checkouts",
    "refund_requests",
    "api_idempotency_keys",
    "courses",
    "captions",
    "sessions",
    "office_payments",
    "closed_day_corrections",
}


def _count(find: Callable[[Query, Days], object]) -> Callable[[Engine], Round]:
    """What the statistics of one day ask."""

    def ask(engine: Engine) -> None:
        day = date(2026, 3, 5)
        with engine.connect() as connection:

            def run(query: str, values: Mapping[str, Any]) -> Sequence[Any]:
                return connection.exec_driver_sql(query, dict(values)).all()

            def copy(command: str, values: Mapping[str, Any], file: ColumnReader) -> None:
                # the query within it, whose plan is read, and then the command itself
                run(command.removeprefix("COPY (").rpartition(") TO STDOUT")[0], values)
                with contextlib.closing(connection.connection.cursor()) as cursor:
                    cursor.copy_expert(cursor.mogrify(command, dict(values)), file)

            find(Query(run, copy), Days(day, day, ZoneInfo("Africa/Algiers")))

    return lambda engine: lambda: ask(engine)


#: Reads that run by themselves, and what the statistics of one day ask when a day is computed.
DUTIES: dict[str, Callable[[Engine], Round]] = {
    **{name: read.prepare for name, read in READS.items()},
    "statistics: lessons": _count(lambda ask, days: lessons.compute(ask, days, Rules("DZD"))),
    "statistics: conversion": _count(activity_and_retention._conversions),
    "statistics: years of students": _count(registered_users.registered),
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
    """The tables that a plan reads from the beginning to the end, also by way of an index that leaves nothing out.

    A limit ends such a read only where no filter takes out what the index has.
    """
    kind, is_limited = node["Node Type"], is_limited or node["Node Type"] == "Limit"
    if kind == "Seq Scan":
        yield node["Relation Name"]
    elif kind in ("Index Scan", "Index Only Scan", "Bitmap Index Scan"):
        # a bitmap's node does not name its table
        name = node["Index Name"]
        ends_early = is_limited and "Filter" not in node
        if "Index Cond" not in node and name not in partial and not ends_early:
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


def whole_reads_within(database_url: str, statement: str, parameters: Any) -> set[str]:
    """The same of what the database's own functions run for a statement, which is executed and taken back."""
    with contextlib.closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE indpred IS NOT NULL")
        partial = {name for (name,) in cursor.fetchall()}
        cursor.execute("LOAD 'auto_explain'")
        for setting in (
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_nested_statements = on",
            "auto_explain.log_format = json",
            "auto_explain.log_level = notice",
            "enable_seqscan = off",
        ):
            cursor.execute(f"SET {setting}")
        del connection.notices[:]
        cursor.execute(statement, parameters)
        plans = [json.loads(text[text.index("{") :]) for text in connection.notices if "{" in text]
        connection.rollback()
    assert len(plans) > 1, "nothing ran within it"
    return {table for plan in plans for table in _read_whole(plan["Plan"], partial)} & GROWING


#: Whole reads that are meant, and why.
MEANT = {
    # one number, once a minute by one worker: whether any balance was changed behind the ledger's back. The accounts of
    # the newest entries are read by their key where there are rows; empty tables are joined in another way
    "payments: invariants": {"users", "ledger_accounts"},
    # once a night; most users are students, and a list of a million of them takes longer than the table
    "statistics: years of students": {"users"},
}
#: Functions of the database whose statements are planned, too.
FUNCTIONS = {rule.function for rule in rules(RetentionSettings(database_url=SecretStr("postgresql://host/name")))}


@pytest.mark.parametrize("duty", DUTIES)
def test_a_duty_reads_no_growing_table_whole(duty: str, engine: Engine, database_url: str) -> None:
    # the statistics find days that are due where there is a first fact
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO users (created_at) VALUES (now() - interval '3 days')")
    work = DUTIES[duty](engine)

    with _statements(engine) as sent:
        work()

    reads = {}
    for statement, parameters in sent:
        if any(function in statement for function in FUNCTIONS):
            found = whole_reads_within(database_url, statement, parameters)
        elif statement.split()[0].upper() in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE"):
            found = whole_reads(database_url, statement, parameters)
        else:
            continue
        if found := found - MEANT.get(duty, set()):
            reads[statement] = found
    assert sent, "it asked nothing"
    assert reads == {}


def test_every_background_thread_has_its_reads_here() -> None:
    listed = {thread for read in READS.values() for thread in read.threads}

    assert listed | WITHOUT_DATABASE.keys() == threads_of_the_code()
    assert not listed & WITHOUT_DATABASE.keys()


#: The class of all background threads, and one between it and others.
_KINDS = {"PeriodicThread", "ElectedThread"}


def threads_of_the_code() -> set[str]:
    """The names of all background threads that the services start, with what is filled in in capital letters."""
    found = set()
    for folder in ("services", "shared"):
        for path in (PROJECT / folder).rglob("*.py"):
            text = path.read_text()
            for node in ast.walk(ast.parse(text)) if any(kind in text for kind in _KINDS) else ():
                bases = [ast.unparse(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
                for call in ast.walk(node) if isinstance(node, ast.ClassDef | ast.Call) else ():
                    if not isinstance(call, ast.Call) or not call.args:
                        continue
                    made = ast.unparse(call.func)
                    is_thread = call is node and made == "PeriodicThread"
                    is_kind = _KINDS & set(bases) and made == "super().__init__"
                    if is_thread or is_kind:
                        found |= _name(call.args[0])
    return found


def _name(argument: ast.expr) -> set[str]:
    if isinstance(argument, ast.Constant):
        return {str(argument.value)}
    if isinstance(argument, ast.JoinedStr):
        return {"".join(_text(part) for part in argument.values)}
    # a class between passes the name of its subclasses on
    return set()


def _text(part: ast.expr) -> str:
    if isinstance(part, ast.FormattedValue):
        return ast.unparse(part.value).upper().removeprefix("SELF._")
    return str(part.value) if isinstance(part, ast.Constant) else ""


def test_a_whole_read_is_found(database_url: str) -> None:
    assert whole_reads(database_url, "SELECT count(*) FROM webhook_events WHERE method = %s", ("x",)) == {
        "webhook_events"
    }


def test_a_limit_ends_a_read_where_nothing_is_filtered(database_url: str) -> None:
    newest = "SELECT id FROM webhook_events {} ORDER BY id DESC LIMIT 1"

    assert whole_reads(database_url, newest.format(""), ()) == set()
    assert whole_reads(database_url, newest.format("WHERE method = %s"), ("x",)) == {"webhook_events"}


def test_a_whole_read_within_a_function_is_found(database_url: str) -> None:
    with contextlib.closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION count_methods(wanted text) RETURNS bigint LANGUAGE plpgsql AS"
            " $$ BEGIN RETURN (SELECT count(*) FROM webhook_events WHERE method = wanted); END $$"
        )
        connection.commit()

    assert whole_reads_within(database_url, "SELECT count_methods(%s)", ("x",)) == {"webhook_events"}
