"""Issue 15's table, played by the simulator over HTTP to a real gateway and worker: a row for each case, in any order.

`ROWS` is the reader's table: each row of the issue, and the cases and tests that play it.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click.testing
import httpx
import pytest
import stripe

from local.psp.bodies import WORDS, Payment
from local.psp.send_command import send as send_command
from local.psp.signed_webhooks import Delivery, signed
from tests.waiting import wait_until
from tests.webhook_gateway.processes import SECRETS, Database, RunningGateway, RunningWorker, deliver

#: What an event changes of the payment that the case is about.
Step = tuple[str, dict[str, Any]]


def steps(words: str, **known: Any) -> list[Step]:
    """One event for each word."""
    return [(word, known) for word in words.split()]


@dataclass(frozen=True)
class Case:
    """What the simulator sends of one payment, and what must be booked in every order of it."""

    steps: Sequence[Step]
    #: (status, amount, what the wallet holds of it) of each payment, sorted
    payments: Sequence[tuple[str, int, int]]
    payment: dict[str, Any] = field(default_factory=dict)
    #: the subscriptions of the user: (price, whether it must run), oldest first
    subscriptions: Sequence[tuple[int, bool]] = ()
    #: the sums of accounts beside the wallet, where clearing is not the wallet's opposite
    sums: dict[str, int] = field(default_factory=dict)
    #: what the reason of one event must hold
    reason: str = ""
    is_quarantined: bool = False


_BACK: Final = [("completed", 10000, 10000)]
_TEN: Final = [(10000, True)]
#: A payment of the same order that is another one, at this provider or at another.
_FIRST_TRY: Final = {"reference": "pi_FIRST", "amount_minor": 10000}

CASES: Final[dict[str, Case]] = {
    "a capture of less": Case(
        steps("captured"), [("completed", 20300, 20300)], {"amount_minor": 20675, "captured_minor": 20300}
    ),
    "a capture of less with its intent": Case(
        steps("captured paid"), [("completed", 20300, 20300)], {"amount_minor": 20675, "captured_minor": 20300}
    ),
    "a capture of less than half": Case(
        steps("captured"), [("completed", 4000, 4000)], {"amount_minor": 9000, "captured_minor": 4000}
    ),
    "refund.failed": Case(steps("charged refunded refund_failed"), _BACK, subscriptions=_TEN),
    "refund.updated": Case(steps("charged refunded refund_updated"), _BACK, subscriptions=_TEN),
    "charge.refund.updated": Case(steps("charged refunded charge_refund_updated"), _BACK, subscriptions=_TEN),
    "charge.updated with nothing refunded": Case(steps("charged refunded refund_reverted"), _BACK, subscriptions=_TEN),
    "a refund that fails, by all of its events": Case(
        steps("charged refunded refund_reverted refund_failed"), _BACK, subscriptions=_TEN
    ),
    "a refund that is created and fails": Case(
        steps("charged refund_created refund_failed"), _BACK, {"refunded_minor": 4000}
    ),
    "a dispute of a part that is lost": Case(
        steps("charged disputed withdrawn lost"),
        [("charged_back", 10000, 8000)],
        {"disputed_minor": 2000, "dispute_fee_minor": 150},
        [(6000, True)],
        {"psp_clearing": -7850, "dispute_fees": -150},
    ),
    "a dispute of a part that is won": Case(
        steps("charged disputed reinstated"), _BACK, {"disputed_minor": 2000}, [(6000, True)]
    ),
    "an inquiry": Case(steps("charged inquired"), _BACK, {"disputed_minor": 2000}),
    "two disputes, the first one won": Case(
        steps("charged disputed won disputed_again"),
        [("disputed", 10000, 7000)],
        {"disputed_minor": 2000, "second_dispute_minor": 3000},
        sums={"psp_clearing": -7000, "dispute_withheld": 3000, "dispute_contested": -3000},
    ),
    "two disputes, the first one won and the second one lost": Case(
        steps("charged won lost_again"),
        [("charged_back", 10000, 7000)],
        {"disputed_minor": 2000, "second_dispute_minor": 3000},
    ),
    "an attempt is no registration": Case(
        [("charge_failed", _FIRST_TRY), ("charged", {})],
        [("completed", 8000, 8000), ("failed", 10000, 0)],
        {"amount_minor": 8000, "order_number": "ORDER"},
    ),
    "an event of the other mode": Case(
        steps("charged"), [], {"is_live": True}, reason="a live payment, NOUBA_PAYMENTS_MODE is test",
        is_quarantined=True,
    ),
    "an event of another account": Case(
        steps("charged"), [], {"account": "acct_other"}, reason="acct_other", is_quarantined=True
    ),
    "an invoice that names its payer": Case(steps("invoiced invoice_payment"), _BACK),
    "an invoice whose payer an earlier session named": Case(
        [*steps("subscribed"), *steps("invoiced invoice_payment", user_id=None)], _BACK
    ),
    "the fee of a charge": Case(
        [*steps("charged", fee_minor=0), *steps("fee_charged")],
        _BACK,
        {"fee_minor": 320},
        sums={"psp_clearing": -9680, "psp_fees": -320},
    ),
    "a fee in another currency": Case(
        [*steps("charged", fee_minor=0), *steps("fee_charged")],
        _BACK,
        {"fee_minor": 32, "fee_currency": "EUR"},
        reason="not booked: the fee is 32 EUR, and the payment in DZD",
    ),
    "expanded objects": Case(
        steps("charged refund_created disputed"),
        [("disputed", 10000, 4000)],
        {"is_expanded": True, "refunded_minor": 4000, "disputed_minor": 2000},
        sums={"psp_clearing": -4000, "dispute_withheld": 2000, "dispute_contested": -2000},
    ),
    "a field with two values": Case(
        steps("charged", contradict="amount_captured"), [], reason="amount_captured", is_quarantined=True
    ),
    "a fee above the amount": Case(
        steps("fee_charged"), [], {"fee_minor": 10001},
        reason="the fee 10001 is above the amount 10000", is_quarantined=True,
    ),
    "the oldest subscription that fits": Case(
        steps("charged"), [("completed", 1000, 1000)], {"amount_minor": 1000}, [(3000, False), (1000, True)]
    ),
    "the subscription that the payment names": Case(
        steps("charged"), [("completed", 3000, 3000)], {"amount_minor": 3000, "subscription_id": -1},
        [(2000, False), (3000, True)],
    ),
    "an order that is paid at two providers": Case(
        [("paid", {}), ("paid", {"provider": "generic", "reference": "g-FIRST"})],
        [("completed", 10000, 10000)] * 2,
        {"order_number": "ORDER"},
        reason="surplus: payment",
    ),
    "Svix's headers": Case([("paid", {"provider": "standard_webhooks", "svix": True})], _BACK),
    "a session that is paid": Case(steps("session_completed paid"), _BACK),
    "a session that is paid later": Case(steps("session_pending session_paid paid"), _BACK),
    "a session that is not paid": Case(
        steps("session_pending session_failed"), [("failed", 10000, 0)]
    ),
    "a session that is paid after a capture of less": Case(
        steps("captured session_completed"), [("completed", 4000, 4000)],
        {"amount_minor": 9000, "captured_minor": 4000},
    ),
    "a refund of a capture of less": Case(
        steps("captured refunded"), [("partially_refunded", 20300, 19300)],
        {"amount_minor": 20675, "captured_minor": 20300, "refunded_minor": 1000},
    ),
}  # fmt: skip

_STRIPE_ROWS: Final = (
    "tests/integration/test_stripe_rows.py::test_every_order_of_the_events_of_a_payment_ends_in_the_same_books"
)
_NOT_OURS: Final = (
    "tests/integration/test_stripe_rows.py::test_what_is_not_this_schools_money_is_quarantined_with_both_values"
)
_SVIX: Final = "tests/integration/test_stripe_rows.py::test_an_event_that_the_library_of_svix_signs_is_booked"
_KINDS: Final = (
    "tests/webhook_gateway/settlement/test_stripe_kinds.py::"
    "test_every_kind_of_stripes_list_is_booked_explained_put_aside_or_without_money"
)
_TWICE: Final = "tests/webhook_gateway/settlement/test_stripe_money.py::test_an_order_paid_twice_is_booked_and_shown"
#: Each row of the issue's table: the cases above that play it, and the other tests of it.
ROWS: Final[dict[str, tuple[list[str], list[str]]]] = {
    "charge.captured of 20300 of 20675, with or without its intent": (
        ["a capture of less", "a capture of less with its intent", "a refund of a capture of less"], [_STRIPE_ROWS]),
    "4000 captured of 9000": (["a capture of less than half"], [_STRIPE_ROWS]),
    "10000 paid and refunded, then refund.failed, refund.updated, charge.refund.updated or charge.updated": (
        ["refund.failed", "refund.updated", "charge.refund.updated", "charge.updated with nothing refunded",
         "a refund that fails, by all of its events"], [_STRIPE_ROWS]),
    "a dispute of 2000 of 10000, lost": (["a dispute of a part that is lost"], [_STRIPE_ROWS]),
    "two disputes, the first won, the second opened": (["two disputes, the first one won"], [_STRIPE_ROWS]),
    "charge.failed for order X at 10000, charge.succeeded for X at 8000": (
        ["an attempt is no registration"], [_STRIPE_ROWS]),
    "events of the other mode, and of another account": (
        ["an event of the other mode", "an event of another account"], [_NOT_OURS]),
    "invoice.paid, invoice_payment.paid": (
        ["an invoice that names its payer", "an invoice whose payer an earlier session named"], [_STRIPE_ROWS]),
    "Stripe's fees": (
        ["the fee of a charge", "a fee in another currency", "a dispute of a part that is lost"],
        [_STRIPE_ROWS,
         "tests/integration/test_accountants_month.py::test_the_clearing_of_each_provider_is_what_it_pays_out"]),
    "expanded objects, Svix's headers": (["expanded objects", "Svix's headers"], [_STRIPE_ROWS, _SVIX]),
    "two values of one field, a fee above the amount": (
        ["a field with two values", "a fee above the amount"], [_NOT_OURS]),
    "pending subscriptions of 3000 and 1000, 1000 paid": (
        ["the oldest subscription that fits", "the subscription that the payment names"], [_STRIPE_ROWS]),
    "an order paid twice at two providers": (["an order that is paid at two providers"], [_TWICE]),
    "NOUBA_CURRENCY TND or JPY": ([], [
        "tests/integration/test_currency_rows.py::test_amounts_have_the_digits_of_the_schools_currency",
        "tests/runtime/test_currency.py::test_an_amount_has_the_digits_of_iso_4217",
        "tests/stats/api/dashboard/test_dashboard.py::"
        "test_durations_sizes_and_amounts_are_in_the_unit_that_a_person_uses"]),
    "every kind of Stripe's list": ([], [_KINDS]),
}  # fmt: skip


@dataclass
class Play:
    """One order of one case, sent about a user of its own."""

    name: str
    order: Sequence[int]
    user_id: int

    @property
    def case(self) -> Case:
        return CASES[self.name]

    @property
    def subscription_ids(self) -> list[int]:
        return [self.user_id * 10 + turn for turn in range(len(self.case.subscriptions))]

    def deliveries(self, at: datetime) -> Iterator[Delivery]:
        """The events in this order; each happened a second after the one that stands before it in the case."""
        case = self.case
        for place in self.order:
            word, changes = case.steps[place]
            known = {"reference": "pi_OWN", "amount_minor": 10000, "user_id": self.user_id, **case.payment, **changes}
            provider, svix = known.pop("provider", "stripe"), known.pop("svix", False)
            contradict = known.pop("contradict", None)
            for name in ("reference", "order_number"):
                if name in known:
                    known[name] = f"{known[name]}-{self.user_id}"
            if known.get("subscription_id") is not None:
                known["subscription_id"] = self.subscription_ids[known["subscription_id"]]
            occurred_at = at - timedelta(seconds=len(case.steps) - place)
            secrets = [SECRETS[provider]]
            one = signed(
                provider, secrets, Payment(**known), word, at=at, occurred_at=occurred_at, contradict=contradict
            )
            headers = {name.replace("webhook-", "svix-") if svix else name: text for name, text in one.headers.items()}
            yield replace(one, headers=headers)


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


@pytest.fixture
def gateway(database_url: str, rabbitmq_url: str, tmp_path: Path) -> Iterator[RunningGateway]:
    with (
        RunningWorker(tmp_path / "worker", database_url, rabbitmq_url),
        RunningGateway(tmp_path / "gateway", database_url, rabbitmq_url) as gateway,
    ):
        yield gateway


def wait_until_settled(database: Database) -> None:
    waiting = "SELECT id, reason FROM webhook_events WHERE state = 'received'"
    wait_until(lambda: not database.rows(waiting), 90, "events still wait")


def read_by_stripes_library(delivery: Delivery) -> None:
    """Stripe's own library verifies the event, and reads its object as what the event's kind is about."""
    event = stripe.Webhook.construct_event(
        delivery.body.decode(), delivery.headers["Stripe-Signature"], SECRETS["stripe"]
    )
    assert type(event.data.object) is not stripe.StripeObject, event.type
    assert event.data.object["currency"] == "dzd"


def enrol(database: Database, play: Play) -> None:
    database.execute("INSERT INTO users (id) VALUES (%s)", play.user_id)
    for number, (price, _) in zip(play.subscription_ids, play.case.subscriptions, strict=True):
        row = (number, play.user_id, price, f"2026-01-01 00:00:0{number % 10}+00")
        database.execute("INSERT INTO subscriptions (id, user_id, amount_minor, created_at) VALUES %s", row)


def check(database: Database, play: Play) -> None:
    """The books are the case's."""
    case, what = play.case, (play.name, [play.case.steps[place][0] for place in play.order])
    query = "SELECT id, status, amount_minor, credited_minor FROM payments WHERE user_id = %s ORDER BY 2"
    rows = database.rows(query, play.user_id)
    assert [row[1:] for row in rows] == list(case.payments), what
    running = [
        database.rows("SELECT status FROM subscriptions WHERE id = %s", number)[0][0] == "active"
        for number in play.subscription_ids
    ]
    assert running == [must_run for _, must_run in case.subscriptions], what
    credited = sum(row[3] for row in rows)
    spent = sum(price for price, must_run in case.subscriptions if must_run)
    assert database.rows("SELECT balance_minor FROM users WHERE id = %s", play.user_id) == [(credited - spent,)], what
    sums = database.rows(
        "SELECT kind, sum(amount_minor)::bigint FROM ledger_entries JOIN ledger_accounts AS account "
        "ON account.id = account_id JOIN (SELECT id AS posting, payment_id FROM ledger_transactions) AS posted "
        "ON posting = transaction_id WHERE payment_id = ANY(%s) GROUP BY kind HAVING sum(amount_minor) <> 0",
        [row[0] for row in rows],
    )
    expected = {"user_wallet": credited, "psp_clearing": -credited, **case.sums}
    assert dict(sums) == {kind: amount for kind, amount in expected.items() if amount}, what


