"""The order in which an untrusted request is taken: prove it, then read it, then keep it, and only then remember it."""

import ast
import inspect
from datetime import UTC, datetime

import pytest

from local.psp.signed_webhooks import Payment, sign, signed
from services.webhook_gateway.errors import InvalidSignatureError, UnreadableEventError
from services.webhook_gateway.inbox.accept import AcceptStatus, InsertResult, WebhookEvent, accept
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers import signatures
from services.webhook_gateway.providers.base import PaymentNotice, Proof, Request
from services.webhook_gateway.providers.generic import Generic
from tests.webhook_gateway.fakes import NoRateLimit

SECRET = "order-of-steps"


class RefusalsAllowed(NoRateLimit):
    def count_refusal(self, provider: str) -> None:
        """Refusals do not matter here."""


class Recording:
    """A provider that notes what it is asked for, and believes nobody."""

    name = "recording"
    methods = frozenset({"POST"})
    kept_headers: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.asked: list[str] = []

    def verify(self, request: Request) -> Proof:
        self.asked.append("verify")
        raise InvalidSignatureError("nobody signed it")

    def parse(self, request: Request) -> PaymentNotice:
        self.asked.append("parse")
        return PaymentNotice(key="k", kind="paid", stage=Stage.COMPLETED)


class FailsOnce:
    """An inbox whose database is away at the first delivery."""

    def __init__(self) -> None:
        self.kept: list[WebhookEvent] = []
        self._away = True

    def keep(self, entry: WebhookEvent) -> InsertResult:
        if self._away:
            self._away = False
            raise ConnectionError("the database is away")
        self.kept.append(entry)
        return InsertResult(len(self.kept), True, entry.body_sha256)


def test_nothing_is_read_of_a_request_that_nobody_signed() -> None:
    psp, inbox = Recording(), FailsOnce()
    with pytest.raises(InvalidSignatureError):
        accept(psp, Request("POST", {}, b"{}"), inbox, lambda: None, RefusalsAllowed())
    assert psp.asked == ["verify"]
    assert inbox.kept == []


def test_an_event_that_could_not_be_kept_is_no_duplicate_when_it_comes_again() -> None:
    delivery = signed("generic", [SECRET], Payment(reference="t1", amount_minor=100, user_id=1))
    headers = {name.lower(): value for name, value in delivery.headers.items()}
    request, inbox = Request("POST", headers, delivery.body), FailsOnce()
    with pytest.raises(ConnectionError):
        accept(Generic([SECRET]), request, inbox, lambda: None, RefusalsAllowed())

    receipt = accept(Generic([SECRET]), request, inbox, lambda: None, RefusalsAllowed())

    assert receipt.status is AcceptStatus.ACCEPTED
    assert len(inbox.kept) == 1


def test_proofs_are_compared_in_constant_time_alone() -> None:
    """Time cannot be tested well, so the source is: HMACs meet in compare_digest and nowhere else."""
    tree = ast.parse(inspect.getsource(signatures.matching_secret))
    called = {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    compared = [op for node in ast.walk(tree) if isinstance(node, ast.Compare) for op in node.ops]
    assert "compare_digest" in called
    assert not any(isinstance(op, ast.Eq | ast.NotEq | ast.In) for op in compared)


@pytest.mark.parametrize("amount", ["25.10", "2510.0", "1e3", "9007199254740993.0"])
def test_an_amount_with_a_decimal_point_is_put_aside(amount: str) -> None:
    body = f'{{"transaction_id": "t", "amount": {amount}, "currency": "DZD", "status": "paid"}}'.encode()
    headers = {name.lower(): value for name, value in sign("generic", SECRET, body, datetime.now(UTC)).items()}
    with pytest.raises(UnreadableEventError, match="integer"):
        Generic([SECRET]).parse(Request("POST", headers, body))
