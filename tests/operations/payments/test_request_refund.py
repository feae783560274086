"""`nouba payments refund`: one refund at the provider and in the books, whenever the worker dies."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.psp.satim_bank import Bank
from local.psp.satim_client import SatimClient
from local.psp.server import REST, simulator
from tests.command_line import nouba
from tests.variations import variations
from tests.waiting import wait_until
from tests.webhook_gateway.processes import NOUBA, SETTINGS, Database, RunningWorker
from tests.webhook_gateway.providers.servers import serving

KEY = "sk_test_refunding_tests"
BANK = {"username": SETTINGS["NOUBA_PSP_SATIM_USERNAME"], "password": SETTINGS["NOUBA_PSP_SATIM_PASSWORD"]}
AMOUNT_MINOR = 250_000


@pytest.fixture
def url() -> Iterator[str]:
    bank = simulator(Bank(), username=BANK["username"], password=BANK["password"], stripe_keys=(KEY,))
    with serving(bank) as url:
        yield url


class School:
    """A student who has paid at one of the simulated providers, and a worker that books it by asking."""

    def __init__(self, database: Database, rabbitmq_url: str, url: str, folder: Path, provider: str) -> None:
        self.database, self._rabbitmq_url, self._url, self._folder = database, rabbitmq_url, url, folder
        self.provider = provider
        self.reference = self._pay()
        database.execute("INSERT INTO users (id) VALUES (7)")
        database.execute(
            "INSERT INTO payments (provider, provider_reference, user_id, amount_minor, next_ask_at)"
            " VALUES (%s, %s, 7, %s, now())",
            provider,
            self.reference,
            AMOUNT_MINOR,
        )
        with self.worker():
            wait_until(lambda: self.balance() == AMOUNT_MINOR, message="the payment was not booked")

    def _pay(self) -> str:
        if self.provider == "satim":
            orders = SatimClient(self._url + REST, **BANK)
            order = orders.open(uuid.uuid4().hex[:10].upper(), AMOUNT_MINOR)
            orders.end(order)
            return order
        reported = {"id": "pi_1", "amount": AMOUNT_MINOR, "currency": "dzd"}
        httpx.post(f"{self._url}/simulator/stripe/payments", json=reported).raise_for_status()
        httpx.post(f"{self._url}/simulator/stripe/payments/pi_1/pay").raise_for_status()
        return "pi_1"

    def worker(self, **settings: str) -> RunningWorker:
        given = {
            "NOUBA_PSP_STRIPE_API_KEY": KEY,
            "NOUBA_PSP_STRIPE_BASE_URL": self._url,
            "NOUBA_PSP_SATIM_BASE_URL": self._url + REST,
            **settings,
        }
        return RunningWorker(self._folder / uuid.uuid4().hex, self.database.url, self._rabbitmq_url, **given)

    def balance(self) -> int:
        return int(self.database.rows("SELECT balance_minor FROM users WHERE id = 7")[0][0])

    def refunded(self) -> int:
        """What is refunded at the provider."""
        if self.provider == "satim":
            form = {"userName": BANK["username"], "password": BANK["password"], "orderId": self.reference}
            answer = httpx.post(f"{self._url}{REST}/getOrderStatusExtended.do", data=form).json()
            return int(answer["paymentAmountInfo"]["refundedAmount"])
        found = httpx.get(f"{self._url}/v1/refunds", headers={"Authorization": f"Bearer {KEY}"}).json()["data"]
        return sum(one["amount"] for one in found)

    def refund(self, *more: str, amount: str = "500.00", status: int = 0) -> Any:
        reported = nouba(*self._command(*more, amount=amount), NOUBA_DATABASE_URL=self.database.url)
        assert reported.returncode == status, reported.stderr
        return json.loads(reported.stdout) if reported.stdout else reported.stderr

    def refund_in_a_process(self) -> Any:
        """The same in a process of its own: click's runner is for one at a time."""
        environment = {"NOUBA_DATABASE_URL": self.database.url}
        command = [str(NOUBA), *self._command(amount="500.00")]
        reported = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(reported.stdout)

    def _command(self, *more: str, amount: str) -> list[str]:
        command = ["payments", "refund", self.reference, "--amount", amount, "--reason", "one lesson less"]
        return [*command, "--key", "ticket-1", "--actor-name", "amina", "--json", *more]


@pytest.fixture(params=variations(["stripe", "satim"], ["stripe"]))
def school(request: pytest.FixtureRequest, database_url: str, rabbitmq_url: str, url: str, tmp_path: Path) -> School:
    return School(Database(database_url), rabbitmq_url, url, tmp_path, request.param)


def test_a_refund_is_begun_once_and_booked_when_the_provider_says_so(school: School) -> None:
    with school.worker():
        # When the same refund is asked for several times at once
        with ThreadPoolExecutor(3) as threads:
            answers = list(threads.map(lambda _: school.refund_in_a_process(), range(3)))

        # Then it is one, at the provider and in the books, and the audit knows who and why
        assert sorted(one["is_new"] for one in answers) == [False, False, True]
        assert {one["state"] for one in answers} == {"accepted"}
        wait_until(lambda: school.balance() == AMOUNT_MINOR - 50_000)
        assert school.refunded() == 50_000
        acts = school.database.rows("SELECT who, what, why FROM operator_acts")
        assert acts == [("amina", "payment.refund", "one lesson less")]

        # And more than is left is refused at once
        assert "can be refunded" in school.refund("--key", "ticket-2", amount="2000.01", status=1)
        assert "is no amount" in school.refund("--key", "ticket-2", amount="1,0", status=2)


@pytest.mark.parametrize(
    "place",
    ["refunds.after_answer", pytest.param("refunds.after_note", marks=pytest.mark.slow),
     pytest.param("refunds.after_keep", marks=pytest.mark.slow)],
)  # fmt: skip
def test_a_worker_that_is_killed_leaves_one_refund_to_the_next(school: School, place: str) -> None:
    # Given a worker that is killed before, after, or long after the provider has refunded
    assert school.refund("--wait", "0")["state"] == "requested"
    with school.worker(NOUBA_FAILPOINTS=f"{place}=kill") as killed:
        assert killed.process.wait(30) != 0

    # When the lease has run out, and another worker runs
    school.database.execute("UPDATE refund_requests SET next_attempt_at = now()")
    with school.worker():
        wait_until(lambda: school.database.rows("SELECT state FROM refund_requests") == [("accepted",)])
        wait_until(lambda: school.balance() == AMOUNT_MINOR - 50_000)

    # Then there is one refund at the provider, and one in the books
    assert school.refunded() == 50_000
    kinds = school.database.rows("SELECT kind FROM ledger_transactions ORDER BY id")
    assert kinds == [("payment",), ("refund",)]
