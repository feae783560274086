"""What no webhook reported is booked by asking the provider, once, whatever comes before, after or meanwhile."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from local.psp.satim_bank import Bank
from local.psp.server import REST, simulator
from services.webhook_gateway.providers.base import ProviderReply
from services.webhook_gateway.providers.chargily.webhooks import Chargily
from services.webhook_gateway.providers.satim.webhooks import Satim
from services.webhook_gateway.reconciliation.reconcile import LEASE, Outcome
from tests.webhook_gateway.providers.servers import serving
from tests.webhook_gateway.reconciliation.harness import KEY, MERCHANT, Bench

both = pytest.mark.parametrize("provider", ["chargily", "satim"])


@both
def test_a_payment_whose_webhook_never_comes_is_booked_by_asking_and_asked_about_no_more(
    bench: Bench, provider: str
) -> None:
    begun = bench.begin(provider)
    begun.end()

    assert bench.ask(provider) is Outcome.RECORDED
    begun.assert_not_credited()  # what is kept is settled like every other event, and not by asking
    bench.settle_all()

    begun.assert_credited_once()
    assert begun.next_ask_at is None
    assert bench.ask(provider) is None
    assert (bench.tallied.ended, bench.states()) == (1, {"applied": 1})


@both
@pytest.mark.parametrize("order", ["webhook first", "answer first", "both before either is settled", "webhook twice"])
def test_a_webhook_before_after_or_meanwhile_makes_no_second_credit(bench: Bench, provider: str, order: str) -> None:
    begun = bench.begin(provider)
    begun.end()
    # the question was put before the webhook came, so it is answered whatever has been booked since
    due = bench.schedule.take(provider)
    assert due is not None

    if order != "answer first":
        begun.report()
    if order in ("webhook first", "webhook twice"):
        bench.settle_all()
    assert bench.reconciliation(provider).ask(due) is Outcome.RECORDED
    if order in ("answer first", "webhook twice"):
        bench.settle_all()
        begun.report()
    bench.settle_all()

    begun.assert_credited_once()
    # the second adds nothing, or an earlier second of completion
    assert bench.states() in ({"applied": 1, "ignored": 1}, {"applied": 2})


@both
def test_a_payment_that_a_webhook_ended_is_not_asked_about(bench: Bench, provider: str) -> None:
    begun = bench.begin(provider)
    begun.end()
    begun.report()
    bench.settle_all()
    asked = bench.asked(provider)

    assert bench.ask(provider) is None
    assert bench.asked(provider) == asked


@both
def test_a_payment_that_failed_there_fails_here_and_moves_no_money(bench: Bench, provider: str) -> None:
    begun = bench.begin(provider)
    begun.end("failed")

    assert bench.ask(provider) is Outcome.RECORDED
    bench.settle_all()

    assert begun.status == "failed"
    begun.assert_not_credited()


@both
def test_a_payer_who_is_still_at_it_is_asked_about_again_and_nothing_is_kept(bench: Bench, provider: str) -> None:
    begun = bench.begin(provider)

    assert bench.ask(provider) is Outcome.PENDING
    assert bench.ask(provider) is None
    assert bench.states() == {}
    assert begun.next_ask_at is not None
    assert timedelta(minutes=1.5) < begun.next_ask_at - datetime.now(UTC) <= timedelta(minutes=2)

    begun.end()
    bench.make_due()
    assert bench.ask(provider) is Outcome.RECORDED


def test_asking_confirms_a_satim_order_that_nobody_came_back_from(engine: Engine) -> None:
    """Unconfirmed, the bank would cancel what was paid; its clock is the test's."""
    at = [0.0]
    bank = Bank(auto_cancel_seconds=1200, clock=lambda: at[0])
    with serving(simulator(bank, **MERCHANT)) as url:
        bench = Bench(engine, url)
        asked_about, forgotten = bench.begin("satim"), bench.begin("satim")
        asked_about.end()
        forgotten.end()
        bench.execute("UPDATE payments SET next_ask_at = NULL WHERE id = :id", id=forgotten.payment_id)

        at[0] = 1140
        assert bench.ask("satim") is Outcome.RECORDED
        at[0] = 2000

        assert bank.find(asked_about.reference).status == 2
        assert bank.find(forgotten.reference).status == 3


@pytest.mark.parametrize(
    ("reported", "reason"),
    [
        ({"amount": 1}, "registered 250000 DZD, reported 100"),
        ({"currency": "eur"}, "currency"),
        ({"livemode": True}, "says it is live"),
        ({"metadata": {"user_id": 999_999}}, "reported user 999999"),
        ({"status": "blessed"}, "status"),
        ({"amount": "2500"}, "amount"),
    ],
    ids=str,
)
def test_an_answer_about_another_amount_currency_mode_or_user_is_put_aside(
    bench: Bench, reported: dict[str, object], reason: str
) -> None:
    begun = bench.begin("chargily")
    begun.end()

    class Changed(Chargily):
        """What was fetched is changed on the way."""

        def enquire(self, reference: str) -> ProviderReply | None:
            reply = super().enquire(reference)
            assert reply is not None
            body = json.dumps({**json.loads(reply.request.body), **reported}).encode()
            return replace(reply, request=replace(reply.request, body=body))

    changed = Changed([KEY], bench.simulator_url)
    replace(bench.reconciliation("chargily"), psp=changed).ask_next()
    bench.settle_all()

    assert bench.states() == {"quarantined": 1}
    assert reason in bench.scalar("SELECT reason FROM webhook_events")
    begun.assert_not_credited()


