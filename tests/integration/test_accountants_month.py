"""A month of payments at several providers: what the ledger expects of each provider is what it pays out."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from psycopg2.extras import execute_values
from sqlalchemy import Engine, text

from services.webhook_gateway.integrity.invariant_checker import InvariantChecker
from services.webhook_gateway.payments.model import Event
from services.webhook_gateway.providers.base import Mode, Provider, Request
from services.webhook_gateway.providers.chargily.webhooks import Chargily
from services.webhook_gateway.providers.generic import Generic
from services.webhook_gateway.providers.standard_webhooks import StandardWebhooks
from services.webhook_gateway.providers.stripe import Stripe
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.settlement.postgres import open_store, read_events
from services.webhook_gateway.settlement.settle import Settlement
from shared.runtime.database import build_engine

#: Of each user.
PAYMENTS: Final = 5
BATCH: Final = 100
MONTH: Final = datetime(2026, 3, 1, tzinfo=UTC)
PROVIDERS: Final[dict[str, Provider]] = {
    "chargily": Chargily(["live_sk_x"]),
    "generic": Generic(["x"]),
    "standard_webhooks": StandardWebhooks(["whsec_eA=="]),
    "stripe": Stripe(["whsec_x"]),
}
Json = dict[str, Any]
#: What a month of Stripe's has to hold, each at least once in a hundred payments.
KINDS: Final = {
    "captured of less", "charge.refunded", "charge.updated", "charge.dispute.created", "charge.dispute.closed lost",
    "charge.dispute.closed won", "checkout.session.completed", "inquiry", "invoice.paid", "invoice_payment.paid",
    "payment_intent.payment_failed", "refund.failed", "charge.refund.updated", "second dispute", "second refund",
    "the fee of a charge", "the fee of a dispute",
}  # fmt: skip


@dataclass
class Month:
    """The providers' own bookkeeping: every movement of their balances, and what they reported of it."""

    dice: random.Random
    users: int
    #: provider to what it pays out
    payouts: Counter[str] = field(default_factory=Counter)
    #: provider to what it charged
    fees: Counter[str] = field(default_factory=Counter)
    #: what happened at Stripe to how often
    kinds: Counter[str] = field(default_factory=Counter)
    #: (provider, event id, reference, body)
    reported: list[tuple[str, str, str | None, bytes]] = field(default_factory=list)

    def move(self, provider: str, amount_minor: int, fee_minor: int = 0) -> None:
        self.payouts[provider] += amount_minor - fee_minor
        self.fees[provider] += fee_minor

    def report(self, provider: str, event_id: str, reference: str | None, body: Json) -> None:
        self.reported.append((provider, event_id, reference, json.dumps(body).encode()))

    def play(self, number: int) -> None:
        at = MONTH + timedelta(seconds=self.dice.randrange(30 * 86_400))
        user_id, amount = self.dice.randint(1, self.users), 100 * self.dice.randint(10, 9000)
        provider = self.dice.choices(list(PROVIDERS), weights=[4, 1, 1, 6])[0]
        getattr(self, f"_{provider}")(f"p{number:06}", user_id, amount, at)

    def _chargily(self, name: str, user_id: int, amount: int, at: datetime) -> None:
        fee = 100 * self.dice.randint(0, amount // 1000)
        what = self.dice.choices(["paid", "failed", "expired"], weights=[8, 1, 1])[0]
        seconds = int(at.timestamp())
        body: Json = {"id": f"evt_{name}", "entity": "event", "livemode": True, "type": f"checkout.{what}",
                "created_at": seconds, "updated_at": seconds,
                "data": {"id": name, "entity": "checkout", "livemode": True, "amount": amount // 100, "currency": "dzd",
                         "fees_on_merchant": fee // 100, "status": what, "metadata": {"user_id": user_id},
                         "payment_method": "edahabia"}}  # fmt: skip
        if what == "paid":
            self.move("chargily", amount, fee)
        self.report("chargily", body["id"], name, body)

    def _generic(self, name: str, user_id: int, amount: int, at: datetime) -> None:
        known = {"transaction_id": name, "currency": "DZD", "user_id": user_id}
        totals = self._collected_and_refunded("generic", amount)
        for turn, (status, total) in enumerate(totals):
            when = (at + timedelta(seconds=turn)).isoformat()
            body: Json = {**known, "event_id": f"{name}-{turn}", "status": status, "amount": total, "occurred_at": when}
            self.report("generic", body["event_id"], name, body)

    def _standard_webhooks(self, name: str, user_id: int, amount: int, at: datetime) -> None:
        known = {"transaction_id": name, "currency": "DZD", "user_id": user_id}
        for turn, (status, reported) in enumerate(self._collected_and_refunded("standard_webhooks", amount)):
            body = {"type": f"payment.{status}", "timestamp": (at + timedelta(seconds=turn)).isoformat(),
                    "data": {**known, "amount": reported}}  # fmt: skip
            self.report("standard_webhooks", f"msg_{name}_{turn}", name, body)

    def _collected_and_refunded(self, provider: str, amount: int) -> Iterator[tuple[str, int]]:
        """A payment and the totals that were refunded of it; the last total may be smaller again."""
        yield "completed", amount
        self.move(provider, amount)
        refunded = 0
        for _ in range(self.dice.choice([0, 0, 0, 1, 2])):
            total = self.dice.randint(0, amount)
            self.move(provider, refunded - total)
            refunded = total
            yield "refunded", total

    def _stripe(self, name: str, user_id: int, amount: int, at: datetime) -> None:
        _Stripe(self, name, user_id, amount, at).play()


@dataclass
class _Stripe:
    """One payment at Stripe: captured in whole or in part, paid by an invoice, refunded, disputed."""

    month: Month
    name: str
    user_id: int
    amount: int
    at: datetime
    refunded: int = 0
    turns: int = 0

    def play(self) -> None:
        dice = self.month.dice
        how = dice.choices(["paid", "captured", "invoice", "session", "failed"], weights=[4, 2, 2, 1, 1])[0]
        if how == "failed":
            self._report("payment_intent.payment_failed", {"object": "payment_intent", "id": f"pi_{self.name}",
                                                         "amount": self.amount})  # fmt: skip
            return
        self.captured = dice.randint(1, self.amount) if how == "captured" else self.amount
        self.fee = self.captured * 29 // 1000 + 30
        self.fee = min(self.fee, self.captured)
        self.month.move("stripe", self.captured, self.fee)
        self.month.kinds["the fee of a charge"] += 1
        self.month.kinds["captured of less"] += self.captured < self.amount
        if how == "invoice":
            self._invoice()
        if how == "captured":
            self._report("payment_intent.amount_capturable_updated", self._intent(0))
        self._report("charge.captured" if how == "captured" else "charge.succeeded", self._charge())
        if dice.random() < 0.5:
            self._report("payment_intent.succeeded", self._intent(self.captured))
        if how == "session":
            self._report("checkout.session.completed", {
                "object": "checkout.session", "id": f"cs_{self.name}", "mode": "payment", "payment_status": "paid",
                "payment_intent": f"pi_{self.name}", "amount_total": self.amount,
            })  # fmt: skip
        left = self.captured
        for number in range(dice.choice([0, 0, 0, 1, 2])):
            left -= self._refund(number, dice.randint(0, left))
        for number in range(dice.choice([0, 0, 0, 0, 1, 2])):
            left -= self._dispute(number, dice.randint(0, left))

    def _refund(self, number: int, amount: int) -> int:
        """One refund, which may fail; returns what it took for good."""
        if amount == 0:
            return 0
        name, dice = f"re_{self.name}_{number}", self.month.dice
        self.month.kinds["second refund"] += number
        self.month.move("stripe", -amount)
        self.refunded += amount
        began_at = self._next()
        thing = {"object": "refund", "id": name, "amount": amount, "charge": f"ch_{self.name}",
                 "payment_intent": f"pi_{self.name}", "created": began_at}  # fmt: skip
        self._report("refund.created", {**thing, "status": dice.choice(["pending", "succeeded"])})
        self._report("charge.refunded", self._charge())
        if dice.random() < 0.4:
            self.month.move("stripe", amount)
            self.refunded -= amount
            self._report(dice.choice(["refund.failed", "charge.refund.updated"]), {**thing, "status": "failed"})
            if dice.random() < 0.5:
                self._report("charge.updated", self._charge())
            return 0
        return amount

    def _dispute(self, number: int, amount: int) -> int:
        """One dispute of a part, with a fee of its own; returns what it took for good."""
        if amount == 0:
            return 0
        name, dice, fee = f"dp_{self.name}_{number}", self.month.dice, 1500
        moved = [{"object": "balance_transaction", "id": f"txn_{name}", "amount": -amount, "fee": fee,
                  "currency": "dzd"}]  # fmt: skip
        thing = {"object": "dispute", "id": name, "amount": amount, "charge": f"ch_{self.name}",
                 "payment_intent": f"pi_{self.name}"}  # fmt: skip
        self.month.kinds["second dispute"] += number
        if dice.random() < 0.2:
            self.month.kinds["inquiry"] += 1
            self._report("charge.dispute.created", {**thing, "status": "warning_needs_response"})
            return 0
        self.month.move("stripe", -amount, fee)
        self.month.kinds["the fee of a dispute"] += 1
        self._report("charge.dispute.created", {**thing, "status": "needs_response", "balance_transactions": moved})
        end = dice.choice(["won", "lost", "open"])
        if end == "won":
            back = {"object": "balance_transaction", "id": f"txn_{name}_won", "amount": amount, "fee": -fee,
                    "currency": "dzd"}  # fmt: skip
            self.month.move("stripe", amount, -fee)
            moved = [*moved, back]
        if end != "open":
            self.month.kinds[f"charge.dispute.closed {end}"] += 1
            self._report("charge.dispute.closed", {**thing, "status": end, "balance_transactions": moved})
        return 0 if end == "won" else amount

    def _invoice(self) -> None:
        invoice, customer = f"in_{self.name}", f"cus_{self.user_id}"
        thing = {
            "object": "invoice",
            "id": invoice,
            "amount_paid": self.captured,
            "status": "paid",
            "customer": customer,
        }
        self._report("invoice.paid", {**thing, "customer": customer})
        paid_by = {"type": "payment_intent", "payment_intent": f"pi_{self.name}"}
        self._report("invoice_payment.paid", {"object": "invoice_payment", "id": f"inpay_{self.name}", "status": "paid",
                                            "amount_paid": self.captured, "invoice": invoice,
                                            "payment": paid_by}, names_user=False)  # fmt: skip

    def _intent(self, received: int) -> Json:
        return {"object": "payment_intent", "id": f"pi_{self.name}", "amount": self.amount, "amount_received": received}

    def _charge(self) -> Json:
        moved = {"object": "balance_transaction", "id": f"txn_{self.name}", "fee": self.fee, "currency": "dzd",
                 "net": self.captured - self.fee, "amount": self.captured}  # fmt: skip
        return {"object": "charge", "id": f"ch_{self.name}", "payment_intent": f"pi_{self.name}", "amount": self.amount,
                "amount_captured": self.captured, "captured": True, "status": "succeeded",
                "amount_refunded": self.amount - self.captured + self.refunded,
                "balance_transaction": moved}  # fmt: skip

    def _next(self) -> int:
        self.turns += 1
        return int(self.at.timestamp()) + self.turns

    def _report(self, kind: str, thing: Json, *, names_user: bool = True) -> None:
        seconds = self._next()
        self.month.kinds[kind] += 1
        metadata = {"metadata": {"user_id": str(self.user_id)}} if names_user else {}
        body: Json = {"id": f"evt_{self.name}_{seconds}", "object": "event", "type": kind, "created": seconds,
                "livemode": True, "data": {"object": {"currency": "dzd", **metadata, **thing}}}  # fmt: skip
        reference = Stripe(["x"]).parse(Request("POST", {}, json.dumps(body).encode())).reference
        self.month.report("stripe", body["id"], reference, body)


def keep(engine: Engine, month: Month) -> list[int]:
    """The inbox with all that was reported, some of it twice, in any order; returns the events' ids."""
    # a webhook comes within a day, and so not in the order of what it reports
    reported = sorted(month.reported, key=lambda _: month.dice.random())
    again = [(*one[:1], f"{one[1]}-again", *one[2:]) for one in reported if month.dice.random() < 0.1]
    raw = engine.raw_connection()
    try:
        with closing(raw.cursor()) as cursor:
            execute_values(
                cursor, "INSERT INTO users (id) VALUES %s", [(number,) for number in range(1, month.users + 1)]
            )
            prices = [
                (month.dice.randint(1, month.users), 100 * month.dice.randint(10, 4000)) for _ in range(month.users)
            ]
            execute_values(cursor, "INSERT INTO subscriptions (user_id, amount_minor) VALUES %s", prices)
            rows = execute_values(
                cursor,
                "INSERT INTO webhook_events (provider, dedupe_key, reference, headers, body, body_sha256) VALUES %s "
                "RETURNING id",
                [
                    (provider, key, reference, json.dumps({"webhook-id": key}), body, b"")
                    for provider, key, reference, body in [*reported, *again]
                ],
                fetch=True,
            )
        raw.commit()
    finally:
        raw.close()
    return [row[0] for row in rows]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "payments", [pytest.param(2_000, marks=pytest.mark.slow), pytest.param(10_000, marks=pytest.mark.nightly)]
)
def test_the_clearing_of_each_provider_is_what_it_pays_out(database_url: str, payments: int) -> None:
    # Given a month of payments, with refunds that fail, disputes of parts, captures of less, and invoices
    month = Month(random.Random(20260301), users=payments // PAYMENTS)
    for number in range(payments):
        month.play(number)
    assert {kind for kind in KINDS if month.kinds[kind] < payments // 100} == set(), month.kinds
    engine = build_engine(database_url, pool_size=2, autocommit=True)
    ids = keep(engine, month)

    # When all of it is settled, in batches as a worker does
    events: dict[int, Event | None] = {}
    settlement = Settlement(
        read=events.get,
        books=lambda: open_store(engine, timedelta(days=30)),
        providers=PROVIDERS,
        asks={},
        terms=WalletPolicy("DZD", ZoneInfo("Africa/Algiers"), lambda: datetime.now(UTC)),
        payments_mode=Mode.LIVE,
    )
    for _ in range(4):
        for first in range(0, len(ids), BATCH):
            numbers = ids[first : first + BATCH]
            events.update(zip(numbers, read_events(engine, numbers), strict=True))
            batch = [settlement.understand(number) for number in numbers]
            settlement.book_all([one for one in batch if one is not None])
        with engine.connect() as connection:
            query = "SELECT id FROM webhook_events WHERE state = 'received' ORDER BY id"
            ids = list(connection.scalars(text(query)))
    with engine.connect() as connection:
        counted = connection.execute(text("SELECT state, count(*) AS events FROM webhook_events GROUP BY state"))
        states: dict[str, int] = {row.state: row.events for row in counted}
        odd = connection.execute(
            text("SELECT provider, state, reason FROM webhook_events WHERE state NOT IN ('applied', 'ignored') LIMIT 5")
        ).all()
        assert set(states) == {"applied", "ignored"}, odd

        # Then each provider owes what it pays out, and has charged what it charged
        sums = {
            (row.kind, row.provider): int(row.sum)
            for row in connection.execute(
                text(
                    "SELECT kind, provider, sum(amount_minor) AS sum FROM ledger_entries "
                    "JOIN ledger_accounts AS account ON account.id = account_id GROUP BY kind, provider"
                )
            )
        }
        clearing = {provider: -sums["psp_clearing", provider] for provider in PROVIDERS}
        assert clearing == dict(month.payouts)
        fees = {
            provider: -sums.get(("psp_fees", provider), 0) - sums.get(("dispute_fees", provider), 0)
            for provider in PROVIDERS
        }
        assert fees == {provider: month.fees[provider] for provider in PROVIDERS}
    with engine.connect() as connection:
        assert InvariantChecker(connection, settle_seconds=10**6).check().drift_minor == 0
    engine.dispose()
