"""Migrations neither lock a table for long nor take away what the previous release needs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

pytestmark = pytest.mark.lint

VERSIONS = ROOT / "shared/schema/migrations/versions"
#: Earlier ones were applied before there was anything to lock.
FIRST_CHECKED = "0013"
#: What was found too late to be changed, by revision.
KNOWN = {
    "0016": {
        "create_index on webhook_events",
        "create_check_constraint on webhook_events",
        "create_check_constraint on ?",
        "drop_constraint",
    },
    "0017": {"create_check_constraint on ?", "drop_constraint"},
}

#: What only takes away or changes under the feet of the previous release.
NOT_EXPANDING = {"drop_column", "drop_table", "rename_table", "drop_constraint"}
#: Each waits for, and holds, a lock while it reads the whole table.
LOCKING = {
    "create_index": "use concurrently.create_index",
    "drop_index": "use concurrently.drop_index",
    "create_check_constraint": "ADD CONSTRAINT ... NOT VALID, and VALIDATE in a later migration",
    "create_foreign_key": "ADD CONSTRAINT ... NOT VALID, and VALIDATE in a later migration",
    "create_unique_constraint": "build a unique index concurrently first",
}
UNSAFE_SQL = {
    r"\bCREATE\s+(UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)": "use concurrently.create_index",
    r"\bDROP\s+INDEX\s+(?!CONCURRENTLY)": "use concurrently.drop_index",
    r"\bDROP\s+(TABLE|COLUMN)\b": "a migration only adds",
    r"\bRENAME\s+(TO|COLUMN)\b": "a migration only adds",
    r"\bSET\s+NOT\s+NULL\b": "a check constraint NOT VALID first",
    r"\bALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE\b": "add another column",
    r"\b(LOCK\s+TABLE|VACUUM\s+FULL|CLUSTER)\b": "it locks the table",
}


def faults(source: str) -> Iterator[str]:
    """What is unsafe in a migration, each with what to do instead."""
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    ours = [call for call in calls if isinstance(call.func.value, ast.Name) and call.func.value.id == "op"]  # type: ignore[attr-defined]
    # nobody reads or writes a table that the same transaction makes
    new = {_text(call.args[0]) for call in ours if _name(call) == "create_table"}
    for call in ours:
        name = _name(call)
        table = _table(call, name)
        if name in NOT_EXPANDING:
            yield f"{name}: a migration only adds"
        elif name in LOCKING and table not in new:
            yield f"{name} on {table}: {LOCKING[name]}"
        elif name == "add_column" and table not in new:
            yield from _column_faults(call, table)
        elif name == "alter_column" and {one.arg for one in call.keywords} & {"nullable", "type_", "new_column_name"}:
            yield f"alter_column on {table}: add another column"
    for text in _texts(tree):
        for pattern, instead in UNSAFE_SQL.items():
            if re.search(pattern, text, re.IGNORECASE):
                yield f"{' '.join(text.split())[:60]}: {instead}"


def _column_faults(call: ast.Call, table: str) -> Iterator[str]:
    column = call.args[1]
    assert isinstance(column, ast.Call)
    given = {one.arg: one.value for one in column.keywords}
    may_be_null = not (isinstance(given.get("nullable"), ast.Constant) and given["nullable"].value is False)  # type: ignore[attr-defined]
    if not may_be_null and "server_default" not in given:
        yield f"add_column on {table}: NOT NULL needs a server_default, or the previous release cannot insert"


def _name(call: ast.Call) -> str:
    assert isinstance(call.func, ast.Attribute)
    return call.func.attr


def _table(call: ast.Call, name: str) -> str:
    named = {one.arg: one.value for one in call.keywords}
    if "table_name" in named:
        return _text(named["table_name"])
    place = 0 if name in ("add_column", "alter_column", "create_table", "drop_column", "drop_table") else 1
    return _text(call.args[place]) if len(call.args) > place else "?"


def _text(node: ast.AST) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else "?"


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _revision(path: Path) -> str:
    return path.name.partition("_")[0]


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(VERSIONS.glob("*.py")) if _revision(path) >= FIRST_CHECKED],
    ids=lambda path: path.stem,
)
def test_a_migration_is_safe_beside_live_traffic(path: Path) -> None:
    known = KNOWN.get(_revision(path), set())
    assert [fault for fault in faults(path.read_text()) if fault.partition(":")[0] not in known] == []


@pytest.mark.parametrize(
    "statement",
    [
        'op.create_index("ix", "webhook_events", ["id"])',
        'op.drop_index("ix", table_name="webhook_events")',
        'op.drop_column("users", "name")',
        'op.drop_table("users")',
        'op.add_column("users", sa.Column("age", sa.Integer(), nullable=False))',
        'op.alter_column("users", "age", nullable=False)',
        'op.create_check_constraint("ck", "users", "age > 0")',
        'op.create_foreign_key("fk", "users", "schools", ["school_id"], ["id"])',
        'op.execute("ALTER TABLE users ALTER COLUMN age SET NOT NULL")',
        'op.execute("create index ix on users (age)")',
        'op.execute("ALTER TABLE users ALTER COLUMN age TYPE bigint")',
        'op.execute("LOCK TABLE users")',
    ],
)
def test_what_is_unsafe_is_found(statement: str) -> None:
    assert len(list(faults(f"import sqlalchemy as sa\ndef upgrade():\n    {statement}\n"))) == 1


@pytest.mark.parametrize(
    "statement",
    [
        'op.create_table("t", sa.Column("id", sa.BigInteger())); op.create_index("ix", "t", ["id"])',
        'op.add_column("users", sa.Column("age", sa.Integer(), nullable=True))',
        'op.add_column("users", sa.Column("age", sa.Integer(), nullable=False, server_default="0"))',
        'op.alter_column("users", "age", server_default="1")',
        'create_index("ix", "users (age)")',
        'op.execute("ALTER TABLE users ADD CHECK (age > 0) NOT VALID")',
    ],
)
def test_what_is_safe_is_not_found(statement: str) -> None:
    assert list(faults(f"import sqlalchemy as sa\ndef upgrade():\n    {statement}\n")) == []