@pytest.mark.parametrize("is_every_order", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_simulator_plays_every_row(gateway: RunningGateway, database: Database, is_every_order: bool) -> None:
    # Given a user for each case, and for each order of it
    plays: list[Play] = []
    for name, case in CASES.items():
        places = range(len(case.steps))
        for order in itertools.permutations(places) if is_every_order else [places]:
            plays.append(Play(name, list(order), 1000 + len(plays)))
            enrol(database, plays[-1])

    # When the simulator's events are sent in this order
    events: dict[int, list[int]] = {}
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        for play in plays:
            for delivery in play.deliveries(datetime.now(UTC).replace(microsecond=0)):
                if delivery.provider == "stripe":
                    read_by_stripes_library(delivery)
                answer = deliver(client, delivery)
                assert answer.status_code == 200, answer.text
                assert answer.json()["status"] == ("quarantined" if play.case.is_quarantined else "accepted"), play
                events.setdefault(play.user_id, []).append(answer.json()["event_id"])
    wait_until_settled(database)

    # Then the books are the case's, whatever the order was
    for play in plays:
        check(database, play)
        query = "SELECT state, reason FROM webhook_events WHERE id = ANY(%s)"
        rows = database.rows(query, events[play.user_id])
        allowed = {"quarantined"} if play.case.is_quarantined else {"applied", "ignored"}
        assert {state for state, _ in rows} <= allowed, (play, rows)
        assert not play.case.reason or sum(play.case.reason in (reason or "") for _, reason in rows) == 1, (play, rows)


def test_the_command_sends_every_word_of_stripes_and_the_library_reads_it(
    gateway: RunningGateway, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("INSERT INTO users (id) VALUES (7)")
    monkeypatch.setenv("NOUBA_PSP_STRIPE_SECRETS", SECRETS["stripe"])
    command = f"stripe --gateway {gateway.url} --user 7 --amount 10000 --fee 320 --dispute-fee 150 --expand --json"

    for number, word in enumerate(WORDS["stripe"]):
        arguments = [*command.split(), "--events", word, "--reference", f"pi_{number}", "--seed", "1"]
        result = click.testing.CliRunner().invoke(send_command, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert [one["answer"] for one in json.loads(result.stdout)["answers"]] == ["accepted"], word

    for (body,) in database.rows("SELECT body FROM webhook_events"):
        event = stripe.Event.construct_from(json.loads(body), "sk_test")
        assert type(event.data.object) is not stripe.StripeObject, event.type
    assert not database.rows("SELECT reason FROM webhook_events WHERE state = 'quarantined'")


@pytest.mark.lint
def test_each_row_of_the_table_names_its_cases_and_tests() -> None:
    root = Path(__file__).parents[2]
    assert {name for cases, _ in ROWS.values() for name in cases} <= set(CASES)
    for _, tests in ROWS.values():
        for name in tests:
            path, _, function = name.partition("::")
            assert f"def {function}(" in (root / path).read_text(), name
