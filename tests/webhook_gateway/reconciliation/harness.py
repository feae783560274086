"""A school whose payers pay at the simulated providers, and the reconciliation that asks these over HTTP."""

import json
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

import httpx
from sqlalchemy import Engine, text

from local.psp.satim_client import SatimClient
from local.psp.server import REST
from local.psp.signed_webhooks import Delivery, Payment, signed
from services.webhook_gateway.inbox.accept import accept
from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.providers.base import ConfirmsPayments, Mode, PollsPayments, Provider, Request
from services.webhook_gateway.providers.chargily.webhooks import Chargily
from services.webhook_gateway.providers.circuit_breaker import Breaker
from services.webhook_gateway.providers.satim.webhooks import Satim
from services.webhook_gateway.providers.stripe import PollingStripe
from services.webhook_gateway.reconciliation.postgres_schedule import FOLLOWED, PostgresPollSchedule
from services.webhook_gateway.reconciliation.reconcile import Outcome, Reconciliation
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.settlement.postgres import open_store, read_events
from services.webhook_gateway.settlement.settle import Settlement
from tests.webhook_gateway.fakes import NoRateLimit

#: What the simulator wants to see.
KEY: Final = "test_sk_reconciling_tests"
STRIPE_KEY: Final = "sk_test_reconciling_tests"
STRIPE_SECRET: Final = "whsec_reconciling_tests"
MERCHANT: Final[dict[str, Any]] = {"username": "merchant", "password": "merchant-password"}
AMOUNT_MINOR: Final = 250_000


@dataclass
class Tallied:
    """Remembers what was counted."""

    outcomes: list[Outcome] = field(default_factory=list)
    ended: int = 0
    given_up: int = 0

    def count(self, provider: str, outcome: Outcome, *, has_ended: bool, is_given_up: bool) -> None:
        self.outcomes.append(outcome)
        self.ended += has_ended
        self.given_up += is_given_up


