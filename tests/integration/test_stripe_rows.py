"""What Stripe reports of a payment, over HTTP in every order to the real gateway and worker, ends in the same books."""

import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
import pytest
import stripe
from svix.webhooks import Webhook

from tests.waiting import wait_until
from tests.webhook_gateway.processes import SECRETS, Database, RunningGateway, RunningWorker
from tests.webhook_gateway.settlement.stripe_bodies import (
    INVOICE,
    INVOICE_PAYMENT,
    NAMED,
    SESSION,
    TURNS,
    Body,
    charge,
    dispute,
    event,
    intent,
    refund,
    session,
)

#: Every run has objects of its own.
_NAMES: Final = ("pi_", "ch_", "re_", "dp_", "cus_", "cs_", "sub_", "in_", "txn_")
PAID: Final = charge("succeeded", 1)
REFUNDED: Final = charge("refunded", 20, amount_refunded=10000)
DISPUTED: Final = dispute("created", 20, "needs_response", 2000, fee=150)
_FEE: Final = {"object": "balance_transaction", "id": "txn_1", "fee": 320, "net": 9680, "currency": "dzd"}


@dataclass(frozen=True)
class Case:
    """What is reported, and what must be booked in every order of it."""

    reported: Sequence[Body]
    #: (status, amount, what the wallet holds of it) of each payment
    payments: Sequence[tuple[str, int, int]]
    #: the subscriptions of the user: (price, whether it must run), oldest first
    subscriptions: Sequence[tuple[int, bool]] = ()
    #: the sums of accounts beside the wallet
    sums: dict[str, int] = field(default_factory=dict)


