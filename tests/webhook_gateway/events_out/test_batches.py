"""Replays, removals and pruning go batch by batch: no statement grows with what there is."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import pytest

from services.webhook_gateway.events_out import postgres
from services.webhook_gateway.events_out.postgres import PostgresDeliveries
from shared.operations.webhook_endpoints import endpoints
from shared.operations.webhook_endpoints.endpoints import Replayed, ReplayFilter
from shared.runtime.database import build_engine
from tests.waiting import wait_until
from tests.webhook_gateway.events_out.processes import add, endpoints_of, record, states
from tests.webhook_gateway.processes import Database

URL = "http://127.0.0.1:1/"


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "BATCH", 10)


def test_a_replay_takes_up_all_and_says_how_far_it_is(database: Database) -> None:
    # Given events of two types, over several batches
    endpoint_id, _ = add(database, URL)
    wallets = record(database, 1, 25)
    record(database, 2, 5, "lesson.ready")
    database.execute("UPDATE events SET fanned_out_at = now()")
    reports: list[tuple[int, float]] = []

    # When those of one are replayed, without a limit
    found = endpoints_of(database).replay(
        endpoint_id,
        ReplayFilter(["wallet.changed"]),
        who="test",
        most=None,
        report=lambda events, share: reports.append((events, share)),
    )

    # Then it was several transactions, and each has a delivery
    assert found == Replayed(25, None)
    assert [events for events, _ in reports] == [10, 20, 25]
    assert reports[-1][1] == 1.0
    assert [share for _, share in reports] == sorted(share for _, share in reports)
    rows = database.rows("SELECT 'evt_' || event_id FROM webhook_deliveries ORDER BY id")
    assert [number for (number,) in rows] == wallets


def test_a_replay_that_reaches_its_limit_is_continued(database: Database) -> None:
    # Given a limit that is reached
    endpoint_id, _ = add(database, URL)
    record(database, 1, 25)
    database.execute("UPDATE events SET fanned_out_at = now()")
    replay = endpoints_of(database).replay

    # When a replay goes on where the one before it ended
    first = replay(endpoint_id, ReplayFilter(), who="test", most=15)
    assert first.events == 20
    assert first.next_after is not None
    second = replay(endpoint_id, ReplayFilter(after=first.next_after), who="test", most=15)

    # Then each is sent once
    assert second == Replayed(5, None)
    assert states(database) == {"pending": 25}
    # and of failed ones the same
    database.execute("UPDATE webhook_deliveries SET state = 'failed', attempts = 9")
    failed = replay(endpoint_id, ReplayFilter(only_failed=True), who="test", most=15)
    assert failed == first
    rest = replay(endpoint_id, ReplayFilter(only_failed=True, after=first.next_after), who="test", most=15)
    assert rest == second
    assert database.rows("SELECT DISTINCT state, attempts FROM webhook_deliveries") == [("pending", 0)]


WAITS = "UPDATE webhook_deliveries SET attempts = 2, due_at = now() + interval '5 minutes'"


@pytest.mark.parametrize("only_failed", [False, True])
def test_a_replay_sends_what_waits_now_and_leaves_what_is_under_way(database: Database, only_failed: bool) -> None:
    # Given deliveries that wait for their next attempt
    endpoint_id, _ = add(database, URL)
    record(database, 1, 25)
    store = PostgresDeliveries(build_engine(database.url))
    store.fan_out()
    database.execute(WAITS)
    chosen = ReplayFilter(only_failed=only_failed)

    # When they are replayed, then all are due
    assert endpoints_of(database).replay(endpoint_id, chosen, who="test") == Replayed(25, None)
    assert database.rows("SELECT count(*) FROM webhook_deliveries WHERE due_at <= now() AND attempts = 0") == [(25,)]

    # When a worker has some of them, then a second replay takes none
    batch = store.claim(endpoint_id, 20)
    assert batch is not None
    assert len(batch.deliveries) == 20
    before = database.rows("SELECT id, due_at FROM webhook_deliveries ORDER BY id")
    assert endpoints_of(database).replay(endpoint_id, chosen, who="test") == Replayed(0, None)
    assert database.rows("SELECT id, due_at FROM webhook_deliveries ORDER BY id") == before


@pytest.mark.parametrize("only_failed", [False, True])
def test_a_replay_that_waited_for_a_worker_leaves_what_it_has_leased(database: Database, only_failed: bool) -> None:
    # Given a delivery that waits, and a worker's transaction that is about to lease it
    endpoint_id, _ = add(database, URL)
    record(database, 1)
    PostgresDeliveries(build_engine(database.url)).fan_out()
    database.execute(WAITS)
    chosen = ReplayFilter(only_failed=only_failed)
    with (
        ThreadPoolExecutor(1) as pool,
        closing(psycopg2.connect(database.url)) as worker,
        worker.cursor() as cursor,
    ):
        cursor.execute("UPDATE webhook_deliveries SET due_at = clock_timestamp() + interval '1 minute'")

        # When a replay that has seen it waiting is blocked by it
        replayed = pool.submit(endpoints_of(database).replay, endpoint_id, chosen, who="test")
        blocked = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND strpos(query, 'webhook_deliveries') > 0"
        )
        wait_until(lambda: database.rows(blocked), 30, "the replay was not blocked")
        worker.commit()

        # Then it leaves the delivery to the worker
        assert replayed.result(30) == Replayed(0, None)
    assert database.rows("SELECT attempts, due_at > now() FROM webhook_deliveries") == [(2, True)]


def test_an_endpoint_without_events_has_nothing_to_replay(database: Database) -> None:
    endpoint_id, _ = add(database, URL)
    assert endpoints_of(database).replay(endpoint_id, ReplayFilter(), who="test") == Replayed(0, None)


def test_an_endpoint_is_removed_with_its_deliveries_and_no_other(database: Database) -> None:
    endpoint_id, _ = add(database, URL)
    other_id, _ = add(database, URL)
    record(database, 1, 25)
    PostgresDeliveries(build_engine(database.url)).fan_out()
    assert states(database) == {"pending": 50}

    endpoints_of(database).remove(endpoint_id, who="test")

    assert database.rows("SELECT endpoint_id, count(*) FROM webhook_deliveries GROUP BY 1") == [(other_id, 25)]
    assert [one.id for one in endpoints_of(database).find_all()] == [other_id]


def test_what_ends_a_removal_half_way_leaves_a_disabled_endpoint(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a database that takes no second batch
    endpoint_id, _ = add(database, URL)
    record(database, 1, 25)
    PostgresDeliveries(build_engine(database.url)).fan_out()
    whole = endpoints._REMOVE_DELIVERIES
    fails = " AND 1 / (SELECT count(*) - 15 FROM webhook_deliveries) <> 7"
    monkeypatch.setattr(endpoints, "_REMOVE_DELIVERIES", whole + fails)

    # When the endpoint is removed
    with pytest.raises(Exception, match="division by zero"):
        endpoints_of(database).remove(endpoint_id, who="test")

    # Then it gets no more, and can be removed again
    assert not endpoints_of(database).show(endpoint_id).enabled
    assert states(database) == {"pending": 15}
    monkeypatch.setattr(endpoints, "_REMOVE_DELIVERIES", whole)
    endpoints_of(database).remove(endpoint_id, who="test")
    assert endpoints_of(database).find_all() == []


def test_old_events_are_removed_batch_by_batch_and_what_is_pending_stays(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given old events of which one is still to be delivered, and a young one
    monkeypatch.setattr(postgres, "PRUNE", 10)
    add(database, URL)
    old = record(database, 1, 25)
    store = PostgresDeliveries(build_engine(database.url))
    store.fan_out()
    database.execute("UPDATE webhook_deliveries SET state = 'delivered' WHERE event_id <> %s", int(old[3][4:]))
    database.execute("UPDATE events SET occurred_at = now() - interval '31 days'")
    (young,) = record(database, 2)

    # When they are removed
    rounds = 0
    while store.prune(30 * 86_400):
        rounds += 1

    # Then it took several statements
    assert rounds == 3
    rows = database.rows("SELECT 'evt_' || id FROM events ORDER BY id")
    assert [number for (number,) in rows] == [old[3], young]
    assert states(database) == {"pending": 1}


def test_with_many_endpoints_a_statement_takes_fewer_events(database: Database) -> None:
    # Given a thousand endpoints, of which one is enabled, so that this test is short
    database.execute(
        "INSERT INTO webhook_endpoints (url, secret, enabled, disabled_because)"
        " SELECT 'http://127.0.0.1:1/', 'whsec_', number = 1, CASE WHEN number > 1 THEN 'operator' END"
        " FROM generate_series(1, 1000) AS number"
    )
    record(database, 1, 120)
    store = PostgresDeliveries(build_engine(database.url), publishes=False)

    assert [store.fan_out() for _ in range(4)] == [50, 50, 20, 0]
    assert states(database) == {"pending": 120}
