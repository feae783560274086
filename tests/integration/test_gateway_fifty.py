"""One paid event, delivered fifty times at once through two gateways, is one row, one message and one credit."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import httpx

from tests.waiting import wait_until
from tests.webhook_gateway.processes import Database, RunningGateway, RunningWorker, paid

DELIVERIES = 50
AMOUNT_MINOR = 250_000


def test_fifty_deliveries_at_once_through_two_gateways_credit_once(
    database_url: str, rabbitmq_url: str, queue_depths: Callable[[str], dict[str, int]], tmp_path: Path
) -> None:
    # Given a user, two gateways, and a paid event
    database = Database(database_url)
    database.execute("INSERT INTO users (id, name) VALUES (7, '')")
    news = paid(user_id=7, amount_minor=AMOUNT_MINOR)
    together = Barrier(DELIVERIES)

    def deliver_once(number: int) -> httpx.Response:
        with httpx.Client(base_url=gateways[number % 2].url, timeout=30) as client:
            together.wait(30)
            return client.post(news.path, headers=dict(news.headers), content=news.body)

    with ExitStack() as running:
        gateways = [
            running.enter_context(RunningGateway(tmp_path / f"gateway {number}", database_url, rabbitmq_url))
            for number in range(2)
        ]

        # When it is delivered fifty times at once
        with ThreadPoolExecutor(DELIVERIES) as pool:
            answers = list(pool.map(deliver_once, range(DELIVERIES)))

        # Then each delivery is acknowledged, and one of them was the first
        assert [answer.status_code for answer in answers] == [200] * DELIVERIES
        assert Counter(answer.json()["status"] for answer in answers) == {"accepted": 1, "duplicate": DELIVERIES - 1}
        assert len({answer.json()["event_id"] for answer in answers}) == 1
        assert database.counts()["webhook_events"] == 1
        wait_until(lambda: database.counts()["outbox"] == 0)
        wait_until(lambda: queue_depths(rabbitmq_url).get("webhooks") == 1)

        # And the worker credits once
        running.enter_context(RunningWorker(tmp_path / "worker", database_url, rabbitmq_url))
        wait_until(lambda: database.rows("SELECT state FROM webhook_events") == [("applied",)])
        wait_until(lambda: queue_depths(rabbitmq_url)["webhooks"] == 0)
        assert database.rows("SELECT balance_minor FROM users WHERE id = 7") == [(AMOUNT_MINOR,)]
        assert database.rows("SELECT status, amount_minor FROM payments") == [("completed", AMOUNT_MINOR)]
        assert database.counts()["ledger_transactions"] == 1
        assert database.rows("SELECT sum(amount_minor) FROM ledger_entries") == [(0,)]

        # And a late fifty-first changes nothing
        late = httpx.post(f"{gateways[0].url}{news.path}", headers=dict(news.headers), content=news.body)
        assert late.json()["status"] == "duplicate"
        assert database.counts()["ledger_transactions"] == 1
