"""The worker finds lost webhooks by itself, is killed while it does, and lets no provider starve the others."""

import re
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.psp.server import REST
from local.psp.signed_webhooks import Payment, signed
from services.webhook_gateway.inbox.accept import accept
from services.webhook_gateway.providers.base import Request
from services.webhook_gateway.providers.generic import Generic
from tests.waiting import wait_until
from tests.webhook_gateway.fakes import NoRateLimit
from tests.webhook_gateway.processes import SECRETS, RunningWorker
from tests.webhook_gateway.reconciliation.harness import AMOUNT_MINOR, KEY, MERCHANT, Begun, Bench

GENERIC = Generic([SECRETS["generic"]])


class Workers:
    """Workers of one school, whose providers are the simulator."""

    def __init__(self, bench: Bench, database_url: str, rabbitmq_url: str, folder: Path) -> None:
        self._given = (folder / "worker.log", database_url, rabbitmq_url)
        self._settings: dict[str, Any] = {
            "NOUBA_PAYMENTS_MODE": "test",
            "NOUBA_PSP_CHARGILY_SECRETS": KEY,
            "NOUBA_PSP_CHARGILY_BASE_URL": bench.simulator_url,
            "NOUBA_PSP_SATIM_USERNAME": MERCHANT["username"],
            "NOUBA_PSP_SATIM_PASSWORD": MERCHANT["password"],
            "NOUBA_PSP_SATIM_BASE_URL": bench.simulator_url + REST,
        }

    def start(self, failpoints: str = "") -> RunningWorker:
        return RunningWorker(*self._given, **self._settings, NOUBA_FAILPOINTS=failpoints)


@pytest.fixture
def workers(bench: Bench, database_url: str, rabbitmq_url: str, tmp_path: Path) -> Workers:
    return Workers(bench, database_url, rabbitmq_url, tmp_path)


def metric(worker: RunningWorker, sample: str) -> float:
    found = re.search(f"^{re.escape(sample)} (.+)$", httpx.get(worker.metrics_url).text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_until_completed(*begun: Begun) -> None:
    for one in begun:
        wait_until(lambda one=one: one.status == "completed", 30)  # type: ignore[misc]


def test_lost_webhooks_of_every_provider_are_found_and_counted(bench: Bench, workers: Workers) -> None:
    begun = [bench.begin(provider) for provider in ("chargily", "satim")]
    for one in begun:
        one.end()

    with workers.start() as worker:
        wait_until_completed(*begun)
        for one in begun:
            one.assert_credited_once()
            asks = f'nouba_reconciliation_polls_total{{outcome="recorded",provider="{one.provider}"}}'
            booked = f'nouba_reconciliation_recovered_payments_total{{provider="{one.provider}"}}'
            assert (metric(worker, asks), metric(worker, booked)) == (1, 1)
            assert metric(worker, f'nouba_provider_breaker_state{{provider="{one.provider}"}}') == 0
        assert worker.stop() == 0
        assert one.reference not in worker.log


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("after_take", marks=pytest.mark.slow),
        "after_answer",
        pytest.param("after_keep", marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_is_killed_while_it_asks_costs_no_payment_and_books_none_twice(
    bench: Bench, workers: Workers, place: str
) -> None:
    begun = bench.begin("chargily")
    begun.end()
    with workers.start(f"reconcile.{place}=kill*1") as killed:
        assert killed.process.wait(30) == -signal.SIGKILL
    asked = bench.asked("chargily")

    bench.make_due()  # the lease of the dead has run out
    with workers.start() as worker:
        wait_until_completed(begun)
        wait_until(lambda: begun.status == "completed" and bench.states()["received"] == 0)
        assert worker.stop() == 0

    begun.assert_credited_once()
    assert bench.states() == {"applied": 1}
    assert bench.asked("chargily") <= asked + 1


def test_a_subscription_that_began_to_wait_too_late_is_paid_by_the_worker(bench: Bench, workers: Workers) -> None:
    begun = bench.begin("chargily")
    begun.end()
    with workers.start():
        wait_until_completed(begun)
        bench.execute(
            "INSERT INTO subscriptions (user_id, amount_minor) VALUES (:user_id, 1000)", user_id=begun.user_id
        )
        wait_until(lambda: bench.scalar("SELECT status FROM subscriptions") == "active", 30)
    bench.assert_books_balance()


def test_while_a_provider_hangs_the_others_webhooks_are_settled_as_fast_as_ever(bench: Bench, workers: Workers) -> None:
    hanging = [bench.begin(provider) for provider in ("chargily", "satim") for _ in range(10)]
    users = [bench.scalar("INSERT INTO users DEFAULT VALUES RETURNING id") for _ in range(20)]
    bench.be_wrong("chargily", "slow", seconds=8)
    bench.be_wrong("satim", "slow", seconds=8)

    with workers.start():
        wait_until(lambda: bench.asked("chargily") >= 2 and bench.asked("satim") >= 2, 20)
        started = time.monotonic()
        for number, user_id in enumerate(users):
            payment = Payment(reference=f"generic-{number}", amount_minor=AMOUNT_MINOR, user_id=user_id)
            delivery = signed("generic", [SECRETS["generic"]], payment, "paid")
            headers = {name.lower(): value for name, value in delivery.headers.items()}
            accept(GENERIC, Request("POST", headers, delivery.body), bench.inbox, lambda: None, NoRateLimit())
        wait_until(lambda: bench.states()["applied"] == len(users), 20)
        took_seconds = time.monotonic() - started

    assert took_seconds < 8, "they waited for the hanging providers"
    assert bench.asked("chargily") <= 4, "more than two threads asked at once"
    for one in hanging:
        assert one.status == "pending"
