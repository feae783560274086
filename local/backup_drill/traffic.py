"""Webhooks of a provider that keeps on paying, and remembers what it has sent, when, and with which answer."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from local.psp.bodies import digest
from local.psp.signed_webhooks import Delivery, Payment, signed

AMOUNT_MINOR = 10_000
_EVERY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Sent:
    """One webhook: when it was answered, with what, and whether it was kept in the spool."""

    delivery: Delivery
    user_id: int
    answered_at: datetime
    status: int
    is_spooled: bool


class Traffic:
    """Sends about twenty webhooks a second from a thread until it is stopped."""

    def __init__(self, environment: Mapping[str, str], users: list[int]) -> None:
        self._secret = environment["NOUBA_PSP_GENERIC_SECRETS"]
        self._header = environment["NOUBA_PSP_GENERIC_HEADER"]
        self._client = httpx.Client(base_url=environment["GATEWAY_URL"], timeout=15)
        self._users = users
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self.sent: list[Sent] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)

    def send_again(self, since: datetime) -> tuple[int, int]:
        """Redeliver what was answered since then: how many were accepted now, and how many were known."""
        accepted = known = 0
        for one in [one for one in self.sent if one.answered_at >= since]:
            answer = self._post(one.delivery)
            accepted += answer.json()["status"] == "accepted"
            known += answer.json()["status"] == "duplicate"
        return accepted, known

    def paid_minor(self, user_id: int) -> int:
        """What this user has paid, by the provider's own books."""
        return AMOUNT_MINOR * sum(one.user_id == user_id for one in self.sent)

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_SECONDS):
            number = len(self.sent)
            user_id = self._users[number % len(self._users)]
            reference = digest("drill", str(number))
            payment = Payment(reference=reference, amount_minor=AMOUNT_MINOR, user_id=user_id)
            delivery = signed("generic", [self._secret], payment, header=self._header)
            answer = self._post(delivery)
            is_spooled = answer.status_code == httpx.codes.OK and answer.json()["event_id"] is None
            self.sent.append(Sent(delivery, user_id, datetime.now(UTC), answer.status_code, is_spooled))

    def _post(self, delivery: Delivery) -> httpx.Response:
        return self._client.request(
            delivery.method, delivery.path, headers=dict(delivery.headers), content=delivery.body
        )