class Bench:
    """One database and one simulator; nothing runs but what a test starts."""

    def __init__(self, engine: Engine, simulator_url: str, chargily_keys: tuple[str, ...] = (KEY,)) -> None:
        self.engine = engine
        self.simulator_url = simulator_url
        self.providers: dict[str, Provider] = {
            "chargily": Chargily(chargily_keys, simulator_url),
            "satim": Satim(**MERCHANT, base_url=simulator_url + REST),
            "stripe": PollingStripe([STRIPE_SECRET], lambda: datetime.now(UTC), None, STRIPE_KEY, simulator_url),
        }
        self.orders = SatimClient(simulator_url + REST, **MERCHANT)
        self.tallied = Tallied()
        self._committing = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.inbox = PostgresInbox(self._committing)
        self.schedule = PostgresPollSchedule(self._committing)
        self.settlement = Settlement(
            read=lambda number: read_events(self._committing, [number])[0],
            books=partial(open_store, self._committing, timedelta(days=30)),
            providers=self.providers,
            asks={name: psp for name, psp in self.providers.items() if isinstance(psp, ConfirmsPayments)},
            terms=WalletPolicy("DZD", ZoneInfo("Africa/Algiers"), now=lambda: datetime.now(UTC)),
            payments_mode=Mode.TEST,
        )

    def reconciliation(self, provider: str, breaker: Breaker | None = None) -> Reconciliation:
        psp = self.providers[provider]
        assert isinstance(psp, PollsPayments)
        return Reconciliation(
            psp=psp,
            breaker=breaker or Breaker(provider),
            schedule=self.schedule,
            inbox=self.inbox,
            tally=self.tallied,
            now=lambda: datetime.now(UTC),
            wake=lambda: None,
            payments_mode=Mode.TEST,
            follows_up=provider in FOLLOWED,
        )

    def begin(self, provider: str, *, amount_minor: int = AMOUNT_MINOR, **row: Any) -> "Begun":
        """A payer is sent to the provider, and the school has registered it; the first question is due."""
        user_id = self.scalar("INSERT INTO users DEFAULT VALUES RETURNING id")
        reference = row.pop("reference", None) or self._begin_there(provider, amount_minor, user_id)
        values = {"provider": provider, "reference": reference, "user_id": user_id, "amount": amount_minor, **row}
        payment_id = self.scalar(
            "INSERT INTO payments (provider, provider_reference, user_id, amount_minor, next_ask_at) "
            "VALUES (:provider, :reference, :user_id, :amount, now()) RETURNING id",
            **values,
        )
        return Begun(self, provider, payment_id, reference, user_id, amount_minor)

    def ask(self, provider: str) -> Outcome | None:
        return self.reconciliation(provider).ask_next()

    def settle_all(self) -> None:
        """Settle every event that is not final, as the worker would."""
        for (event_id,) in self.rows("SELECT id FROM webhook_events WHERE state = 'received' ORDER BY id"):
            self.settlement.settle(event_id)

    def be_wrong(self, provider: str, kind: str, **how: float) -> None:
        """Let the provider's API answer wrongly from now on."""
        httpx.post(f"{self.simulator_url}/simulator/faults/{provider}/{kind}", params=how).raise_for_status()

    def be_right(self) -> None:
        httpx.delete(f"{self.simulator_url}/simulator/faults").raise_for_status()

    def asked(self, provider: str) -> int:
        """How often the provider was called."""
        return int(httpx.get(f"{self.simulator_url}/simulator/asked").json().get(provider, 0))

    def make_due(self) -> None:
        """Time passes until every unfinished payment is asked about again."""
        self.execute("UPDATE payments SET next_ask_at = now() WHERE next_ask_at IS NOT NULL")

    def states(self) -> Counter[str]:
        return Counter(state for (state,) in self.rows("SELECT state FROM webhook_events"))

    def rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def execute(self, statement: str, **values: object) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def scalar(self, query: str, **values: object) -> Any:
        with self.engine.begin() as connection:
            return connection.scalar(text(query), values)

    def assert_books_balance(self) -> None:
        """Entries sum to zero, and every balance is the sum of its wallet's entries."""
        assert not self.scalar("SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries")
        drifted = """
            SELECT count(*) FROM users WHERE balance_minor <> (
                SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries
                JOIN ledger_accounts ON ledger_accounts.id = account_id WHERE user_id = users.id)
        """
        assert self.scalar(drifted) == 0

    def _begin_there(self, provider: str, amount_minor: int, user_id: int) -> str:
        if provider == "stripe":
            payment = {"id": f"pi_{uuid.uuid4().hex}", "amount": amount_minor, "currency": "dzd"}
            made = httpx.post(f"{self.simulator_url}/simulator/stripe/payments", json=payment).raise_for_status().json()
            return str(made["id"])
        if provider == "satim":
            return self.orders.open(uuid.uuid4().hex[:10].upper(), amount_minor)
        key = {"Authorization": f"Bearer {KEY}"}
        checkout = {"amount": amount_minor // 100, "currency": "dzd", "metadata": {"user_id": user_id}}
        made = httpx.post(f"{self.simulator_url}/test/api/v2/checkouts", headers=key, json=checkout)
        return str(made.raise_for_status().json()["id"])


@dataclass(frozen=True)
class Begun:
    """One payment that has begun."""

    bench: Bench
    provider: str
    payment_id: int
    reference: str
    user_id: int
    amount_minor: int
    _deliveries: dict[str, Delivery] = field(default_factory=dict)

    def end(self, what: str = "paid") -> None:
        """The payer ends it at the provider; no webhook is sent."""
        if self.provider == "stripe":
            act = {"paid": "pay", "canceled": "cancel"}.get(what, what)
            self.at_stripe(f"payments/{self.reference}/{act}")
        elif self.provider == "satim":
            self.bench.orders.end(self.reference, what)
        else:
            url = f"{self.bench.simulator_url}/simulator/checkouts/{self.reference}/{what}"
            httpx.post(url).raise_for_status()

    def at_stripe(self, path: str) -> dict[str, Any]:
        """Something happens at the simulated Stripe; what it is about afterwards."""
        answer = httpx.post(f"{self.bench.simulator_url}/simulator/stripe/{path}").raise_for_status()
        reported: dict[str, Any] = answer.json()
        return reported

    def report(self, what: str = "paid") -> None:
        """The provider's webhook, or the payer's return, arrives and is kept."""
        payment = Payment(reference=self.reference, amount_minor=self.amount_minor, user_id=self.user_id)
        secrets = {"chargily": [KEY], "stripe": [STRIPE_SECRET]}.get(self.provider, [])
        # a provider repeats the same bytes: made anew a second later, they would be another body of the same id
        if what not in self._deliveries:
            self._deliveries[what] = signed(self.provider, secrets, payment, what)
        delivery = self._deliveries[what]
        body = delivery.body or delivery.path.partition("?")[2].encode()
        headers = {name.lower(): value for name, value in delivery.headers.items()}
        request = Request(delivery.method, headers, body)
        accept(
            self.bench.providers[self.provider],
            request,
            self.bench.inbox,
            lambda: None,
            NoRateLimit(),
            payments_mode=Mode.TEST,
        )

    @property
    def status(self) -> str:
        return str(self.bench.scalar("SELECT status FROM payments WHERE id = :id", id=self.payment_id))

    @property
    def next_ask_at(self) -> datetime | None:
        found: datetime | None = self.bench.scalar(
            "SELECT next_ask_at FROM payments WHERE id = :id", id=self.payment_id
        )
        return found

    def assert_credited_once(self) -> None:
        assert self.status == "completed"
        assert self.bench.scalar("SELECT balance_minor FROM users WHERE id = :id", id=self.user_id) == self.amount_minor
        postings = "SELECT count(*) FROM ledger_transactions WHERE payment_id = :id"
        assert self.bench.scalar(postings, id=self.payment_id) == 1
        self.bench.assert_books_balance()

    def assert_not_credited(self) -> None:
        assert self.bench.scalar("SELECT balance_minor FROM users WHERE id = :id", id=self.user_id) == 0
        assert self.bench.scalar("SELECT count(*) FROM ledger_entries") == 0

    def kept(self) -> list[tuple[str, str, Any]]:
        """(key, state, the answer) of what was kept by asking about it."""
        query = "SELECT dedupe_key, state, body FROM webhook_events WHERE method = 'ANSWER' ORDER BY id"
        return [(key, state, json.loads(bytes(body))) for key, state, body in self.bench.rows(query)]
