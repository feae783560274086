"""Signed webhooks at a steady rate, sent again until they are answered 200, and what became of each."""

import heapq
import http.client
import itertools
import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench.measures import percentile
from local.psp.signed_webhooks import Delivery, Payment, signed
from tests.e2e.cluster.cluster import Cluster
from tests.waiting import wait_until

USERS = 50
SENDERS = 64
#: Every so many is sent twice, as providers do.
TWICE_EVERY = 20
#: Longer than any answer of the gateway takes.
ANSWER_SECONDS = 20
AGAIN_SECONDS = 1.0

_ADD_USERS = f"INSERT INTO users (name) SELECT 'Student' FROM generate_series(1, {USERS}) RETURNING id"  # noqa: S608
# by payment: what it was, how often and with how much it was booked, when it came and when it was booked
_BOOKED = """
    SELECT p.provider_reference, count(DISTINCT t.id), coalesce(sum(e.amount_minor), 0),
        extract(epoch FROM min(v.received_at)), extract(epoch FROM min(t.created_at))
    FROM payments p
    JOIN webhook_events v ON v.payment_id = p.id
    LEFT JOIN ledger_transactions t ON t.payment_id = p.id AND t.kind = 'payment'
    LEFT JOIN ledger_entries e ON e.transaction_id = t.id
        AND e.account_id IN (SELECT id FROM ledger_accounts WHERE kind = 'user_wallet')
    WHERE p.provider_reference LIKE 'cluster-{run}-%' GROUP BY 1
"""
_OPEN = "SELECT count(*) FROM webhook_events WHERE state = 'received'"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was not answered 200."""

    at: float
    why: str


@dataclass(frozen=True, slots=True)
class Booked:
    """A payment that is in the database."""

    times: int
    amount_minor: int
    received_at: float
    booked_at: float | None


@dataclass(slots=True)
class Sent:
    """What was sent so far, and how it was answered."""

    accepted: dict[int, float] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    #: When each answer was due, and how long it took from then.
    latencies: list[tuple[float, float]] = field(default_factory=list)


class Payments:
    """Pays while it is entered."""

    def __init__(self, cluster: Cluster, rate: float) -> None:
        self.sent = Sent()
        self.rate = rate
        self._cluster = cluster
        self._run = uuid.uuid4().hex[:8]
        self._secret = cluster.secret("gateway", "NOUBA_PSP_GENERIC_SECRETS")
        self._users = [int(line) for line in cluster.sql("nouba", _ADD_USERS).stdout.split()]
        self._address = urlsplit(cluster.gateway_url)
        self._due: queue.SimpleQueue[tuple[int, float] | None] = queue.SimpleQueue()
        self._again: list[tuple[float, int]] = []
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._numbers = itertools.count()
        self._senders = [threading.Thread(target=self._send_all, name="sender", daemon=True) for _ in range(SENDERS)]
        self._clock = threading.Thread(target=self._tick, name="clock", daemon=True)

    def __enter__(self) -> "Payments":
        for thread in (*self._senders, self._clock):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send what is due again, then no more."""
        self._stopping.set()
        for thread in (self._clock, *self._senders):
            thread.join()

    def amount_minor(self, number: int) -> int:
        return 100 + number % 7

    def await_flow(self, timeout_seconds: float) -> None:
        """Wait until nothing is left behind: every event but those of the last moments is settled."""

        def is_settled() -> bool:
            time.sleep(0.5)
            found = self._cluster.sql("nouba", _OPEN)
            return found.returncode == 0 and int(found.stdout) <= max(20, 3 * self.rate)

        wait_until(is_settled, timeout_seconds, "webhooks are left unsettled")

    def await_settled(self, timeout_seconds: float) -> None:
        """Wait until every event is settled; after `stop`."""

        def is_settled() -> bool:
            time.sleep(0.5)
            found = self._cluster.sql("nouba", _OPEN)
            if found.returncode != 0 or int(found.stdout):
                return False
            return len(self.booked()) >= len(self.sent.accepted)

        wait_until(is_settled, timeout_seconds, "webhooks are left unsettled")

    def booked(self) -> dict[int, Booked]:
        """By number, all payments that are in the database."""
        rows = self._cluster.sql("nouba", _BOOKED.format(run=self._run)).stdout.splitlines()
        found = {}
        for reference, times, amount, received_at, booked_at in (row.split("|") for row in rows):
            number = int(reference.rpartition("-")[2])
            found[number] = Booked(int(times), int(amount), float(received_at), float(booked_at) if booked_at else None)
        return found

    def answers_between(self, begin: float, end: float) -> tuple[Counter[str], float]:
        """How the requests of that time were refused, and the 99th percentile of the answers in milliseconds."""
        refused = Counter(one.why for one in list(self.sent.refusals) if begin <= one.at < end)
        took = [seconds * 1000 for due, seconds in list(self.sent.latencies) if begin <= due < end]
        return refused, percentile(took, 0.99) if took else 0.0

    def _tick(self) -> None:
        began, count = time.time(), 0
        while not self._stopping.is_set() or self._again:
            now = time.time()
            while not self._stopping.is_set() and began + count / self.rate <= now:
                due, number = began + count / self.rate, next(self._numbers)
                for _ in range(2 if number % TWICE_EVERY == 0 else 1):
                    self._due.put((number, due))
                count += 1
            with self._guard:
                while self._again and self._again[0][0] <= now:
                    due, number = heapq.heappop(self._again)
                    self._due.put((number, due))
            time.sleep(0.005)
        for _ in self._senders:
            self._due.put(None)

    def _send_all(self) -> None:
        connection = self._connection()
        while (one := self._due.get()) is not None:
            number, due = one
            try:
                why = self._send(connection, self._delivery(number))
            except (OSError, http.client.HTTPException) as error:
                why = type(error).__name__
                connection.close()
                connection = self._connection()
            if why:
                self.sent.refusals.append(Refusal(time.time(), why))
                with self._guard:
                    heapq.heappush(self._again, (time.time() + AGAIN_SECONDS, number))
            else:
                self.sent.accepted.setdefault(number, time.time())
                self.sent.latencies.append((due, time.time() - due))
        connection.close()

    def _send(self, connection: http.client.HTTPConnection, delivery: Delivery) -> str:
        """Why it was refused; empty where it was not."""
        connection.request(delivery.method, delivery.path, delivery.body, dict(delivery.headers))
        answer = connection.getresponse()
        answer.read()
        return "" if answer.status == http.client.OK else str(answer.status)

    def _delivery(self, number: int) -> Delivery:
        payment = Payment(
            reference=f"cluster-{self._run}-{number:07}",
            amount_minor=self.amount_minor(number),
            user_id=self._users[number % USERS],
        )
        return signed("generic", [self._secret], payment)

    def _connection(self) -> http.client.HTTPConnection:
        assert self._address.hostname is not None
        return http.client.HTTPConnection(self._address.hostname, self._address.port, timeout=ANSWER_SECONDS)


def longest_silence(moments: Sequence[float], begin: float, end: float) -> tuple[float, float]:
    """The longest time between `begin` and `end` without any of `moments`: when it began, and when it ended."""
    within = sorted(moment for moment in moments if begin <= moment <= end)
    return max(itertools.pairwise([begin, *within, end]), key=lambda pair: pair[1] - pair[0])