CASES: Final[dict[str, Case]] = {
    "a capture of less counts the rest as refunded": Case(
        [charge("captured", 5, 20675, amount_captured=20300, amount_refunded=375)], [("completed", 20300, 20300)]
    ),
    "a capture of less with its intent": Case(
        [
            charge("captured", 5, 20675, amount_captured=20300, amount_refunded=375),
            intent(amount=20675, amount_received=20300, metadata={"user_id": "USER"}),
        ],
        [("completed", 20300, 20300)],
    ),
    "a capture of less than half": Case(
        [charge("captured", 5, 9000, amount_captured=4000, amount_refunded=5000)], [("completed", 4000, 4000)]
    ),
    "refund.failed": Case(
        [PAID, REFUNDED, refund("refund.failed", 30, "failed")], [("completed", 10000, 10000)], [(10000, True)]
    ),
    "refund.updated to failed": Case(
        [PAID, REFUNDED, refund("refund.updated", 30, "failed")], [("completed", 10000, 10000)], [(10000, True)]
    ),
    "charge.refund.updated to failed": Case(
        [PAID, REFUNDED, refund("charge.refund.updated", 30, "failed")], [("completed", 10000, 10000)], [(10000, True)]
    ),
    "charge.updated with nothing refunded": Case(
        [PAID, REFUNDED, charge("updated", 30)], [("completed", 10000, 10000)], [(10000, True)]
    ),
    "a refund that fails, reported by everything": Case(
        [PAID, REFUNDED, refund("refund.failed", 30, "failed"), charge("updated", 30)],
        [("completed", 10000, 10000)],
        [(10000, True)],
    ),
    "a dispute of a part that is lost": Case(
        [PAID, DISPUTED, dispute("closed", 30, "lost", 2000, fee=150)],
        [("charged_back", 10000, 8000)],
        [(6000, True)],
        {"psp_clearing": -7850, "dispute_fees": -150},
    ),
    "two disputes, the first one won": Case(
        [
            PAID,
            dispute("created", 20, "needs_response", 2000),
            dispute("closed", 30, "won", 2000),
            dispute("created", 40, "needs_response", 3000, "dp_2"),
        ],
        [("disputed", 10000, 7000)],
        sums={"psp_clearing": -7000, "dispute_withheld": 3000, "dispute_contested": -3000},
    ),
    "an attempt is no registration": Case(
        [
            charge("failed", 1, id="ch_9", payment_intent=None, status="failed", captured=False, amount_captured=0,
                   metadata={"user_id": "USER", "order_id": "USER-X"}),
            charge("succeeded", 2, 8000, id="ch_8", payment_intent=None,
                   metadata={"user_id": "USER", "order_id": "USER-X"}),
        ],
        [("completed", 8000, 8000), ("failed", 10000, 0)],
    ),
    "an invoice whose subscription names the user": Case(
        [event("invoice.paid", 3, {**INVOICE, **NAMED, "payment_intent": "pi_1"})], [("completed", 10000, 10000)]
    ),
    "an invoice whose payer an earlier checkout named": Case(
        [SESSION, event("invoice.paid", 3, INVOICE), INVOICE_PAYMENT], [("completed", 10000, 10000)]
    ),
    "the fee of a charge": Case(
        [PAID, charge("updated", 2, balance_transaction=_FEE), intent(latest_charge="ch_1")],
        [("completed", 10000, 10000)],
        sums={"psp_clearing": -9680, "psp_fees": -320},
    ),
    "expanded objects": Case(
        [
            charge(
                "succeeded",
                1,
                payment_intent={"id": "pi_1", "object": "payment_intent", "metadata": {"user_id": "USER"}},
                metadata={},
                customer={"id": "cus_1", "object": "customer"},
            )
        ],
        [("completed", 10000, 10000)],
    ),
    "several captures of one hold": Case(
        [
            charge("captured", 5, 9000, amount_captured=3000),
            charge("updated", 9, 9000, amount_captured=7000),
            intent(at=10, amount=9000, amount_received=7000),
        ],
        [("completed", 7000, 7000)],
    ),
    "a refund that failed, and another one": Case(
        [
            PAID,
            refund("refund.created", 11, "succeeded", 6000),
            refund("refund.failed", 30, "failed", 6000),
            refund("refund.created", 40, "succeeded", 7000, "re_2"),
        ],
        [("partially_refunded", 10000, 3000)],
    ),
    "an inquiry that became a dispute": Case(
        [PAID, dispute("created", 20, "warning_needs_response", 3000), dispute("updated", 30, "needs_response", 3000)],
        [("disputed", 10000, 7000)],
        sums={"dispute_withheld": 3000, "dispute_contested": -3000},
    ),
    "a charge back of what a subscription has cost": Case(
        [PAID, dispute("created", 20, "needs_response", 10000), dispute("closed", 30, "lost", 10000)],
        [("charged_back", 10000, 0)],
        [(10000, False)],
    ),
    "a checkout session that names the payer": Case(
        [session("completed", client_reference_id="USER"), intent()], [("completed", 10000, 10000)]
    ),
    "a checkout session that is paid later": Case(
        [
            session("completed", payment_status="unpaid", client_reference_id="USER"),
            session("async_payment_succeeded", 9, payment_intent={"id": "pi_1", "object": "payment_intent"}),
            intent(at=9),
        ],
        [("completed", 10000, 10000)],
    ),
    "the oldest subscription that fits": Case(
        [charge("succeeded", 1, 1000)], [("completed", 1000, 1000)], [(3000, False), (1000, True)]
    ),
    "a dearer older one is paid where the payment names it": Case(
        [charge("succeeded", 1, 3000, metadata={"user_id": "USER", "subscription_id": "SUBSCRIPTION"})],
        [("completed", 3000, 3000)],
        [(2000, False), (3000, True)],
    ),
}  # fmt: skip


@dataclass
class Reporting:
    """One order of one case, reported about a user of its own."""

    name: str
    order: Sequence[Body]
    user_id: int
    subscriptions: Sequence[int]

    def bodies(self) -> Iterator[bytes]:
        """The events in this order, and the first one once more under an id of its own."""
        for one in [*self.order, {**self.order[0], "id": f"evt_{next(TURNS)}"}]:
            text = json.dumps({**one, "account": "acct_school"}).replace("USER", str(self.user_id))
            if self.subscriptions:
                text = text.replace("SUBSCRIPTION", str(self.subscriptions[-1]))
            for name in _NAMES:
                text = text.replace(f'"{name}', f'"{name}{self.user_id}_')
            yield text.replace('"evt_', f'"evt_{self.user_id}_').encode()


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


