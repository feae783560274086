"""What is past its retention goes, nothing else does, and the hash chain stays valid."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
from click.testing import CliRunner
from psycopg2.errors import RestrictViolation
from sqlalchemy import Engine

from services.webhook_gateway.integrity.hash_chain import HashChainWriter
from services.webhook_gateway.integrity.verify_chain import verify
from shared.cli import main
from shared.operations.retention.erase_old import count_due, erase_batch, rules
from shared.operations.retention.settings import RetentionSettings
from shared.operations.webhook_events.resolve import CannotResolveError, undo
from shared.runtime.database import build_engine
from tests.integration.test_periodic_reads import whole_reads
from tests.waiting import wait_until
from tests.webhook_gateway.processes import Database, RunningWorker

OLD = datetime.now(UTC) - timedelta(days=800)
NEW = datetime.now(UTC) - timedelta(days=100)


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    engine = build_engine(database.url, pool_size=4)
    yield engine
    engine.dispose()


def add_event(database: Database, key: str, received_at: datetime, state: str = "applied", **more: object) -> int:
    body = f'{{"name": "Amina", "key": "{key}"}}'.encode()
    columns = {
        "provider": "generic",
        "dedupe_key": key,
        "body": body,
        "body_sha256": hashlib.sha256(body).digest(),
        "received_at": received_at,
        "state": state,
        **more,
    }
    names = ", ".join(columns)
    places = ", ".join(["%s"] * len(columns))
    query = f"INSERT INTO webhook_events ({names}) VALUES ({places})"  # noqa: S608
    database.execute(query, *columns.values())
    return int(database.rows("SELECT id FROM webhook_events WHERE dedupe_key = %s", key)[0][0])


def seal(engine: Engine) -> None:
    with engine.connect() as connection:
        writer = HashChainWriter(connection)
        while writer.seal():
            pass


def faults(engine: Engine) -> list[str]:
    return [str(fault) for fault in verify(engine, settled_after="0 seconds").faults]


def settings(database: Database, **days: int) -> RetentionSettings:
    return RetentionSettings(database_url=database.url, **days)  # type: ignore[arg-type]


def nouba(database: Database, *arguments: str, status: int = 0, **environment: str) -> str:
    given = {"NOUBA_DATABASE_URL": database.url, "COLUMNS": "200", **environment}
    result = CliRunner().invoke(main, arguments, env=given)
    assert result.exit_code == status, result.output
    return result.output


def erased(database: Database) -> list[str]:
    query = "SELECT dedupe_key FROM webhook_events WHERE body_erased_at IS NOT NULL AND body = '' ORDER BY id"
    return [key for (key,) in database.rows(query)]


def test_a_worker_erases_old_bodies_and_the_chain_stays_valid(
    database: Database, engine: Engine, rabbitmq_url: str, tmp_path: Path
) -> None:
    # Given old and young events, decided and undecided, sealed
    add_event(database, "old", OLD)
    add_event(database, "ignored", OLD, "ignored")
    add_event(database, "dismissed", OLD, "quarantined", resolution="dismissed")
    add_event(database, "undecided", OLD, "quarantined")
    add_event(database, "young", NEW)
    seal(engine)

    # When a payments worker runs
    with RunningWorker(tmp_path / "worker", database.url, rabbitmq_url) as worker:
        wait_until(lambda: len(erased(database)) == 3, 30, "the bodies are not erased")
        wait_until(lambda: "erased what is past its retention" in worker.log, 10, "the worker logs no erasure")

    # Then what is old and decided has no body, the rest does, and every seal fits
    assert erased(database) == ["old", "ignored", "dismissed"]
    assert "Amina" not in worker.log
    seal(engine)
    assert faults(engine) == []


def test_a_body_that_somebody_emptied_is_still_a_fault(database: Database, engine: Engine) -> None:
    one = add_event(database, "one", NEW)
    two = add_event(database, "two", OLD)
    rule = rules(settings(database))[0]
    seal(engine)
    assert erase_batch(engine, rule, datetime.now(UTC)) == 1
    seal(engine)
    assert faults(engine) == []

    # When somebody who may do everything empties a body as if retention had, without the triggers
    with closing(psycopg2.connect(database.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE webhook_events SET body = '', body_erased_at = now() WHERE id = %s", (one,))
        # and puts another one where retention had emptied it
        cursor.execute("UPDATE webhook_events SET body = 'forged' WHERE id = %s", (two,))
        connection.commit()

    assert faults(engine) == [f"body {one}: has no record", f"body {two}: was altered: its record differs"]


@pytest.mark.parametrize(
    "change",
    [
        "body_erased_at = now()",
        "body = '', body_erased_at = now(), body_sha256 = 'other'",
        "body = 'x', body_erased_at = now()",
    ],
)
def test_the_database_refuses_any_other_erasure(database: Database, change: str) -> None:
    event = add_event(database, "one", OLD)

    with pytest.raises(RestrictViolation, match="is not one that can be erased"):
        database.execute(f"UPDATE webhook_events SET {change} WHERE id = %s", event)  # noqa: S608


def test_an_altered_body_and_a_young_one_are_kept_whatever_the_setting(database: Database, engine: Engine) -> None:
    add_event(database, "altered", OLD, body_sha256=b"another")
    add_event(database, "today", datetime.now(UTC) - timedelta(hours=3))

    # When a role asks for everything up to now
    with engine.begin() as connection:
        found = connection.exec_driver_sql("SELECT erase_webhook_bodies('infinity', 100)").scalar_one()

    assert found == 0


def test_a_dismissal_whose_body_is_gone_cannot_be_undone(database: Database, engine: Engine) -> None:
    event = add_event(database, "one", OLD, "quarantined", resolution="dismissed")
    assert erase_batch(engine, rules(settings(database))[0], datetime.now(UTC)) == 1

    with pytest.raises(CannotResolveError, match="was erased by retention"):
        undo(engine, event, who="Amina", why="a mistake")


def test_the_audit_keeps_its_seals_without_its_words(database: Database, engine: Engine) -> None:
    # Given two entries, one of them two years old
    for acted_at in (OLD, NEW):
        database.execute(
            "INSERT INTO operator_acts (who, what, why, ids, chosen_by, acted_at)"
            " VALUES ('Karim', 'event.accept', 'Amina called', '[7]', '{\"email\": \"a@b.example\"}', %s)",
            acted_at,
        )
    seal(engine)
    kept = rules(settings(database))[2]
    rule = rules(settings(database, retention_audit_days=365))[2]

    # When it is erased: by default not at all, then by a setting
    assert (count_due(engine, kept, datetime.now(UTC)), erase_batch(engine, kept, datetime.now(UTC))) == (0, 0)
    assert (count_due(engine, rule, datetime.now(UTC)), erase_batch(engine, rule, datetime.now(UTC))) == (1, 1)
    assert erase_batch(engine, rule, datetime.now(UTC)) == 0

    # Then the seals fit, and a forged word is found
    assert database.rows("SELECT who, why, ids FROM operator_acts ORDER BY id") == [
        ("", None, []),
        ("Karim", "Amina called", [7]),
    ]
    assert faults(engine) == []
    with pytest.raises(RestrictViolation):
        database.execute("UPDATE operator_acts SET who = 'another'")
    with closing(psycopg2.connect(database.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE operator_acts SET who = 'another' WHERE erased_at IS NOT NULL")
        connection.commit()
    assert len(faults(engine)) == 1


def test_decided_letters_and_replaced_statistics_go(database: Database, engine: Engine) -> None:
    # Given letters of each state, and three versions of a day, the second being the newest whole one
    for state in ("dead", "replayed", "discarded"):
        database.execute(
            "INSERT INTO dead_letters (queue, message_id, message, arguments, cause, attempts, died_at, death, state)"
            " VALUES ('webhooks', %s, 'text', '{}', 'retries', 1, %s, '', %s)",
            state,
            OLD,
            state,
        )
    for version in (1, 2, 3):
        database.execute(
            "INSERT INTO daily_stats (day, version, payload, etag, body_gzip, complete, watermark, computed_at)"
            " VALUES ('2024-01-01', %s, '{}', 'e', '', true, '', %s)",
            version,
            OLD,
        )
    database.execute(
        "INSERT INTO daily_stats_newest (day, version, failed, checked_at) VALUES ('2024-01-01', 2, true, now())"
    )

    # When retention runs
    listed = json.loads(nouba(database, "retention", "run", "--json"))

    # Then the undecided letter is whole, and the newest and the failed version are there
    assert {one["kind"]: one["erased"] for one in listed} == {
        "webhook_bodies": 0,
        "dead_letters": 2,
        "audit": 0,
        "statistics": 1,
        "lesson_views": 0,
    }
    query = "SELECT state FROM dead_letters WHERE message = 'text'"
    assert database.rows(query) == [("dead",)]
    assert database.rows("SELECT version FROM daily_stats ORDER BY version") == [(2,), (3,)]
    with pytest.raises(RestrictViolation):
        database.execute("DELETE FROM daily_stats")


def test_a_dry_run_counts_what_a_run_erases(database: Database) -> None:
    for number in range(3):
        add_event(database, f"e{number}", OLD)

    dry = json.loads(nouba(database, "retention", "run", "--dry-run", "--json"))
    assert dry[0] == {"kind": "webhook_bodies", "days": 400, "due": 3}
    assert erased(database) == []
    assert "400 days" in nouba(database, "retention", "show")

    assert json.loads(nouba(database, "retention", "run", "--json"))[0]["erased"] == 3
    assert nouba(database, "retention", "run", NOUBA_RETENTION_AUDIT_DAYS="30", status=1).startswith(
        "Error: NOUBA_RETENTION_AUDIT_DAYS"
    )


def test_show_counts_to_a_thousand_and_a_dry_run_counts_everything(database: Database) -> None:
    database.execute(
        "INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256, received_at, state)"
        " SELECT 'generic', 'e' || i, 'body', sha256('body'), %s, 'applied' FROM generate_series(1, 1001) AS i",
        OLD,
    )

    assert json.loads(nouba(database, "retention", "show", "--json"))[0] == {
        "kind": "webhook_bodies",
        "days": 400,
        "due": 1_000,
        "more": True,
    }
    assert "1,000+" in nouba(database, "retention", "show")
    assert json.loads(nouba(database, "retention", "run", "--dry-run", "--json"))[0]["due"] == 1_001


#: The statement of each function, whether its language is SQL or PL/pgSQL.
STATEMENT = re.compile(r"WITH due AS (?:MATERIALIZED )?.*?;", re.DOTALL)


def test_retention_reads_no_growing_table_whole(database: Database) -> None:
    for rule in rules(settings(database)):
        ((source,),) = database.rows("SELECT prosrc FROM pg_proc WHERE proname = %s", rule.function)
        (statement,) = STATEMENT.findall(source)
        for parameter in ("received_before", "died_before", "acted_before", "computed_before", "watched_before"):
            statement = statement.replace(parameter, "now()")
        statement = statement.replace("LIMIT at_most", "LIMIT 500").removesuffix(";")

        assert whole_reads(database.url, statement, None) == set(), rule.kind


WATCHED = """
SELECT day, count(DISTINCT viewer), count(*), sum(played_ms)::bigint, max(bit_count(parts)) FROM lesson_views
WHERE course_id <> 0 GROUP BY day ORDER BY day
"""
WERE_THERE = "SELECT DISTINCT day, user_id FROM lesson_views WHERE user_id IS NOT NULL ORDER BY day, user_id"
NAMED = """
SELECT viewer, day, course_id FROM lesson_views WHERE NOT starts_with(viewer, '~') AND course_id <> 0
ORDER BY viewer, day, course_id
"""


def add_views(database: Database, *views: tuple[str, int, datetime]) -> None:
    for viewer, course_id, at in views:
        database.execute(
            "INSERT INTO lesson_views (viewer, course_id, day, played_ms, parts)"
            " VALUES (%s, %s, %s, 60000, 7::bit(100))",
            viewer,
            course_id,
            at.date(),
        )


def test_who_watched_which_lesson_is_forgotten_and_the_numbers_of_each_day_stay(
    database: Database, engine: Engine
) -> None:
    older = OLD - timedelta(days=1)
    add_views(database, ("7", 1, OLD), ("7", 2, OLD), ("7", 1, older), ("8", 1, OLD), ("guest", 1, OLD), ("7", 1, NEW))
    before = database.rows(WATCHED), database.rows(WERE_THERE)
    rule = next(rule for rule in rules(settings(database)) if rule.kind == "lesson_views")
    assert count_due(engine, rule, datetime.now(UTC)) == 4

    assert erase_batch(engine, rule, datetime.now(UTC)) == 4

    assert database.rows(NAMED) == [("7", NEW.date(), 1)]
    assert (database.rows(WATCHED), database.rows(WERE_THERE)) == before
    assert count_due(engine, rule, datetime.now(UTC)) == erase_batch(engine, rule, datetime.now(UTC)) == 0


def test_what_a_viewer_watched_since_is_not_read(database: Database) -> None:
    add_views(database, ("7", 1, OLD), ("7", 2, OLD))
    database.execute(
        "INSERT INTO lesson_views (viewer, course_id, day, played_ms, parts)"
        " SELECT '7', i, %s, 60000, 7::bit(100) FROM generate_series(1, 30000) AS i",
        NEW.date(),
    )
    ((source,),) = database.rows("SELECT prosrc FROM pg_proc WHERE proname = 'forget_lessons'")
    (statement,) = STATEMENT.findall(source)
    statement = statement.replace("watched_before", "now() - interval '400 days'").replace("at_most", "500")

    with closing(psycopg2.connect(database.url)) as connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE lesson_views")
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
        (plan,) = cursor.fetchone() or ([{}],)
        cursor.execute("SELECT count(*) FROM lesson_views WHERE viewer LIKE '~%'")
        assert cursor.fetchone() == (2,)

    # the 30,000 rows have hundreds of pages
    (renamed,) = [part for part in plan[0]["Plan"]["Plans"] if part.get("Subplan Name") == "CTE renamed"]
    assert renamed["Shared Hit Blocks"] + renamed["Shared Read Blocks"] < 100


def test_a_person_is_forgotten_on_every_day(database: Database) -> None:
    database.execute("INSERT INTO users (id) VALUES (7)")
    add_views(database, ("7", 1, OLD), ("7", 2, OLD), ("7", 1, NEW), ("77", 1, NEW))
    before = database.rows(WATCHED), database.rows(WERE_THERE)

    command = ("erase", "--user", "7", "--reason", "request 118", "--actor-name", "Karim")
    assert "what they watched on 2 days" in nouba(database, *command)

    assert database.rows(NAMED) == [("77", NEW.date(), 1)]
    assert (database.rows(WATCHED), database.rows(WERE_THERE)) == before
    assert "no personal data left" in nouba(database, *command)


def test_a_persons_data_is_erased_once_and_the_books_stay(database: Database, engine: Engine) -> None:
    # Given two users with a settled payment each, one event of the first undecided, all sealed
    for user in (7, 8):
        database.execute(
            "INSERT INTO users (id, name, email, phone) VALUES (%s, 'Amina', 'amina@school.example', '0550')", user
        )
        database.execute(
            "INSERT INTO payments (id, provider, provider_reference, user_id, amount_minor, status)"
            " VALUES (%s, 'generic', %s, %s, 100, 'completed')",
            user,
            f"r{user}",
            user,
        )
        add_event(database, f"paid{user}", NEW, payment_id=user)
    open_event = add_event(database, "open", NEW, "quarantined", payment_id=7)
    seal(engine)

    # When the first is erased: as a dry run, with an event open, and again when it is decided
    command = ("erase", "--user", "7", "--reason", "request 118", "--actor-name", "Karim")
    assert "1 bodies would be erased" in nouba(database, *command, "--dry-run", status=1)
    assert erased(database) == []
    assert "1 bodies are left" in nouba(database, *command, status=1)
    database.execute("UPDATE webhook_events SET resolution = 'dismissed' WHERE id = %s", open_event)
    assert json.loads(nouba(database, *command, "--json"))["bodies"] == 1
    assert "no personal data left" in nouba(database, *command)

    # Then that person's data is gone, the other's is not, the books and the chain are whole, and both acts are kept
    assert database.rows("SELECT name, email, phone FROM users ORDER BY id") == [
        ("", None, None),
        ("Amina", "amina@school.example", "0550"),
    ]
    assert erased(database) == ["paid7", "open"]
    assert database.rows("SELECT count(*), sum(amount_minor)::bigint FROM payments") == [(2, 200)]
    acts = database.rows("SELECT who, what, why, ids FROM operator_acts")
    assert acts == [("Karim", "user.erase", "request 118", [7])] * 2
    seal(engine)
    assert faults(engine) == []
    assert "There is no user 9" in nouba(database, "erase", "--user", "9", "--reason", "x", status=1)


def test_a_webhook_without_a_payment_that_names_a_person_is_erased_too(database: Database, engine: Engine) -> None:
    # Given a payer whom the provider knows as a customer, with an invoice, and another one
    for user, customer in ((7, "cus_7"), (8, "cus_8")):
        database.execute("INSERT INTO users (id) VALUES (%s)", user)
        database.execute(
            "INSERT INTO payments (id, provider, provider_reference, user_id, amount_minor, status)"
            " VALUES (%s, 'stripe', %s, %s, 100, 'completed')", user, f"pi_{user}", user,
        )  # fmt: skip
        database.execute(
            "INSERT INTO payment_links (provider, object_id, user_id) VALUES ('stripe', %s, %s)", customer, user
        )
        database.execute(
            "INSERT INTO payment_links (provider, object_id, reference) VALUES ('stripe', %s, %s)",
            f"in_{user}", f"pi_{user}",
        )  # fmt: skip
    # and events that were settled without a payment of their own
    for key, provider, body in (
        ("invoice", "stripe", b'{"object": {"id":"in_7","customer_email":"amina@school.example"}}'),
        ("customer", "stripe", b'{"object": {"id":"cus_7","name":"Amina"}}'),
        ("payment", "stripe", b'{"object": {"payment_intent":"pi_7"}}'),
        ("longer id", "stripe", b'{"object": {"id":"in_77"}}'),
        ("another's", "stripe", b'{"object": {"id":"cus_8"}}'),
        ("elsewhere", "generic", b'{"object": {"id":"cus_7"}}'),
    ):
        add_event(
            database, key, NEW, "ignored", provider=provider, body=body, body_sha256=hashlib.sha256(body).digest()
        )
    body = b'{"customer":"cus_7"}'
    undecided = {"provider": "stripe", "body": body, "body_sha256": hashlib.sha256(body).digest()}
    add_event(database, "undecided", NEW, "quarantined", **undecided)
    seal(engine)

    # When the first is erased, then those that name them are, and what is undecided is said
    command = ("erase", "--user", "7", "--reason", "request 118", "--actor-name", "Karim")
    nouba(database, *command, status=1)

    assert erased(database) == ["invoice", "customer", "payment"]
    assert faults(engine) == []
