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


def test_no_sale_takes_a_wallet_below_zero(database_url: str) -> None:
    """As settlement has it: debts come from disputes and corrections."""
    seeded(database_url, users=600)
    query = """
        SELECT count(*) FILTER (WHERE kind = 'activation'), count(*) FILTER (WHERE kind = 'activation' AND balance < 0),
               count(*) FILTER (WHERE balance < 0)
        FROM (SELECT booked.kind, sum(entry.amount_minor) OVER (
                  PARTITION BY entry.account_id ORDER BY booked.created_at, booked.id) AS balance
              FROM ledger_entries AS entry JOIN ledger_transactions AS booked ON booked.id = entry.transaction_id
              JOIN ledger_accounts AS account ON account.id = entry.account_id AND account.kind = 'user_wallet') AS held
    """
    engine = build_engine(database_url)
    with engine.connect() as connection:
        sales, below, debts = connection.execute(text(query)).one()
    engine.dispose()
    assert sales > 1000
    # a wallet that a dispute took below zero may be so while its user pays for the next term
    assert below < debts
    assert below <= sales / 100


def test_a_dispute_takes_what_it_withholds_off_what_its_provider_owes(database_url: str) -> None:
    seeded(database_url, users=600)
    query = """
        SELECT booked.id, booked.kind, sum(entry.amount_minor) AS total,
               sum(entry.amount_minor) FILTER (WHERE account.kind = 'user_wallet') AS wallet,
               sum(entry.amount_minor) FILTER (WHERE account.kind = 'psp_clearing') AS clearing,
               sum(entry.amount_minor) FILTER (WHERE account.kind = 'dispute_withheld') AS withheld
        FROM ledger_transactions AS booked JOIN ledger_entries AS entry ON entry.transaction_id = booked.id
        JOIN ledger_accounts AS account ON account.id = entry.account_id
        WHERE booked.kind LIKE 'dispute%' GROUP BY booked.id
    """
    engine = build_engine(database_url)
    with engine.connect() as connection:
        found = connection.execute(text(query)).all()
    engine.dispose()
    assert {row.kind for row in found} == {"dispute_withheld", "dispute_released", "dispute_lost"}
    for row in found:
        assert row.total == 0
        assert row.clearing == (None if row.wallet is None else -row.wallet)
        assert (row.withheld > 0) == (row.kind == "dispute_withheld")
