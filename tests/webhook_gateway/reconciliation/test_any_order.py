"""Questions and webhooks in any order and number end in the state in which all webhooks in order end."""

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.webhook_gateway.inbox.accept import InsertResult, WebhookEvent
from services.webhook_gateway.payments.model import Payment
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers.base import ANSWER, PaymentNotice, Proof, ProviderReply, Request
from services.webhook_gateway.providers.circuit_breaker import Breaker
from services.webhook_gateway.reconciliation.reconcile import Due, Outcome, Reconciliation
from tests.webhook_gateway.fakes import FakeSchool
from tests.webhook_gateway.reconciliation.harness import Tallied
from tests.webhook_gateway.settlement.factories import OPENED_AT, School
from tests.webhook_gateway.settlement.harness import FakePsp, Harness

AMOUNT_MINOR = 1000
#: What a payment goes through at its provider; each step is reported by a webhook, which may be lost.
LIVES = st.sampled_from(
    [
        (Stage.COMPLETED,),
        (Stage.AUTHORIZED, Stage.COMPLETED),
        (Stage.AUTHORIZED, Stage.CANCELED),
        (Stage.FAILED,),
        (Stage.EXPIRED,),
    ]
)


class AskedPsp(FakePsp):
    """A provider that knows how the payment stands."""

    stage = Stage.PENDING

    def enquire(self, reference: str) -> ProviderReply | None:
        key = f"answer:{reference}:{self.stage.name}"
        reported = PaymentNotice(
            key=key, kind="answer", reference=reference, stage=self.stage, amount_minor=AMOUNT_MINOR
        )
        return ProviderReply(Request(ANSWER, {}, self.write(reported)), Proof(signed=True))


@dataclass
class Case:
    """One payment at one school: the provider, the poll schedule of one worker, and an inbox that keeps a key once."""

    school: School = field(default_factory=FakeSchool)
    planned: bool = True

    def __post_init__(self) -> None:
        self.harness = Harness(self.school)
        self.psp = self.harness.psp = AskedPsp("psp")
        self.harness.settlement.providers["psp"] = self.psp  # type: ignore[index]
        self.user_id = self.school.add_user()
        self.subscription_id = self.school.add_subscription(self.user_id, 600)
        self.payment_id = self.harness.check_out(self.user_id, AMOUNT_MINOR, reference="R1")
        self.kept: dict[str, int] = {}
        self.tallied = Tallied()
        self.reconciliation = Reconciliation(
            psp=self.psp,
            breaker=Breaker("psp"),
            schedule=self,
            inbox=self,
            tally=self.tallied,
            now=self.harness.clock,
            wake=lambda: None,
        )

    def take(self, provider: str) -> Due | None:
        is_open = self.payment.status in ("pending", "authorized")
        return Due(self.payment_id, "R1", OPENED_AT, 1) if self.planned and is_open else None

    def put_off(self, due: Due, until: object) -> None:
        self.planned = until is not None

    def keep(self, entry: WebhookEvent) -> InsertResult:
        digest = hashlib.sha256(entry.request.body).digest()
        if entry.dedupe_key in self.kept:
            return InsertResult(self.kept[entry.dedupe_key], False, digest)
        body = entry.request.body
        self.kept[entry.dedupe_key] = self.school.add_event("psp", entry.reference, body, self.harness.clock())
        return InsertResult(self.kept[entry.dedupe_key], True, digest)

    def receive(self, stage: Stage) -> None:
        self.harness.receive(stage=stage, amount_minor=AMOUNT_MINOR)

    def settle_all(self) -> None:
        for row in self.school.events():
            self.harness.settle(row.id)

    @property
    def payment(self) -> Payment:
        return self.school.payment(self.payment_id)

    def outcome(self) -> tuple[object, ...]:
        sums: dict[str, int] = {}
        for line in self.school.lines():
            sums[line.account.kind] = sums.get(line.account.kind, 0) + line.amount_minor
        assert sum(sums.values()) == 0
        subscription = self.school.subscription(self.subscription_id).status
        return self.payment.status, self.school.balance(self.user_id), subscription, tuple(sorted(sums.items()))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LIVES, st.data())
def test_questions_and_webhooks_in_any_order_end_as_all_webhooks_in_order(
    life: tuple[Stage, ...], data: st.DataObject
) -> None:
    reported = Case()
    for stage in life:
        reported.receive(stage)
        reported.settle_all()

    case, ahead = Case(), list(life)
    acts = st.lists(st.sampled_from(["live", "ask", "webhook", "settle", "wait"]), max_size=14)
    lived: list[Stage] = []
    for act in data.draw(acts):
        if act == "live" and ahead:
            case.psp.stage = ahead.pop(0)
            lived.append(case.psp.stage)
        elif act == "ask":
            case.reconciliation.ask_next()
        elif act == "webhook" and lived:
            case.receive(data.draw(st.sampled_from(lived)))
        elif act == "settle":
            case.settle_all()
        else:
            case.harness.pass_time(timedelta(minutes=1))
    case.psp.stage = life[-1]
    case.settle_all()
    case.reconciliation.ask_next()
    case.settle_all()

    assert case.outcome() == reported.outcome()
    assert case.reconciliation.ask_next() is None
    assert case.tallied.ended <= 1
    assert set(case.tallied.outcomes) <= {Outcome.RECORDED, Outcome.KNOWN, Outcome.PENDING}
