"""The connections of the books: statements are prepared once on each, and none goes back with a transaction open."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.settlement import postgres, sql
from services.webhook_gateway.settlement.settlement_store import SettlementResult
from shared.contracts.webhooks import EventState
from shared.runtime.database import build_engine
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.harness import Harness
from tests.webhook_gateway.settlement.postgres_school import SqlSchool
from tests.webhook_gateway.settlement.samples import a_payment, an_event


@pytest.fixture
def committing_engine(database_url: str) -> Iterator[Engine]:
    """One connection, which anyone who comes next gets as it was left."""
    engine = build_engine(database_url, pool_size=1, autocommit=True)
    yield engine
    engine.dispose()


def backend(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def assert_free(database_url: str) -> None:
    """Nothing is under way in the database but the question."""
    other = build_engine(database_url, pool_size=1, autocommit=True)
    with other.connect() as connection:
        open_ones = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state LIKE 'idle in transaction%%'"
        )
        assert connection.exec_driver_sql(open_ones).scalar_one() == 0
    other.dispose()


def fail_after_claim(sql_school: SqlSchool, event_id: int) -> None:
    with sql_school.books() as books:
        assert books.claim([event_id])
        raise ZeroDivisionError


def test_a_settlement_that_fails_leaves_no_transaction_open(sql_school: SqlSchool, database_url: str) -> None:
    event_id = an_event(sql_school)
    with pytest.raises(ZeroDivisionError):
        fail_after_claim(sql_school, event_id)
    assert_free(database_url)
    with sql_school.books() as books:
        assert books.claim([event_id])


def test_a_connection_that_did_not_roll_back_is_not_used_again(sql_school: SqlSchool, database_url: str) -> None:
    """A time limit strikes anywhere, also there: the next settlement would commit what is half done."""
    event_id = an_event(sql_school)
    with sql_school.engine.connect() as connection:
        before = backend(connection)

    def strike(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement == "ROLLBACK":
            raise KeyboardInterrupt

    event.listen(sql_school.engine, "before_cursor_execute", strike)
    with pytest.raises(KeyboardInterrupt):
        fail_after_claim(sql_school, event_id)
    event.remove(sql_school.engine, "before_cursor_execute", strike)

    assert_free(database_url)
    with sql_school.engine.connect() as connection:
        assert backend(connection) != before


def test_a_connection_prepares_the_statements_once_and_a_new_one_again(sql_school: SqlSchool) -> None:
    texts: list[str] = []
    event.listen(sql_school.engine, "before_cursor_execute", lambda _c, _k, statement, *_rest: texts.append(statement))
    harness, user_id = Harness(sql_school), sql_school.add_user()

    def pay(reference: str) -> None:
        reported = {"stage": Stage.COMPLETED, "amount_minor": 1000, "user_id": user_id}
        assert harness.book(reference=reference, **reported).state is EventState.APPLIED

    pay("R1")
    pay("R2")
    assert texts.count(sql.PREPARE) == 1
    with pytest.raises(DBAPIError), sql_school.engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
    pay("R3")
    assert texts.count(sql.PREPARE) == 2
    assert sql_school.balance(user_id) == 3000


def test_a_payment_that_comes_between_the_lock_and_the_read_is_not_taken_for_a_locked_one(
    sql_school: SqlSchool, database_url: str
) -> None:
    user_id = sql_school.add_user()
    other = build_engine(database_url, pool_size=1, autocommit=True)
    key = json.dumps([{"provider": "psp", "reference": "R1", "order_number": None}])
    sql_school.read(1)  # the connection knows the statements now
    with sql_school.engine.connect() as connection:

        def lock_and_read() -> tuple[object, int]:
            connection.exec_driver_sql(sql.LOCK_PAYMENTS.execute(2), (key, []))
            between()
            row = connection.exec_driver_sql(sql.READ_PAYMENTS.execute(2), ([], key)).one()
            return row.payments and row.payments[0]["id"], len(row.new_payments)

        connection.exec_driver_sql("BEGIN")
        committed: list[int] = []

        def between() -> None:
            if not committed:
                committed.append(SqlSchool(other).add_payment(a_payment(user_id)))

        assert lock_and_read() == (None, 0), "neither known nor new"
        assert lock_and_read() == (committed[0], 0)
        connection.exec_driver_sql("ROLLBACK")
    other.dispose()


def test_a_payment_that_came_so_is_found_by_the_second_try(sql_school: SqlSchool, database_url: str) -> None:
    other, harness = build_engine(database_url, pool_size=1, autocommit=True), Harness(sql_school)
    user_id = sql_school.add_user()
    event_id = harness.receive(stage=Stage.COMPLETED, amount_minor=1000, user_id=user_id)
    tries: list[int] = []

    def overtake(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "EXECUTE open_payments" in statement:
            tries.append(SqlSchool(other).add_payment(a_payment(user_id, 1000)))

    event.listen(sql_school.engine, "before_cursor_execute", overtake)
    verdict = harness.settle(event_id)
    event.remove(sql_school.engine, "before_cursor_execute", overtake)
    other.dispose()

    assert len(tries) == 1
    assert verdict == SettlementResult(EventState.APPLIED, f"payment {tries[0]} is completed", tries[0])
    assert sql_school.balance(user_id) == 1000


@pytest.mark.parametrize("statement", sql.ALL, ids=lambda statement: statement.name)
def test_the_plan_that_is_kept_reads_no_table_from_end_to_end(statement: sql.Statement, sql_school: SqlSchool) -> None:
    """Whatever the values are: one plan serves all of them."""
    sql_school.read(1)
    count = max((int(number) for number in re.findall(r"\$(\d+)", statement.text)), default=0)
    with sql_school.engine.connect() as connection:
        connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off")
        connection.exec_driver_sql("SET nouba.payments = '{}'; SET nouba.users = '{}'")
        nothing = f"({', '.join(['NULL'] * count)})" if count else ""
        plan = connection.exec_driver_sql(f"EXPLAIN EXECUTE {statement.name}{nothing}").scalars().all()
    assert not [line for line in plan if "Seq Scan" in line]


def kept_plan(connection: Connection, statement: sql.Statement, *values: object) -> str:
    connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
    plan = connection.exec_driver_sql(f"EXPLAIN {statement.execute(len(values))}", values)
    return "\n".join(plan.scalars())


def test_events_that_wait_for_a_payment_are_searched_for_by_it_and_not_among_all_that_wait(
    sql_school: SqlSchool,
) -> None:
    sql_school.read(1)
    with sql_school.engine.connect() as connection:
        plan = kept_plan(connection, sql.RELEASE, "[]")
    assert "ix_webhook_events_parked" in plan
    assert "Index Cond: ((reference = given.reference) AND (provider = given.provider))" in plan


def test_what_was_planned_for_an_empty_table_is_planned_anew_when_it_has_grown(
    sql_school: SqlSchool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan() -> str:
        sql_school.read(1)
        with sql_school.engine.connect() as connection:
            return kept_plan(connection, sql.LOCK_PAYMENTS, "[]", [])

    user_id = sql_school.add_user()
    small = plan()
    with sql_school.engine.connect() as connection:
        connection.exec_driver_sql(
            "INSERT INTO payments (provider, provider_reference, order_number, user_id, amount_minor) "
            "SELECT 'psp', number, number, %s, 1 FROM generate_series(1, 20000) AS number",
            (user_id,),
        )
    assert plan() == small
    monkeypatch.setattr(postgres, "PLANS_KEPT_SECONDS", 0.0)
    assert "Index Cond: ((provider = key.provider) AND (provider_reference = key.reference))" in plan()


def test_without_statistics_a_payment_is_searched_for_by_its_reference_and_not_among_all_of_its_provider(
    sql_school: SqlSchool,
) -> None:
    """As in an hour of which no table was analyzed, or after pg_upgrade; a payment often has no order number."""
    user_id = sql_school.add_user()
    with sql_school.engine.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE payments SET (autovacuum_enabled = false)")
        connection.exec_driver_sql(
            "INSERT INTO payments (provider, provider_reference, user_id, amount_minor) "
            "SELECT 'psp', number, %s, 1 FROM generate_series(1, 5000) AS number",
            (user_id,),
        )
    sql_school.read(1)
    with sql_school.engine.connect() as connection:
        connection.exec_driver_sql("SET nouba.payments = '{}'; SET nouba.users = '{}'")
        plans = [kept_plan(connection, sql.LOCK_PAYMENTS, "[]", []), kept_plan(connection, sql.READ_PAYMENTS, [], "[]")]
    for plan in plans:
        searches = [line for line in plan.splitlines() if "Index Cond: (" in line and ".provider)" in line]
        assert searches
        assert all("provider_reference = " in line or "order_number = " in line for line in searches), plan


@pytest.mark.parametrize("statement", [sql.READ, sql.READ_PAYMENTS], ids=lambda statement: statement.name)
def test_events_are_read_by_their_ids_and_not_among_all_that_wait(
    statement: sql.Statement, sql_school: SqlSchool
) -> None:
    """The tables were analyzed while nothing waited, and then an outage let much wait."""
    sql_school.read(1)
    with sql_school.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE webhook_events")
        connection.exec_driver_sql("SET nouba.payments = '{}'; SET nouba.users = '{}'")
        plan = kept_plan(connection, statement, [1, 2, 3], *(["[]"] if statement is sql.READ_PAYMENTS else []))
    assert "pk_webhook_events" in plan
    assert "ix_webhook_events_waiting" not in plan


@pytest.mark.parametrize("days_later", [10, 30, 90])
def test_an_end_that_an_activation_set_goes_with_it_though_the_period_has_changed(
    sql_school: SqlSchool, days_later: int
) -> None:
    # Given a subscription that was activated for thirty days
    number = sql_school.add_subscription(sql_school.add_user(), 100)
    with sql_school.books() as books:
        books.activate(number, OPENED_AT)
    assert sql_school.subscription(number).ends_at == OPENED_AT + timedelta(days=30)

    # When the money goes back after NOUBA_SUBSCRIPTION_DAYS was changed
    with SqlSchool(sql_school.engine, timedelta(days=days_later)).books() as books:
        books.deactivate(number)

    # Then it has no end of its own, and the next activation gives it a new one
    assert sql_school.subscription(number).ends_at is None
    with SqlSchool(sql_school.engine, timedelta(days=days_later)).books() as books:
        books.activate(number, OPENED_AT)
    assert sql_school.subscription(number).ends_at == OPENED_AT + timedelta(days=days_later)


@pytest.mark.parametrize(("status", "read"), [(None, 0), ("expired", 0), ("pending_payment", 2), ("active", 2)])
def test_what_a_payer_paid_before_is_read_where_a_subscription_may_be_paid_by_it(
    sql_school: SqlSchool, status: str | None, read: int
) -> None:
    harness = Harness(sql_school)
    user_id = sql_school.add_user()
    for reference in ("R1", "R2"):
        harness.book(reference=reference, stage=Stage.COMPLETED, amount_minor=1000, user_id=user_id)
    if status:
        sql_school.add_subscription(user_id, 50_000, status=status)

    with sql_school.books() as books:
        list(books.pending_subscriptions(user_id))
        assert len(list(books.credits(user_id))) == read
