"""Sends a provider's events to a gateway as the internet would: repeated, shuffled, late and tampered with."""

import random
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import httpx

from local.psp import signed_webhooks
from local.psp.bodies import Payment, digest

HAPPY, DUPLICATE, TAMPERED, LATE = "happy", "duplicate", "tampered", "late"
#: A gateway may also stop listening to a sender of many forgeries.
_REFUSED = (401, 429)
#: 303 sends a payer's browser on to the shop.
_TAKEN = (200, 202, 303)
#: Providers that sign the time, so that a late event differs from a fresh one.
SIGN_THE_TIME = ("standard_webhooks", "stripe")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery, and what it is there to show."""

    delivery: signed_webhooks.Delivery
    scenario: str
    what: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back: `status` 0 and the error's name where nothing did."""

    parcel: Parcel
    status: int
    answer: str
    seconds: float

    @property
    def is_expected(self) -> bool:
        """Genuine news are taken, forgeries are refused."""
        return self.status in (_REFUSED if self.parcel.scenario in (TAMPERED, LATE) else _TAKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What to send. Shares are between 0 and 1 and count copies added to the genuine events."""

    provider: str
    secrets: Sequence[str]
    whats: Sequence[str] = ("paid",)
    duplicate: float = 0.0
    tamper: float = 0.0
    late: float = 0.0
    shuffle: bool = False
    header: str = "X-Signature"
    svix: bool = False
    contradict: str | None = None

    def parcels(self, payments: Iterable[Payment], source: random.Random, at: datetime) -> list[Parcel]:
        """Every delivery for `payments`, in the order of sending; the same source and time give the same list."""
        parcels: list[Parcel] = []
        for payment in payments:
            for turn, what in enumerate(self.whats):
                # each happened a second after the one before, and the last one now
                occurred_at = at - timedelta(seconds=len(self.whats) - 1 - turn)
                parcel = Parcel(self._signed(payment, what, at, occurred_at), HAPPY, what)
                parcels.append(parcel)
                if source.random() < self.duplicate:
                    parcels.append(replace(parcel, scenario=DUPLICATE))
                if source.random() < self.tamper:
                    parcels.append(Parcel(signed_webhooks.tampered(parcel.delivery, source), TAMPERED, what))
                if source.random() < self.late:
                    late = signed_webhooks.late(self.provider, self.secrets, payment, what, at=at, header=self.header)
                    parcels.append(Parcel(late, LATE, what))
        if self.shuffle:
            source.shuffle(parcels)
        return parcels

    def _signed(self, payment: Payment, what: str, at: datetime, occurred_at: datetime) -> signed_webhooks.Delivery:
        delivery = signed_webhooks.signed(
            self.provider,
            self.secrets,
            payment,
            what,
            at=at,
            occurred_at=occurred_at,
            header=self.header,
            contradict=self.contradict,
        )
        if not self.svix:
            return delivery
        headers = {name.replace("webhook-", "svix-"): value for name, value in delivery.headers.items()}
        return replace(delivery, headers=headers)


def payments(
    provider: str, *, count: int, amount_minor: int, users: Sequence[int], currency: str, seed: int
) -> list[Payment]:
    """`count` payments of the users in turn; the same seed gives the same references and order numbers."""
    prefix = "pi_" if provider == "stripe" else ""
    return [
        Payment(
            reference=prefix + digest(provider, str(seed), str(number)),
            amount_minor=amount_minor,
            user_id=users[number % len(users)] if users else None,
            order_number=digest("order number", provider, str(seed), str(number))[:10].upper(),
            currency=currency,
        )
        for number in range(count)
    ]


def send(gateway_url: str, parcels: Sequence[Parcel], *, concurrency: int = 4, rate: float = 0.0) -> Iterator[Outcome]:
    """Send the parcels, `rate` a second (0: as fast as it goes), and say what came back as soon as it did."""
    limits = httpx.Limits(max_connections=concurrency)
    with (
        httpx.Client(base_url=gateway_url, timeout=30, limits=limits) as client,
        ThreadPoolExecutor(concurrency) as pool,
    ):
        started = time.monotonic()
        # map keeps the order of sending, whatever the order of the answers
        yield from pool.map(lambda numbered: _send_one(client, started, rate, *numbered), enumerate(parcels))


def answers(outcomes: Iterable[Outcome]) -> list[tuple[tuple[str, str, int, str, bool], int]]:
    """How often each (scenario, word, HTTP status, answer, as it should) came."""
    return sorted(
        Counter(
            (one.parcel.scenario, one.parcel.what, one.status, one.answer, one.is_expected) for one in outcomes
        ).items()
    )


def latency_ms(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """How long answers took; one alone has no distribution."""
    if len(outcomes) < 2:
        return {}
    quantiles = statistics.quantiles([one.seconds * 1000 for one in outcomes], n=100, method="inclusive")
    return {name: round(quantiles[at], 1) for name, at in (("p50", 49), ("p95", 94), ("p99", 98))}


def summary(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """All of it for a program to read."""
    names = ("scenario", "what", "status", "answer", "expected")
    return {
        "sent": len(outcomes),
        "unexpected": sum(not outcome.is_expected for outcome in outcomes),
        "answers": [dict(zip((*names, "count"), (*answer, count), strict=True)) for answer, count in answers(outcomes)],
        "latency_ms": latency_ms(outcomes),
    }


def now() -> datetime:
    """The time to sign with, in whole seconds, as providers write it."""
    return datetime.now(UTC).replace(microsecond=0)


def _send_one(client: httpx.Client, started: float, rate: float, number: int, parcel: Parcel) -> Outcome:
    if rate:
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
    delivery = parcel.delivery
    asked = time.monotonic()
    try:
        response = client.request(
            delivery.method, delivery.path, headers=dict(delivery.headers), content=delivery.body or None
        )
    except httpx.HTTPError as error:
        return Outcome(parcel, 0, type(error).__name__, time.monotonic() - asked)
    return Outcome(parcel, response.status_code, _answer(response), time.monotonic() - asked)


def _answer(response: httpx.Response) -> str:
    if response.is_redirect:
        return "redirect"
    try:
        answer = response.json()
    except ValueError:
        return response.reason_phrase
    status = answer.get("status") if isinstance(answer, dict) else None
    return status if isinstance(status, str) else response.reason_phrase
