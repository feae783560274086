"""A steady small load of signed payments, each sent again until it is taken, and what has to come of them."""

import threading
import time
import uuid
from collections import Counter

import httpx

from local.psp.signed_webhooks import Delivery, Payment, signed
from tests.e2e.compose.containers import Containers
from tests.waiting import wait_until

PER_SECOND = 4
STUDENTS = 5
#: Every so many is sent twice, as providers do.
TWICE_EVERY = 5
RETRY_SECONDS = 0.5
#: How long a payment may be refused before it counts as lost.
TAKEN_WITHIN_SECONDS = 90

_STUDENTS = f"INSERT INTO users (name) SELECT 'Student' FROM generate_series(1, {STUDENTS}) RETURNING id"  # noqa: S608
# what was taken later than the last is not counted
_BOOKED = """
    SELECT a.user_id, sum(e.amount_minor) FROM payments p
    JOIN ledger_transactions t ON t.payment_id = p.id
    JOIN ledger_entries e ON e.transaction_id = t.id
    JOIN ledger_accounts a ON a.id = e.account_id
    WHERE p.provider_reference BETWEEN 'load-{run}-' AND '{last}' AND a.kind = 'user_wallet' GROUP BY 1
"""


class Traffic:
    """Pays while it is entered; `await_booked` says whether every payment so far was booked, and once."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._run = uuid.uuid4().hex[:8]
        self._secret = containers.secret("gateway", "NOUBA_PSP_GENERIC_SECRETS")
        made = containers.sql("nouba_school", _STUDENTS)
        self._students = [int(line) for line in made.stdout.split()]
        self._client = httpx.Client(base_url=containers.gateway_url, timeout=3)
        self._taken: list[Payment] = []
        self._fault: AssertionError | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._pay, name="traffic")

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def await_booked(self, timeout_seconds: float = 60) -> int:
        """How many payments were taken so far; raises AssertionError where one is not booked, or is twice."""
        taken = list(self._taken)
        last = f"load-{self._run}-{len(taken) - 1:06}"
        expected = Counter[int]()
        for payment in taken:
            assert payment.user_id is not None
            expected[payment.user_id] += payment.amount_minor

        def booked() -> Counter[int]:
            rows = self._containers.sql("nouba", _BOOKED.format(run=self._run, last=last)).stdout.splitlines()
            return Counter({int(user): int(total) for user, total in (row.split("|") for row in rows)})

        if self._fault:
            raise self._fault
        wait_until(lambda: booked() == expected, timeout_seconds, f"{len(taken)} payments were not booked once each")
        return len(taken)

    def _pay(self) -> None:
        while not self._stopping.is_set() and self._fault is None:
            number = len(self._taken)
            payment = Payment(
                reference=f"load-{self._run}-{number:06}",
                amount_minor=100 + number % 7,
                user_id=self._students[number % STUDENTS],
            )
            delivery = signed("generic", [self._secret], payment)
            for _ in range(2 if number % TWICE_EVERY == 0 else 1):
                self._report(delivery)
            self._taken.append(payment)
            self._stopping.wait(1 / PER_SECOND)

    def _report(self, delivery: Delivery) -> None:
        deadline = time.monotonic() + TAKEN_WITHIN_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = self._client.request(
                    delivery.method, delivery.path, headers=dict(delivery.headers), content=delivery.body
                )
            except httpx.TransportError:
                pass
            else:
                if answer.status_code == httpx.codes.OK:
                    return
                if answer.is_client_error:
                    self._fault = AssertionError(f"a genuine webhook was refused: {answer.status_code} {answer.text}")
                    return
            time.sleep(RETRY_SECONDS)
        self._fault = AssertionError(f"no webhook was taken for {TAKEN_WITHIN_SECONDS} s")
