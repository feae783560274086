"""`nouba school-tables check` finds what is wrong with the school's tables; users and orders come from CSV."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from shared.cli import main
from shared.operations.integration.csv_import import user_statement


@pytest.fixture(autouse=True)
def migrated(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUBA_DATABASE_URL", database_url)


def nouba(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def wrong() -> dict[str, str]:
    """The place and the fix of each finding that is wrong."""
    found = nouba("school-tables", "check", "--json")
    findings = json.loads(found.stdout)["findings"]
    assert found.exit_code == (0 if all(one["is_right"] for one in findings) else 1)
    return {one["place"]: one["fix"] for one in findings if not one["is_right"]}


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_the_tables_that_migrate_created_are_right() -> None:
    assert wrong() == {}


@pytest.mark.parametrize(
    ("statement", "place", "fix"),
    [
        ("ALTER TABLE users RENAME COLUMN last_login_at TO seen_at", "users.last_login_at", "ADD COLUMN last_login_at"),
        (
            "ALTER TABLE sessions ALTER COLUMN starts_at TYPE timestamp",
            "sessions.starts_at",
            "ALTER COLUMN starts_at TYPE timestamptz",
        ),
        ("DROP TABLE attendances", "attendances", "nouba migrate"),
        ("INSERT INTO users (id, balance_minor) VALUES (1, 500)", "users.balance_minor", "nouba payments adjust"),
        (
            "ALTER TABLE subscriptions DROP CONSTRAINT ck_subscriptions_status_known;"
            "INSERT INTO users (id) VALUES (1);"
            "INSERT INTO subscriptions (user_id, amount_minor, status) VALUES (1, 1, 'paid')",
            "subscriptions.status",
            "these four",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_fix(engine: Engine, statement: str, place: str, fix: str) -> None:
    execute(engine, statement)

    found = wrong()

    assert list(found) == [place]
    assert fix in found[place]


def test_users_and_orders_are_imported_and_may_be_imported_again(engine: Engine, tmp_path: Path) -> None:
    users, orders = tmp_path / "users.csv", tmp_path / "orders.csv"
    users.write_text("id,name,email\n7,Amina,amina@school.example\n8,,\n")
    orders.write_text("provider,provider_reference,order_number,user_id,amount_minor\nchargily,c-1,A1,7,250000\n")

    dry = nouba("users", "import", str(users), "--dry-run", "--json")
    assert json.loads(dry.stdout) == {"new": 2, "changed": 0, "unchanged": 0, "dry_run": True}
    # nothing was written: the orders have no users yet
    refused = nouba("payments", "import", str(orders))
    assert refused.exit_code == 1
    assert "import the users first" in refused.output

    assert "2 are new" in nouba("users", "import", str(users)).output
    assert "1 are new" in nouba("payments", "import", str(orders)).output
    users.write_text("id,name\n7,Amina B.\n8,\n")
    changed = json.loads(nouba("users", "import", str(users), "--json").stdout)
    assert (changed["new"], changed["changed"], changed["unchanged"]) == (0, 1, 1)
    assert "1 stay as they are" in nouba("payments", "import", str(orders)).output
    with engine.connect() as connection:
        row = connection.execute(text("SELECT status, amount_minor, user_id FROM payments")).one()
    assert tuple(row) == ("pending", 250_000, 7)


def test_a_column_that_a_file_lacks_stays_as_it_is(engine: Engine, tmp_path: Path) -> None:
    execute(engine, "INSERT INTO users (id, email, role) VALUES (7, 'amina@school.example', 'teacher')")
    users = tmp_path / "users.csv"
    # as \\copy of PostgreSQL writes an instant
    users.write_text("id,name,created_at\n7,Amina,2026-01-01 00:00:00.5+00\n")

    assert "1 are changed" in nouba("users", "import", str(users)).output

    with engine.connect() as connection:
        row = connection.execute(text("SELECT name, email, role FROM users")).one()
    assert tuple(row) == ("Amina", "amina@school.example", "teacher")


def test_a_file_of_ids_changes_nothing() -> None:
    assert "DO NOTHING" in str(user_statement(["id"]))
    assert "SET role = EXCLUDED.role WHERE" in str(user_statement(["id", "role"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,balance\n7,5\n", "not balance"),
        ("id,name\n7,Amina,student\n", "line 2: has more fields"),
        ("id,created_at\n7,2026-01-01\n", "line 2: created_at"),
        ("id,name\n7,Amina\nx,Bilal\n0,Chafia\n", "line 3: id"),
        ("", "name the columns"),
    ],
)
def test_a_file_with_a_fault_is_refused_whole(engine: Engine, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "users.csv"
    file.write_text(content)

    refused = nouba("users", "import", str(file))

    assert refused.exit_code == 1
    assert message in refused.output
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM users")) == 0


def test_a_course_is_added_and_its_id_printed_alone(engine: Engine) -> None:
    execute(engine, "INSERT INTO chapters (id, title) VALUES (3, 'Analysis')")

    # by a chosen id, then by the next free ones, which pass the chosen id
    assert nouba("courses", "add", "Limits", "--id", "1", "--chapter", "3").stdout == "1\n"
    assert nouba("courses", "add", "Waves").stdout == "2\n"
    assert json.loads(nouba("courses", "add", "Optics", "--json").stdout) == {"id": 3}

    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id, title, chapter_id FROM courses ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [(1, "Limits", 3), (2, "Waves", None), (3, "Optics", None)]


def test_a_chosen_id_moves_the_sequence_forward_alone(engine: Engine) -> None:
    # the school's own INSERT takes the next id after a chosen one
    assert nouba("courses", "add", "Limits", "--id", "1").stdout == "1\n"
    execute(engine, "INSERT INTO courses (title) VALUES ('Waves')")

    # ids of courses that were removed do not come again
    execute(engine, "INSERT INTO courses (title) VALUES ('Optics'), ('Sound')")
    execute(engine, "DELETE FROM courses WHERE id > 1")
    assert nouba("courses", "add", "Algebra", "--id", "2").stdout == "2\n"
    execute(engine, "INSERT INTO courses (title) VALUES ('Light')")

    with engine.connect() as connection:
        assert connection.scalars(text("SELECT id FROM courses ORDER BY id")).all() == [1, 2, 5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Waves", "--id", "7"), "There is a course 7 already"),
        (("Waves", "--chapter", "9"), "There is no chapter 9"),
        ((" ",), "a title"),
        (("Waves\u202e",), "a title"),
        (("Optique \udce9",), "UTF-8"),
    ],
    ids=["id", "chapter", "title", "direction", "bytes"],
)
def test_a_course_with_a_fault_is_refused(engine: Engine, arguments: tuple[str, ...], message: str) -> None:
    execute(engine, "INSERT INTO courses (id, title) VALUES (7, 'Limits')")

    refused = nouba("courses", "add", *arguments)

    assert (refused.exit_code, refused.stdout) == (1, "")
    assert message in refused.stderr
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM courses")) == 1
