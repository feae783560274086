"""What the providers will send, chosen by a seed before anything runs: payments, events, copies and forgeries."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Final
from urllib.parse import urlencode

from local.psp.bodies import BODIES, Payment, digest
from local.psp.signed_webhooks import checksum, sign

DUPLICATED, OUT_OF_ORDER, TAMPERED = 0.30, 0.20, 0.05
#: How far, in events, a copy follows its original, and an event that is out of order strays from its place.
FARTHEST_COPY, FARTHEST_STRAY = 400, 60

SECRETS: Final = {
    "chargily": "test_sk_chaos",
    "standard_webhooks": "whsec_Y2hhb3MtYW5kLWl0cy1zZWNyZXRz",
    "stripe": "whsec_chaos",
    "generic": "generic-chaos",
    "satim": "checksum-key-of-the-bank",
}
#: How often a payment is each provider's; CIB is the card whose payments run over SATIM.
_SHARES: Final = {"generic": 28, "chargily": 22, "standard_webhooks": 20, "stripe": 20, "satim": 6, "cib": 4}
#: The lives that a payment can have, in the words of `local.psp.bodies.WORDS`; `part` is a refund of a part, and
#: `part_failed` the end of one that failed. Disputes are about a half or all, captures of a hold about two thirds.
_LIVES: Final[Mapping[str, Sequence[tuple[str, ...]]]] = {
    "chargily": (("paid",), ("paid",), ("failed", "paid"), ("failed",), ("canceled",), ("expired",)),
    "satim": (("paid",), ("paid",), ("failed",)),
    "cib": (("paid",), ("failed",)),
    "standard_webhooks": (
        ("pending", "paid"), ("paid",), ("pending", "failed", "paid"), ("pending", "canceled"), ("paid", "part"),
        ("pending", "paid", "refunded"), ("pending", "failed"),
    ),
    "stripe": (
        ("pending", "paid"), ("authorized", "paid"), ("failed", "paid"), ("pending", "canceled"), ("paid", "refunded"),
        ("paid", "part"), ("paid", "disputed", "won"), ("paid", "disputed", "lost"), ("paid", "disputed"),
        ("authorized", "captured"), ("captured", "part"), ("paid", "refunded", "refund_failed"),
        ("paid", "part", "part_failed"), ("paid", "part_failed"), ("invoiced", "invoice_payment"),
        ("charge_failed", "charged"), ("charged", "refunded", "refund_reverted"), ("charged", "refund_created"),
        ("charged", "refund_created", "refund_failed"), ("paid", "disputed", "won", "disputed_again"),
        ("charged", "inquired"), ("session_pending", "session_paid", "paid"), ("session_pending", "session_failed"),
        ("session_completed", "captured", "part"),
    ),
    "generic": (
        ("pending", "paid"), ("paid",), ("paid",), ("pending", "failed", "paid"), ("pending", "canceled"),
        ("paid", "part"), ("paid", "refunded"), ("pending", "failed"),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Life:
    """One payment: who reports it, what all is reported, and when it was paid by the provider's clock."""

    route: str
    payment: Payment
    reported: tuple[str, ...]
    at: datetime

    @property
    def provider(self) -> str:
        """Its name in the tables."""
        return "satim" if self.route == "cib" else self.route

    @property
    def words(self) -> frozenset[str]:
        """What its events say."""
        return frozenset(self.reported)