@both
@pytest.mark.parametrize(
    ("wrong", "outcome"),
    [
        ("broken", Outcome.UNAVAILABLE),
        ("garbage", Outcome.UNAVAILABLE),
        ("other", Outcome.UNAVAILABLE),
        ("limited", Outcome.LIMITED),
    ],
)
def test_a_wrong_answer_is_kept_by_nobody_and_the_payment_is_asked_about_again(
    bench: Bench, provider: str, wrong: str, outcome: Outcome
) -> None:
    begun = bench.begin(provider)
    begun.end()
    bench.be_wrong(provider, wrong)

    assert bench.ask(provider) is outcome
    assert bench.states() == {}
    assert begun.next_ask_at is not None
    assert timedelta(seconds=25) < begun.next_ask_at - datetime.now(UTC) <= timedelta(seconds=34)

    bench.be_right()
    bench.make_due()
    assert bench.ask(provider) is Outcome.RECORDED
    bench.settle_all()
    begun.assert_credited_once()


@both
def test_a_payment_that_the_provider_does_not_know_stays_as_it_is(bench: Bench, provider: str) -> None:
    begun = bench.begin(provider, reference="nobodys-payment")

    assert bench.ask(provider) is Outcome.UNKNOWN
    assert begun.status == "pending"
    assert bench.states() == {}


def test_every_key_is_tried_and_a_refused_one_is_named(engine: Engine, simulator_url: str) -> None:
    bench = Bench(engine, simulator_url, ("test_sk_taken_away", KEY))
    bench.begin("chargily").end()
    assert bench.ask("chargily") is Outcome.RECORDED

    bench = Bench(engine, simulator_url, ("test_sk_taken_away",))
    bench.begin("chargily").end()
    assert bench.ask("chargily") is Outcome.UNAVAILABLE


def test_a_failing_payment_is_asked_about_ever_more_rarely(bench: Bench) -> None:
    begun = bench.begin("chargily")
    bench.be_wrong("chargily", "broken")
    bench.execute("UPDATE payments SET created_at = now() - interval '2 hours', asks = 3")

    bench.ask("chargily")

    assert begun.next_ask_at is not None
    assert timedelta(minutes=4) <= begun.next_ask_at - datetime.now(UTC) <= timedelta(minutes=4.5)


def test_a_payment_of_three_days_is_given_up_and_said_so(bench: Bench) -> None:
    begun = bench.begin("chargily")
    bench.execute("UPDATE payments SET created_at = now() - interval '3 days'")

    assert bench.ask("chargily") is Outcome.PENDING
    assert begun.next_ask_at is None
    assert (bench.tallied.given_up, bench.tallied.ended) == (1, 0)


def test_two_reconcilers_at_once_ask_about_no_payment_twice(bench: Bench) -> None:
    begun = [bench.begin("chargily") for _ in range(30)]
    for one in begun:
        one.end()

    def work(_: int) -> int:
        reconciliation, count = bench.reconciliation("chargily"), 0
        while reconciliation.ask_next() is not None:
            count += 1
        return count

    with ThreadPoolExecutor(6) as threads:
        counts = list(threads.map(work, range(6)))
    bench.settle_all()

    assert sum(counts) == bench.asked("chargily") == len(begun)
    for one in begun:
        one.assert_credited_once()


def test_a_lease_that_ran_out_is_taken_by_another_and_the_late_one_changes_nothing(bench: Bench) -> None:
    begun = bench.begin("chargily")
    lost = bench.schedule.take("chargily")
    assert lost is not None
    assert begun.next_ask_at is not None
    assert begun.next_ask_at - datetime.now(UTC) > LEASE - timedelta(seconds=5)
    assert bench.ask("chargily") is None

    bench.make_due()
    assert bench.ask("chargily") is Outcome.PENDING
    planned = begun.next_ask_at
    bench.schedule.put_off(lost, None)
    assert begun.next_ask_at == planned


def test_a_hold_is_kept_and_asked_about_until_it_is_a_payment(bench: Bench) -> None:
    class Holding(Satim):
        """A bank on whose side the money is held at first."""

        status = 1

        def enquire(self, reference: str) -> ProviderReply | None:
            reply = super().enquire(reference)
            assert reply is not None
            answer = {"ErrorCode": 0, "OrderStatus": self.status, "Amount": 250_000, "currency": "012"}
            return replace(reply, request=replace(reply.request, body=json.dumps(answer).encode()))

    begun = bench.begin("satim")
    begun.end()
    holding = Holding(**MERCHANT, base_url=bench.simulator_url + REST)
    reconciliation = replace(bench.reconciliation("satim"), psp=holding)

    assert reconciliation.ask_next() is Outcome.RECORDED
    bench.settle_all()
    assert begun.status == "authorized"
    begun.assert_not_credited()

    bench.make_due()
    assert reconciliation.ask_next() is Outcome.KNOWN
    holding.status = 2
    bench.make_due()
    assert reconciliation.ask_next() is Outcome.RECORDED
    bench.settle_all()
    begun.assert_credited_once()
