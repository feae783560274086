"""The same number, size and day give the same school, whenever and wherever it is seeded."""

from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text

from local.postgres import Postgres
from services.stats.seeding.seeder import seed
from shared.runtime.database import build_engine
from shared.schema.tables import metadata
from tests.webhook_gateway.processes import new_database

USERS, UNTIL = 60, date(2026, 11, 1)


def content(engine: Engine) -> dict[str, str]:
    """How many rows every table has, and their hash, by the table's name."""
    rows = "string_agg(each::text, ',' ORDER BY each::text)"
    query = f"SELECT count(*) || ' rows: ' || md5(coalesce({rows}, '')) FROM {{}} AS each"  # noqa: S608
    with engine.connect() as connection:
        return {name: connection.execute(text(query.format(name))).scalar_one() for name in sorted(metadata.tables)}


def seeded(url: str, number: int = 1, until: date = UNTIL, users: int = USERS) -> dict[str, str]:
    engine = build_engine(url)
    try:
        seed(engine, users, number, until, ZoneInfo("Africa/Algiers"), lambda table, done, total: None)
        return content(engine)
    finally:
        engine.dispose()


def test_two_seedings_until_the_same_day_have_the_same_content(migrated_server: Postgres) -> None:
    found = []
    for number in (1, 1, 2):
        with new_database(migrated_server) as database:
            found.append(seeded(database.url, number))
    first, again, other = found
    assert first == again
    assert first["payments"] != other["payments"], "a hash that distinguishes nothing"


def test_seeding_leaves_no_day_marked(database_url: str) -> None:
    found = seeded(database_url)
    assert found["changed_days"].startswith("0 rows")
    assert found["users"].startswith(f"{USERS} rows")


def test_a_sale_is_booked_for_what_it_was_sold(database_url: str) -> None:
    seeded(database_url, users=600)
    engine = build_engine(database_url)
    query = """
        SELECT count(*), count(*) FILTER (WHERE entry.amount_minor <> sold.amount_minor)
        FROM subscription_terms AS sold
        JOIN ledger_transactions AS booked ON booked.subscription_id = sold.subscription_id AND kind = 'activation'
        JOIN ledger_entries AS entry ON entry.transaction_id = booked.id
        JOIN ledger_accounts AS account ON account.id = entry.account_id AND account.kind = 'subscription_revenue'
    """
    with engine.connect() as connection:
        sold, wrong = connection.execute(text(query)).one()
    engine.dispose()
    assert sold > 0
    assert wrong == 0