@pytest.fixture
def client(database_url: str, rabbitmq_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    live = {"NOUBA_PAYMENTS_MODE": "live", "NOUBA_PSP_STRIPE_ACCOUNT": "acct_school"}
    live |= {"NOUBA_PSP_CHARGILY_SECRETS": "live_sk_gateway_tests"}
    with (
        RunningWorker(tmp_path / "worker", database_url, rabbitmq_url, **live),
        RunningGateway(tmp_path / "gateway", database_url, rabbitmq_url, **live) as gateway,
        httpx.Client(base_url=gateway.url, timeout=30) as client,
    ):
        yield client


def send(client: httpx.Client, body: bytes) -> str:
    """Send an event as Stripe signs it, checked with Stripe's own library; returns what the gateway says of it."""
    at = int(time.time())
    signature = stripe.WebhookSignature._compute_signature(f"{at}.{body.decode()}", SECRETS["stripe"])
    header = f"t={at},v1={signature}"
    stripe.Webhook.construct_event(body, header, SECRETS["stripe"])
    answer = client.post("/webhooks/stripe", content=body, headers={"Stripe-Signature": header})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["status"])


def wait_until_settled(database: Database) -> None:
    waiting = "SELECT id, reason FROM webhook_events WHERE state = 'received'"
    wait_until(lambda: not database.rows(waiting), 90, "events still wait")


@pytest.mark.slow
def test_every_order_of_the_events_of_a_payment_ends_in_the_same_books(
    client: httpx.Client, database: Database
) -> None:
    # Given a user with subscriptions for each order of each case
    orders = [(name, order) for name, case in CASES.items() for order in itertools.permutations(case.reported)]
    tellings = []
    for user_id, (name, order) in enumerate(orders, start=1001):
        prices = [price for price, _ in CASES[name].subscriptions]
        tellings.append(Reporting(name, order, user_id, [user_id * 10 + turn for turn in range(len(prices))]))
        database.execute("INSERT INTO users (id) VALUES (%s)", user_id)
        for number, price in zip(tellings[-1].subscriptions, prices, strict=True):
            created_at = f"2026-01-01 00:00:0{number % 10}+00"
            row = (number, user_id, price, created_at)
            database.execute("INSERT INTO subscriptions (id, user_id, amount_minor, created_at) VALUES %s", row)

    # When all of it is reported, the first event of each twice
    for reporting in tellings:
        for body in reporting.bodies():
            assert send(client, body) == "accepted"
    wait_until_settled(database)

    # Then the books are the case's, whatever the order was
    for reporting in tellings:
        case, what = CASES[reporting.name], (reporting.name, [one["type"] for one in reporting.order])
        rows = database.rows(
            "SELECT status, amount_minor, credited_minor FROM payments WHERE user_id = %s ORDER BY 1", reporting.user_id
        )
        assert rows == list(case.payments), what
        running = [
            database.rows("SELECT status FROM subscriptions WHERE id = %s", number)[0][0] == "active"
            for number in reporting.subscriptions
        ]
        assert running == [must_run for _, must_run in case.subscriptions], what
        credited = sum(row[2] for row in rows)
        spent = sum(price for price, must_run in case.subscriptions if must_run)
        balance = database.rows("SELECT balance_minor FROM users WHERE id = %s", reporting.user_id)
        assert balance == [(credited - spent,)], what
        sums = Counter(
            dict(
                database.rows(
                    "SELECT kind, sum(amount_minor)::bigint FROM ledger_entries JOIN ledger_accounts AS account "
                    "ON account.id = account_id JOIN (SELECT id AS posting, payment_id FROM ledger_transactions) AS t "
                    "ON posting = transaction_id WHERE payment_id IN (SELECT id FROM payments WHERE user_id = %s) "
                    "GROUP BY kind HAVING sum(amount_minor) <> 0",
                    reporting.user_id,
                )
            )
        )
        assert sums == Counter({"user_wallet": credited, "psp_clearing": -credited, **case.sums}), what
    states = dict(database.rows("SELECT state, count(*) FROM webhook_events GROUP BY state"))
    assert set(states) <= {"applied", "ignored"}


