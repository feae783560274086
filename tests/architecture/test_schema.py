"""The tables that the code believes in are the tables that the migrations make."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Table, text

from shared.runtime.database import build_engine
from shared.runtime.migrations import migrate
from shared.schema.tables import metadata

TABLES = metadata.sorted_tables
WRITERS = {"school", "gateway", "transcoder", "playback", "stats", "console", "runtime", "every service, its own rows"}

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


def test_the_migrated_database_has_exactly_the_tables_of_the_code(database_url: str) -> None:
    engine = build_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": metadata}
        )
        differences = compare_metadata(context, metadata)
    engine.dispose()
    assert differences == []


def test_a_difference_would_be_seen(database_url: str) -> None:
    engine = build_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE payments ADD COLUMN forgotten bigint"))
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert [difference[0] for difference in differences] == ["remove_column"]


def test_the_rules_of_every_table_are_in_the_database_too(database_url: str) -> None:
    """Alembic does not compare check constraints."""
    named = {
        constraint.name
        for table in TABLES
        for constraint in table.constraints
        if constraint.__visit_name__ == "check_constraint"
    }
    engine = build_engine(database_url)
    with engine.connect() as connection:
        found = set(connection.scalars(text("SELECT conname FROM pg_constraint WHERE contype = 'c'")))
    engine.dispose()
    assert {str(name) for name in named} <= found


def test_migrating_twice_is_migrating_once(database_url: str) -> None:
    migrate(database_url)
    migrate(database_url)


@every_table
def test_a_table_names_its_one_writer(table: Table) -> None:
    assert table.info.get("writer") in WRITERS, f"say who writes {table.name}: info={{'writer': ...}}"


@every_table
def test_money_is_a_bigint_of_minor_units_and_an_instant_has_its_zone(table: Table) -> None:
    for column in table.columns:
        kind = str(column.type)
        if column.name.endswith("_minor"):
            assert kind == "BIGINT"
        if column.name.endswith("_at"):
            assert getattr(column.type, "timezone", False), f"{table.name}.{column.name} must be an instant"
        assert kind not in ("FLOAT", "REAL", "DOUBLE PRECISION") or not column.name.endswith("_minor")