@dataclass(frozen=True, slots=True)
class News:
    """One event. `body` is what is sent, `genuine` what was signed: the two differ where somebody tampered with it."""

    route: str
    event_id: str
    body: bytes
    genuine: bytes

    @property
    def is_genuine(self) -> bool:
        return self.body is self.genuine

    def request(self, host: str, at: datetime) -> bytes:
        """The HTTP request, signed now as a provider signs each attempt."""
        if self.route in ("satim", "cib"):
            return f"GET /webhooks/{self.route}?{self.body.decode()} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        proof = sign(self.route, SECRETS[self.route], self.genuine, at, self.event_id)
        head = "".join(f"{name}: {value}\r\n" for name, value in proof.items())
        first = f"POST /webhooks/{self.route} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        return f"{first}Content-Length: {len(self.body)}\r\n{head}\r\n".encode() + self.body


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will be sent, in this order; and the school that it is about."""

    seed: int
    lives: list[Life]
    parcels: list[News]
    users: int
    #: The subscriptions that wait for payment: (user id, price), oldest first.
    subscriptions: list[tuple[int, int]]
    #: The day on which the plan was made, in the school's zone; payments were made on it and on the two days before.
    today: datetime

    @property
    def genuine(self) -> list[News]:
        """Each event once."""
        return list({id(news): news for news in self.parcels if news.is_genuine}.values())


def plan(seed: int, events: int, now: datetime) -> Plan:
    """About `events` events, the same for the same seed and day."""
    dice = random.Random(f"news {seed}")
    users = max(20, events // 60)
    noon = datetime.combine(now.date(), time(12), UTC)
    lives: list[Life] = []
    reported = 0
    while reported < events:
        lives.append(life := _life(dice, len(lives), users, noon))
        reported += len(life.reported)
    # Which subscriptions run depends on when each payment was made, and some providers report no time: so those of one
    # user have one price, and it is the oldest so many that run.
    prices = [100 * dice.randint(200, 4000) for _ in range(users)]
    buyers = [dice.randint(1, users) for _ in range(users * 3)]
    subscriptions = [(user_id, prices[user_id - 1]) for user_id in buyers]
    return Plan(seed, lives, _mailbag(dice, lives), users, subscriptions, noon)


def _life(dice: random.Random, number: int, users: int, noon: datetime) -> Life:
    route = dice.choices(list(_SHARES), weights=list(_SHARES.values()))[0]
    payment = Payment(
        # SATIM's order numbers have ten characters, and the simulated bank makes its own names of them
        reference=digest("order", f"C{number:09}")[:20] if route in ("satim", "cib") else f"pi_{number:09}",
        amount_minor=100 * dice.randint(100, 5000),
        user_id=None if route in ("satim", "cib") else dice.randint(1, users),
        order_number=f"C{number:09}" if route in ("satim", "cib") else None,
    )
    reported = dice.choice(_LIVES[route])
    payment = replace(
        payment,
        captured_minor=payment.amount_minor * 2 // 3 if "captured" in reported else 0,
        disputed_minor=payment.amount_minor // 2 if "disputed" in reported and dice.random() < 0.5 else 0,
    )
    # a third of the payments was paid on one of the two days before, which changes their statistics
    ago = dice.choice((0, 0, 0, 0, 1, 2))
    return Life(route, payment, reported, noon - timedelta(days=ago))


def _mailbag(dice: random.Random, lives: Sequence[Life]) -> list[News]:
    """Each event about where it belongs, with its copies behind it and the forgeries among them."""
    placed: list[tuple[float, News]] = []
    place = 0.0
    for life in lives:
        for news in _events(life):
            place += 1
            at = place + (dice.uniform(-FARTHEST_STRAY, FARTHEST_STRAY) if dice.random() < OUT_OF_ORDER else 0)
            placed.append((at, news))
            if dice.random() < DUPLICATED:
                # half of the copies come at the same moment as the original
                placed.append((at + dice.choice((0.0, dice.uniform(0, FARTHEST_COPY))), news))
            if dice.random() < TAMPERED:
                placed.append((at + dice.uniform(0, FARTHEST_COPY), _forged(dice, news)))
    return [news for _, news in sorted(placed, key=lambda one: one[0])]


def _events(life: Life) -> Iterator[News]:
    for what in life.reported:
        payment = life.payment
        word = what
        if what in ("part", "part_failed"):
            payment, word = partly_refunded(payment), "refunded" if what == "part" else "refund_failed"
        event_id = f"evt_{digest(payment.reference, what)}"
        if life.route in ("satim", "cib"):
            body = _callback(payment, word)
        else:
            body = json.dumps(BODIES[life.route](payment, word, event_id, life.at)).encode()
        yield News(life.route, event_id, body, body)


def partly_refunded(payment: Payment) -> Payment:
    """The same payment, of which a quarter was given back."""
    return replace(payment, refunded_minor=payment.amount_minor // 4)


def _callback(payment: Payment, word: str) -> bytes:
    parameters = {"mdOrder": payment.reference, "operation": "deposited", "status": "1" if word == "paid" else "0"}
    # in the order of the alphabet: of a callback the gateway keeps what is signed, in that one spelling
    return urlencode(sorted({**parameters, "checksum": checksum(SECRETS["satim"], parameters)}.items())).encode()


def _forged(dice: random.Random, news: News) -> News:
    """One bit of the body, or the last digit of a bank's callback, is another."""
    changed = bytearray(news.body)
    if news.route in ("satim", "cib"):
        changed[-1] = ord("0" if changed[-1] != ord("0") else "1")
    else:
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(7)
    return News(news.route, news.event_id, bytes(changed), news.genuine)