def test_what_is_not_this_schools_money_is_quarantined_with_both_values(
    client: httpx.Client, database: Database
) -> None:
    database.execute("INSERT INTO users (id) VALUES (7)")
    reporting = Reporting("", [PAID], 7, [])
    (body, _) = map(json.loads, reporting.bodies())
    fee_above = {**body["data"]["object"], "balance_transaction": {**_FEE, "fee": 10001}}
    odd = {
        "a test payment, NOUBA_PAYMENTS_MODE is live": json.dumps({**body, "id": "evt_test", "livemode": False}),
        "acct_other": json.dumps({**body, "id": "evt_other", "account": "acct_other"}),
        "amount_captured": json.dumps({**body, "id": "evt_twice"}).replace(
            '"amount_captured": 10000', '"amount_captured": 10000, "amount_captured": 9999'
        ),
        "10001": json.dumps({**body, "id": "evt_fee", "data": {"object": fee_above}}),
    }

    for text in odd.values():
        send(client, text.encode())
    wait_until_settled(database)

    rows = database.rows("SELECT state, reason FROM webhook_events ORDER BY id")
    assert [state for state, _ in rows] == ["quarantined"] * len(odd), rows
    for words, (_, reason) in zip(odd, rows, strict=True):
        assert words in reason
    assert database.rows("SELECT count(*) FROM payments") == [(0,)]
    assert database.rows("SELECT balance_minor FROM users") == [(0,)]


def test_an_event_that_is_delivered_again_with_another_count_is_the_same_event(
    client: httpx.Client, database: Database
) -> None:
    database.execute("INSERT INTO users (id) VALUES (7)")
    (body, _) = map(json.loads, Reporting("", [PAID], 7, []).bodies())

    answers = [send(client, json.dumps({**body, "pending_webhooks": count}).encode()) for count in (2, 1, 1)]
    # another amount in the same event is no matter of counts
    body["data"]["object"]["amount"] = 9999
    answers.append(send(client, json.dumps({**body, "pending_webhooks": 1}).encode()))
    wait_until_settled(database)

    assert answers == ["accepted", "duplicate", "duplicate", "quarantined"]
    assert database.rows("SELECT balance_minor FROM users") == [(10000,)]
    kept = database.rows("SELECT state, convert_from(body, 'UTF8') FROM webhook_events ORDER BY id")
    assert [state for state, _ in kept] == ["applied", "quarantined"]
    # the bytes are kept as they came
    assert '"pending_webhooks": 2' in kept[0][1]


def test_an_event_that_the_library_of_svix_signs_is_booked(client: httpx.Client, database: Database) -> None:
    database.execute("INSERT INTO users (id) VALUES (7)")
    reported = {"transaction_id": "t-1", "amount": 250000, "currency": "DZD", "user_id": 7}
    body = json.dumps({"type": "payment.completed", "timestamp": "2026-01-01T00:00:00Z", "data": reported})
    at = datetime.now(UTC)
    webhook = Webhook(SECRETS["standard_webhooks"])
    headers = {
        "svix-id": "msg_1",
        "svix-timestamp": str(int(at.timestamp())),
        "svix-signature": webhook.sign("msg_1", at, body),
    }
    webhook.verify(body, headers)

    answer = client.post("/webhooks/standard_webhooks", content=body, headers=headers)
    wait_until_settled(database)

    assert answer.json()["status"] == "accepted"
    assert database.rows("SELECT balance_minor FROM users") == [(250000,)]
