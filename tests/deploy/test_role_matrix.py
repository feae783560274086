"""The role matrix: what is not in it is refused, tried cell by cell on a real PostgreSQL."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest
import yaml
from psycopg2 import extensions
from psycopg2.errors import InsufficientPrivilege, WrongObjectType

from deploy import make_secrets, role_matrix
from deploy.helm import build
from local.postgres import Postgres
from shared.contracts.routes import QUEUES
from shared.messaging.topology import declarations
from tests.command_line import nouba
from tests.roles import ROLES, apply_roles, url_of_role
from tests.waiting import wait_until
from tests.webhook_gateway.processes import NO_RABBITMQ, NOUBA, Database, RunningGateway, RunningWorker, deliver, paid

PROJECT = Path(__file__).parents[2]
MATRIX = role_matrix.read()
NAMES = [f"nouba_{role}" for role in ROLES]
TABLES = """
    SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    GROUP BY c.relname ORDER BY c.relname
"""
HELD = "SELECT name FROM unnest(%s) AS name WHERE has_column_privilege(%s, name, %s)"
#: What needs one privilege on one column alone, and changes nothing. Of an insert the column gets its default.
ATTEMPTS = {
    "select": 'SELECT "{column}" FROM {table} LIMIT 0',
    "insert": 'INSERT INTO {table} ("{column}") VALUES (DEFAULT)',
    "update": 'UPDATE {table} SET "{column}" = DEFAULT WHERE false',
}
#: Each would let a role keep what no table of the matrix holds.
KEEPS = (
    "CREATE TABLE mine (x int)",
    "CREATE TEMP TABLE mine (x int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
)


@pytest.fixture
def server(own_postgres: Postgres, tmp_path: Path) -> Postgres:
    """A server with the roles of the containers; of its own, since roles belong to all databases of one."""
    apply_roles(own_postgres, tmp_path)
    return own_postgres


@pytest.fixture
def owner(server: Postgres) -> Iterator[extensions.connection]:
    with closing(psycopg2.connect(server.url)) as connection:
        connection.autocommit = True
        yield connection


def rows(connection: extensions.connection, query: str, *values: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall()


def is_refused(connection: extensions.connection, statement: str) -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except (InsufficientPrivilege, WrongObjectType):
        # a view cannot be emptied
        return True
    except psycopg2.Error:
        # the role may, and the table's own rules do not want it
        return False
    return False


def allowed(table: str, role: str, privilege: str, columns: list[str]) -> set[str]:
    named = MATRIX["tables"].get(table, {}).get(role, {}).get(privilege, [])
    return set(columns) if named == "*" else set(named)


def test_every_cell_of_the_matrix_is_as_it_says(owner: extensions.connection) -> None:
    tables = dict(rows(owner, TABLES))
    assert sorted(tables) == sorted(MATRIX["tables"]), "deploy/role_matrix.toml has to name every table, and no other"
    wrong, tried = [], 0
    for role in NAMES:
        with owner.cursor() as cursor:
            cursor.execute(f"SET SESSION AUTHORIZATION {role}")
        for table, columns in tables.items():
            for privilege, attempt in ATTEMPTS.items():
                may = allowed(table, role, privilege, columns)
                assert may <= set(columns), f"{table} has no such columns: {may - set(columns)}"
                held = {name for (name,) in rows(owner, HELD, columns, table, privilege)}
                for column in columns:
                    has = column in held
                    if has != (column in may):
                        wrong.append((role, privilege, table, column, f"granted: {has}"))
                    if column not in may:
                        tried += 1
                        # a view's column has no default to be set to, and is refused before that
                        if not is_refused(owner, attempt.format(table=table, column=column)):
                            wrong.append((role, privilege, table, column, "not refused"))
            may_delete = bool(MATRIX["tables"][table].get(role, {}).get("delete"))
            if is_refused(owner, f"DELETE FROM {table} WHERE false") == may_delete:  # noqa: S608
                wrong.append((role, "delete", table, "", f"allowed: {not may_delete}"))
            if not is_refused(owner, f"TRUNCATE {table}"):
                wrong.append((role, "truncate", table, "", "not refused"))
        for statement in KEEPS:
            if not is_refused(owner, statement):
                wrong.append((role, statement, "", "", "not refused"))
        with owner.cursor() as cursor:
            cursor.execute("RESET SESSION AUTHORIZATION")
    assert wrong == []
    assert tried > 2000


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_a_role_reaches_no_other_database_of_the_server(server: Postgres, database: str) -> None:
    for role in NAMES:
        own = url_of_role(server.url, role).rpartition("/")[0]
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            psycopg2.connect(f"{own}/{database}")


def test_a_right_that_left_the_file_is_gone_when_it_is_applied_again(
    server: Postgres, owner: extensions.connection, tmp_path: Path
) -> None:
    # Given each role with rights of an older file
    for role in NAMES:
        with owner.cursor() as cursor:
            cursor.execute(f"GRANT SELECT ON users TO {role}")
            cursor.execute(f"GRANT UPDATE (balance_minor) ON users TO {role}")
            cursor.execute(f"GRANT USAGE ON SEQUENCE ledger_transactions_id_seq TO {role}")
            cursor.execute(f"GRANT EXECUTE ON FUNCTION erase_bodies_of_user(bigint) TO {role}")

    # When the file of today is applied, then they have the rights of today
    apply_roles(server, tmp_path)
    test_every_cell_of_the_matrix_is_as_it_says(owner)
    test_only_the_named_roles_may_call_a_function(owner)
    sequence = "SELECT has_sequence_privilege(%s, 'ledger_transactions_id_seq', 'USAGE')"
    assert {role for role in NAMES if rows(owner, sequence, role)[0][0]} == {"nouba_gateway"}


FUNCTIONS = """
    SELECT p.proname, p.oid, p.prosecdef FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'public' AND p.prorettype <> 'trigger'::regtype
