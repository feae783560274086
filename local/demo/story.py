"""What happens in the demonstration: scenes that send something, and say what has to come of it."""

import random
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import httpx

from local.demo.school_database import School, Student
from local.psp.satim_client import SatimClient
from local.psp.signed_webhooks import Delivery, Payment, late, signed, tampered

#: How long a webhook may take from its answer to its end.
SETTLED_WITHIN_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Scene:
    """What was done, what the gateway answered, and what became of it."""

    done: str
    answer: str
    outcome: str
    student: Student
    as_expected: bool
    #: From the answer to the final state; None where nothing was kept.
    seconds: float | None


class Story:
    """Plays against the stack that `environment` describes (what `make env` prints)."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._client = httpx.Client(base_url=environment["GATEWAY_URL"], timeout=10)
        self._random = random.Random(7)
        self.school = School(environment["NOUBA_DATABASE_URL"])

    def scenes(self) -> Iterator[Scene]:
        """Play everything, one scene after the other."""
        yield from self._chargily()
        yield from self._others()
        yield from self._bank()
        yield from self._reversals()
        yield from self._attacks()

    def _chargily(self) -> Iterator[Scene]:
        student = self.school.enrol("student A", 150_000, 60_000)
        paid = self._payment("chargily", student, 250_000)
        delivery = self._signed("chargily", paid, "paid")
        yield self._play("Chargily: 2,500 DA paid", delivery, student, 40_000)
        yield self._play_fifty_times("the same webhook, 50 times at once", delivery, student, 40_000)
        yield self._play(
            "a late 'failed' for the same payment", self._signed("chargily", paid, "failed"), student, 40_000
        )

    def _others(self) -> Iterator[Scene]:
        student = self.school.enrol("student B", 90_000)
        stripe = self._payment("stripe", student, 100_000)
        yield self._play("Stripe: refunded, before it was paid", self._signed("stripe", stripe, "refunded"), student, 0)
        yield self._play("Stripe: paid", self._signed("stripe", stripe, "paid"), student, 0)
        standard = self._payment("standard_webhooks", student, 90_000)
        delivery = self._signed("standard_webhooks", standard, "paid")
        yield self._play("Standard Webhooks: 900 DA paid", delivery, student, 0)
        generic = self._payment("generic", student, 12_345)
        yield self._play("any HMAC sender: 123.45 DA paid", self._signed("generic", generic, "paid"), student, 12_345)

    def _bank(self) -> Iterator[Scene]:
        student = self.school.enrol("student C", 300_000)
        orders = SatimClient(
            self._environment["NOUBA_PSP_SATIM_BASE_URL"],
            username=self._environment["NOUBA_PSP_SATIM_USERNAME"],
            password=self._environment["NOUBA_PSP_SATIM_PASSWORD"],
            terminal=self._environment["NOUBA_PSP_SATIM_TERMINAL"],
        )
        number = f"N{self.school.run}".upper()
        order = orders.open(number, 300_000)
        self.school.check_out(student, "satim", order, number, 300_000)
        orders.end(order, "paid")
        payment = Payment(reference=order, order_number=number, amount_minor=300_000, user_id=student.id)
        delivery = signed("cib", (), payment, "paid")
        yield self._play("CIB (SATIM): the payer comes back; the bank is asked", delivery, student, 0)

    def _reversals(self) -> Iterator[Scene]:
        """What a provider takes back, and what it gives back after all."""
        student = self.school.enrol("student E", 60_000)
        payment = self._payment("stripe", student, 80_000)
        yield self._play("Stripe: 800 DA paid", self._signed("stripe", payment, "paid"), student, 20_000)
        refunded = self._signed("stripe", payment, "refunded")
        yield self._play("Stripe: all of it refunded; the subscription waits", refunded, student, 0)
        failed = self._signed("stripe", payment, "refund_failed")
        yield self._play("Stripe: the refund failed; the subscription runs again", failed, student, 20_000)
        part = replace(payment, disputed_minor=15_000)
        disputed = self._signed("stripe", part, "disputed")
        yield self._play("Stripe: 150 DA of it disputed", disputed, student, 5_000)
        yield self._play("Stripe: that dispute won", self._signed("stripe", part, "won"), student, 20_000)

    def _attacks(self) -> Iterator[Scene]:
        student = self.school.enrol("student D", 50_000)
        payment = self._payment("chargily", student, 900_000)
        genuine = self._signed("chargily", payment, "paid")
        yield self._play("one byte changed on the way", tampered(genuine, self._random), student, 0, status=401)
        stripe = self._payment("stripe", student, 900_000)
        old = late("stripe", self._secrets("stripe"), stripe, "paid")
        yield self._play("a Stripe webhook recorded last hour", old, student, 0, status=401)
        cheap = self._payment("generic", student, 50_000)
        self.school.check_out(student, "generic", cheap.reference, None, 5_000_000)
        delivery = self._signed("generic", cheap, "paid")
        yield self._play("500 DA paid for an order of 50,000 DA", delivery, student, 0)

    def _payment(self, provider: str, student: Student, amount_minor: int) -> Payment:
        reference = f"demo-{provider}-{self.school.run}-{amount_minor}"
        return Payment(reference=reference, amount_minor=amount_minor, user_id=student.id)

    def _secrets(self, provider: str) -> list[str]:
        return self._environment[f"NOUBA_PSP_{provider.upper()}_SECRETS"].split(",")

    def _signed(self, provider: str, payment: Payment, what: str) -> Delivery:
        header = self._environment["NOUBA_PSP_GENERIC_HEADER"]
        return signed(provider, self._secrets(provider), payment, what, header=header)

    def _send(self, delivery: Delivery) -> httpx.Response:
        return self._client.request(
            delivery.method, delivery.path, headers=dict(delivery.headers), content=delivery.body or None
        )

    def _play(self, done: str, delivery: Delivery, student: Student, balance_minor: int, status: int = 200) -> Scene:
        response = self._send(delivery)
        answered = time.monotonic()
        answer = f"{response.status_code} {response.json().get('status') or response.json().get('error')}"
        if response.status_code != 200:
            outcome, seconds = "nothing was kept", None
        else:
            outcome = self._settled(response.json()["event_id"])
            seconds = time.monotonic() - answered
        is_right = response.status_code == status and self.school.balance_minor(student) == balance_minor
        return Scene(done, answer, outcome, student, is_right, seconds)

    def _play_fifty_times(self, done: str, delivery: Delivery, student: Student, balance_minor: int) -> Scene:
        with ThreadPoolExecutor(16) as threads:
            answers = [response.json() for response in threads.map(self._send, [delivery] * 50)]
        duplicates = sum(answer.get("status") == "duplicate" for answer in answers)
        outcome = self._settled(answers[0]["event_id"])
        is_right = duplicates == 50 and self.school.balance_minor(student) == balance_minor
        return Scene(done, f"{duplicates} times 200 duplicate", outcome, student, is_right, None)

    def _settled(self, event_id: int) -> str:
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        while (event := self.school.event(event_id))[0] == "received" and time.monotonic() < deadline:
            time.sleep(0.005)
        return f"{event[0]}: {event[1]}" if event[1] else event[0]