"""


def test_only_the_named_roles_may_call_a_function(owner: extensions.connection) -> None:
    found = {name: oid for name, oid, _ in rows(owner, FUNCTIONS)}
    assert sorted(found) == sorted(MATRIX["functions"]), "deploy/role_matrix.toml has to name every function"
    for name, oid in found.items():
        may = {
            role for role in NAMES if rows(owner, "SELECT has_function_privilege(%s, %s, 'EXECUTE')", role, oid)[0][0]
        }
        assert may == set(MATRIX["functions"][name]), name


MADE = {
    "outbox": ("INSERT INTO outbox (service, message) VALUES (%s, '{}')", ("gateway", "transcoder", "stats")),
    "dead_letters": (
        "INSERT INTO dead_letters (queue, message_id, message, cause, attempts, died_at, death)"
        " VALUES (%s, 'm', '', 'retries', 1, now(), '')",
        ("webhooks", "events", "videos", "default"),
    ),
}


@pytest.mark.parametrize("table", MADE)
def test_a_role_sees_and_changes_its_own_rows_alone(owner: extensions.connection, table: str) -> None:
    # Given a row of each service or queue
    statement, values = MADE[table]
    for value in values:
        with owner.cursor() as cursor:
            cursor.execute(statement, (value,))
    rules = MATRIX["rows"][table]
    column = rules["column"]

    for role in (name for name in rules if name != "column"):
        expected = set(values) if rules[role] == "*" else set(rules[role])
        with owner.cursor() as cursor:
            cursor.execute(f"SET SESSION AUTHORIZATION {role}")

            # When the role reads the table, then it sees its own rows
            cursor.execute(f"SELECT {column} FROM {table}")  # noqa: S608
            assert {row[0] for row in cursor.fetchall()} == expected, role

            # And it adds none for another
            if MATRIX["tables"][table][role].get("insert"):
                for value in set(values) - expected:
                    assert is_refused(owner, statement.replace("'m'", "'n'") % f"'{value}'"), (role, value)
            cursor.execute("RESET SESSION AUTHORIZATION")


#: What was allowed before, as the review found it.
FOUND = [
    ("nouba_transcoder", "UPDATE dead_letters SET state = 'discarded' WHERE queue = 'webhooks' RETURNING id"),
    ("nouba_stats", "SELECT message FROM dead_letters WHERE queue = 'webhooks'"),
    ("nouba_gateway", "UPDATE webhook_events SET body = '' RETURNING id"),
    (
        "nouba_gateway",
        "INSERT INTO dead_letters (queue, message_id, message, cause, attempts, died_at, death)"
        " VALUES ('videos', 'm', '', 'retries', 1, now(), '')",
    ),
    ("nouba_gateway", "UPDATE api_tokens SET scopes = '{operate}' RETURNING id"),
    ("nouba_gateway", "UPDATE payments SET user_id = 1 RETURNING id"),
    ("nouba_intake", "UPDATE users SET balance_minor = 1 RETURNING id"),
    ("nouba_intake", "UPDATE webhook_events SET state = 'applied' RETURNING id"),
    ("nouba_intake", "SELECT body FROM webhook_events"),
    ("nouba_intake", "SELECT secret FROM course_keys"),
    ("nouba_intake", "INSERT INTO payments (provider, user_id, amount_minor) VALUES ('x', 1, 1)"),
]


def test_what_a_role_could_do_before_it_cannot_do_now(owner: extensions.connection) -> None:
    # Given a dead letter, a webhook, a payment and a user
    with owner.cursor() as cursor:
        cursor.execute(MADE["dead_letters"][0], ("webhooks",))
        cursor.execute("INSERT INTO users (name) VALUES ('x')")
        cursor.execute(
            "INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256) VALUES ('generic', 'k', 'b', '')"
        )
        cursor.execute("INSERT INTO payments (provider, user_id, amount_minor) VALUES ('x', 1, 1)")
        for role, statement in FOUND:
            cursor.execute(f"SET SESSION AUTHORIZATION {role}")

            # When the role tries, then it is refused or finds no row
            if not is_refused(owner, statement):
                cursor.execute(statement)
                assert cursor.fetchall() == [], (role, statement)
            cursor.execute("RESET SESSION AUTHORIZATION")


def test_the_gateway_keeps_webhooks_with_the_intake_role(server: Postgres, tmp_path: Path) -> None:
    # Given a gateway whose two addresses are those of two roles
    database = Database(server.url)
    database.execute("INSERT INTO users (name) VALUES ('a')")
    database.execute("INSERT INTO courses (id, title) VALUES (7, 'Optics')")
    token = "token-of-the-tests"
    settings = {
        "NOUBA_INTAKE_DATABASE_URL": url_of_role(server.url, "nouba_intake"),
        "NOUBA_API_TOKENS": token,
        "NOUBA_GATEWAY_SPOOL_DIR": str(tmp_path / "spool"),
    }
    with RunningGateway(tmp_path / "log", url_of_role(server.url, "nouba_gateway"), **settings) as gateway:
        # When webhooks, hints and a payment of the school come
        with httpx.Client(base_url=gateway.url) as client:
            delivery = paid()
            kept = [deliver(client, delivery) for _ in range(2)]
            hint = client.get("/webhooks/satim", params={"orderId": "an-order"}, follow_redirects=False)
            payment = client.post(
                "/api/payments",
                json={"provider": "satim", "provider_reference": "an-order", "user_id": 1, "amount": 100},
                headers={"Authorization": f"Bearer {token}"},
            )
            ready = client.get("/readyz")

        # Then each is kept once
        assert [answer.json()["status"] for answer in kept] == ["accepted", "duplicate"]
        assert hint.status_code == 303
        assert payment.status_code == 200, payment.text
        assert ready.json()["database"], ready.text
        assert database.rows("SELECT count(*) FROM webhook_events") == [(2,)]
        assert "permission denied" not in gateway.log
        assert "Traceback" not in gateway.log


def test_a_process_for_strangers_alone_holds_the_intake_role_and_no_other_secret(
    server: Postgres, rabbitmq_url: str, tmp_path: Path
) -> None:
    # Given a process for webhooks and one for the school, each with the address of its own role
    database = Database(server.url)
    database.execute("INSERT INTO users (name) VALUES ('a')")
    (user_id,) = database.rows("SELECT max(id) FROM users")[0]
    token = {"Authorization": "Bearer token-of-the-tests"}
    intake = url_of_role(server.url, "nouba_intake")
    role = url_of_role(server.url, "nouba_gateway")
    with (
        RunningGateway(
            tmp_path / "webhooks",
            intake,
            rabbitmq_url,
            NOUBA_GATEWAY_SERVES="webhooks",
            NOUBA_GATEWAY_SPOOL_DIR=str(tmp_path / "spool"),
        ) as strangers,
        RunningGateway(
            tmp_path / "school",
            role,
            rabbitmq_url,
            NOUBA_GATEWAY_SERVES="school",
            NOUBA_API_TOKENS="token-of-the-tests",
        ) as school,
        RunningWorker(tmp_path / "worker", role, rabbitmq_url),
        httpx.Client(base_url=strangers.url) as webhooks,
        httpx.Client(base_url=school.url) as api,
    ):
        # When the school registers a payment, and its webhook comes
        payment = {"provider": "generic", "provider_reference": "alone", "user_id": user_id, "amount": 250_000}
        assert api.post("/api/payments", json=payment, headers=token).status_code == 200
        delivery = paid(reference="alone")
        assert deliver(webhooks, delivery).json()["status"] == "accepted"

        # Then it is booked, and neither serves what is the other's
        wait_until(
            lambda: database.rows("SELECT status FROM payments WHERE provider_reference = 'alone'") == [("completed",)],
            30,
            "the payment is not booked",
        )
        for path in ("/api/payments", "/api/courses/1/video", "/api/v1/courses/1/video"):
            assert webhooks.post(path, json=payment, headers=token).status_code in (404, 405)
        for path in ("/docs", "/docs/swagger-ui-bundle.js", "/openapi.json"):
            assert webhooks.get(path).status_code == 404
            assert api.get(path).status_code == 200
        assert deliver(api, delivery).status_code == 404
        assert webhooks.get("/readyz").json()["database"], webhooks.get("/readyz").text
        assert api.get("/readyz").json()["database"]

        # And no environment of its processes holds the other role's address or the school's token
        for pid in (strangers.process.pid, *strangers.children):
            held = Path(f"/proc/{pid}/environ").read_text()
            assert "nouba_intake" in held
            assert "nouba_gateway" not in held
            assert "token-of-the-tests" not in held
        assert "permission denied" not in strangers.log + school.log


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("NOUBA_API_TOKENS", "token-of-the-tests"),
        ("NOUBA_PLAYBACK_SECRETS", "0" * 64),
        ("NOUBA_S3_BUCKET", "nouba"),
        ("NOUBA_INTAKE_DATABASE_URL", "postgresql://nouba_intake@127.0.0.1:1/nouba"),
    ],
)
def test_a_process_for_strangers_that_is_given_another_secret_refuses_to_start(setting: str, value: str) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "NOUBA_DATABASE_URL": "postgresql://nouba_intake@127.0.0.1:1/nouba",
        "NOUBA_RABBITMQ_URL": NO_RABBITMQ,
        "NOUBA_GATEWAY_SERVES": "webhooks",
        setting: value,
    }
    refused = subprocess.run(
        [NOUBA, "gateway", "serve"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert refused.returncode == 1
    assert f"take {setting}" in refused.stderr
    assert value == "nouba" or value not in refused.stderr


def test_the_worker_books_seals_and_corrects_with_the_gateways_role(
    server: Postgres, rabbitmq_url: str, tmp_path: Path
) -> None:
    # Given a gateway and a payments worker with the roles of the containers, a user, and a correction that is due
    database = Database(server.url)
    database.execute("INSERT INTO users (name) VALUES ('a')")
    database.execute(
        "INSERT INTO ledger_adjustments (idempotency_key, user_id, amount_minor, currency, reason, actor_name)"
        " VALUES ('k', 1, 100, 'DZD', 'a test', 'Amina')"
    )
    # a payout of a provider whose money is booked
    database.execute("INSERT INTO ledger_accounts (kind, provider) VALUES ('psp_clearing', 'satim')")
    # and a webhook whose body is past its retention
    database.execute(
        "INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256, state, received_at)"
        " VALUES ('generic', 'old', 'b', sha256('b'), 'ignored', now() - interval '500 days')"
    )
    gateway_url = url_of_role(server.url, "nouba_gateway")
    with (
        RunningGateway(
            tmp_path / "gateway",
            gateway_url,
            rabbitmq_url,
            NOUBA_INTAKE_DATABASE_URL=url_of_role(server.url, "nouba_intake"),
        ) as gateway,
        RunningWorker(
            tmp_path / "worker", gateway_url, rabbitmq_url, NOUBA_LEDGER_ANCHOR=f"file://{tmp_path}/heads"
        ) as worker,
        httpx.Client(base_url=gateway.url) as client,
    ):
        # When an operator records a payout with the console's role, and a payment is reported
        recorded = nouba(
            *("payments", "record-payout", "satim", "1", "--reference", "r", "--on", "2026-03-05"),
            NOUBA_DATABASE_URL=url_of_role(server.url, "nouba_console"),
        )
        assert recorded.returncode == 0, recorded.stderr
        payment = paid(user_id=1)
        assert deliver(client, payment).status_code == 200

        # Then it is booked and sealed, the correction and the payout too, and the head of the chain is anchored
        wait_until(
            lambda: database.rows("SELECT balance_minor FROM users") == [(250_100,)], 30, "the wallet is not credited"
        )
        wait_until(
            lambda: database.rows("SELECT count(*) FROM seals WHERE what = 'version'") == [(2,)], 30, "it is not sealed"
        )
        booked = "SELECT booked_at IS NOT NULL FROM provider_payouts"
        wait_until(lambda: database.rows(booked) == [(True,)], 30, "the payout is not booked")
        wait_until((tmp_path / "heads").exists, 30, "the head is not anchored")
        erased = "SELECT body FROM webhook_events WHERE body_erased_at IS NOT NULL"
        wait_until(lambda: database.rows(erased) == [(b"",)], 30, "the old body is not erased")
        assert "permission denied" not in worker.log + gateway.log


def test_rabbitmq_s3_and_the_ports_are_as_the_matrix_says() -> None:
    definitions = json.loads((PROJECT / "deploy/rabbitmq/definitions.json").read_text())
    for permission in definitions["permissions"]:
        rights = MATRIX["queues"][permission["user"]]
        for queue in QUEUES:
            for name in (one.name for one in declarations(queue)):
                assert bool(re.search(permission["read"], name)) == (queue in rights["consumes"])
                reported = queue in {*rights["consumes"], *rights["publishes"]}
                assert bool(re.search(permission["configure"], name)) == reported
    assert {user["name"] for user in definitions["users"]} == set(MATRIX["queues"])
    assert MATRIX["objects"] == make_secrets.S3_ACTIONS
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    published = {
        name: int(port.rpartition(":")[2])
        for name, service in compose["services"].items()
        for port in service.get("ports", ())
        if port.startswith("127.0.0.1:")
    }
    assert published == MATRIX["ports"]
    assert sum(len(service.get("ports", ())) for service in compose["services"].values()) == len(published)


def test_the_networks_of_compose_are_those_of_the_matrix() -> None:
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    services = {
        name: set(service["networks"]) for name, service in compose["services"].items() if "networks" in service
    }
    found = {network: sorted(one for one, own in services.items() if network in own) for network in compose["networks"]}

    # each network has whom the matrix names, and who has none is on no network at all
    assert found == MATRIX["networks"]
    left = set(compose["services"]) - set(services)
    assert {compose["services"][name]["network_mode"] for name in left} == {"none"}
    # these two lead nobody outside
    assert {name for name, own in compose["networks"].items() if (own or {}).get("internal")} == {"inside", "scraped"}
    # every server is in the matrix with its ports
    one_shots = {"bucket", "demo", "migrate", "roles", "secrets-maker"}
    assert set(MATRIX["inner_ports"]) == set(compose["services"]) - one_shots


#: What reaches a server that asks for nothing, or holds everything: nobody else.
REACHED_BY = {
    "alertmanager": {"grafana", "prometheus"},
    "grafana": {"alertmanager", "prometheus"},
    "prometheus": {"alertmanager", "grafana", "rabbitmq", *build.PROCESSES},
    "stats-scheduler": {
        "bucket", "demo", "migrate", "postgres", "prometheus", "psp", "rabbitmq", "roles", "s3",
        *set(build.PROCESSES) - {"stats-scheduler"},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", REACHED_BY)
def test_a_server_is_reached_by_those_that_need_it(name: str) -> None:
    assert role_matrix.peers_of(MATRIX["networks"], name) == REACHED_BY[name]


def test_what_prometheus_scrapes_shares_a_network_with_it() -> None:
    config = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yml").read_text())
    asked = {
        target.partition(":")[0]
        for job in config["scrape_configs"]
        for target in [
            *(name for one in job.get("dns_sd_configs", ()) for name in one["names"]),
            *(name for one in job.get("static_configs", ()) for name in one["targets"]),
        ]
    } - {"localhost"}

    # in one network with each alone: with two addresses a container would count twice
    for name in asked:
        shared = [network for network, names in MATRIX["networks"].items() if {name, "prometheus"} <= set(names)]
        assert shared == ["scraped"], name
        assert "9100" in MATRIX["inner_ports"][name] or name == "rabbitmq"


def test_the_page_shows_the_matrix() -> None:
    page = (PROJECT / "docs/roles.md").read_text()

    assert page == role_matrix.page(), "run `python -m deploy.role_matrix > docs/roles.md`"
