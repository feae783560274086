"""SATIM: what strangers may say, and what the bank's answers mean."""

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask, request

from local.psp.satim_bank import Bank
from local.psp.satim_client import SatimClient
from local.psp.server import REST, simulator
from services.webhook_gateway.errors import InvalidSignatureError, ProviderUnavailableError, UnreadableEventError
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers.base import ConfirmsPayments, PaymentNotice, Provider, Request
from services.webhook_gateway.providers.satim.webhooks import Satim
from tests.webhook_gateway.providers.conftest import Serve
from tests.webhook_gateway.providers.recordings import build

MERCHANT: dict[str, Any] = {"username": "merchant", "password": "merchant-password"}
HINT = PaymentNotice(key="kept", kind="redirect", reference="V721uPPfNNofVQAAABL3", hint=True)
ACKNOWLEDGE = "public/acknowledgeTransaction.do"
#: A paid order as the certification console shows it.
PAID: dict[str, Any] = {
    "expiration": "202701",
    "depositAmount": 100320,
    "currency": "012",
    "actionCode": 0,
    "actionCodeDescription": "Votre paiement a été accepté",
    "ErrorCode": "0",
    "ErrorMessage": "Success",
    "OrderStatus": 2,
    "OrderNumber": "CMD0000004",
    "Pan": "6280****7215",
    "Amount": 100320,
    "params": {"respCode": "00", "respCode_desc": "Votre paiement a été accepté", "udf1": "Bill00001"},
}


class ScriptedBank:
    """A bank that gives the answers it was given, and remembers how it was asked."""

    def __init__(self, serve: Serve, **answers: Any) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        app = Flask("scripted_bank")

        @app.post("/<path:call>")
        def answer(call: str) -> Any:
            self.asked.append((call, request.form.to_dict()))
            return answers.get(call.rpartition("/")[2].removesuffix(".do")) or ("Not here", 404)

        self.psp = Satim(**MERCHANT, base_url=serve(app))


def asked(serve: Serve, answer: dict[str, Any]) -> PaymentNotice:
    return ScriptedBank(serve, acknowledgeTransaction=answer).psp.ask(HINT)


def hint(psp: Provider, query: str) -> PaymentNotice:
    incoming = Request("GET", {}, query.encode())
    psp.verify(incoming)
    return psp.parse(incoming)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "orderId=",
        "orderId=one&orderId=two",
        "orderId=one&orderId=one",
        "mdOrder=one&orderId=two",
        "orderId=one;two",
        "orderId=one&a%3Bb=1",
        "orderId=one%00",
        "orderId=%FF",
        "orderId=é",
        "orderId=../one",
        "orderId=" + "a" * 65,
        "mdOrder=one&operation=deposited%20now",
        "lang=fr",
        "&".join(["orderId=one", *(f"a{number}=1" for number in range(50))]),
    ],
)
def test_a_hint_that_two_readers_could_read_differently_is_refused(query: str) -> None:
    psp = Satim(**MERCHANT, base_url="https://bank.example")

    with pytest.raises((InvalidSignatureError, UnreadableEventError)):
        hint(psp, query)


@pytest.mark.parametrize("query", ["", "lang=fr", "orderId=one&orderId=two", "orderId=%FF", "operation=deposited"])
def test_a_stranger_who_names_no_order_leaves_nothing_behind(query: str) -> None:
    with pytest.raises(InvalidSignatureError):
        Satim(**MERCHANT, base_url="https://bank.example").verify(Request("GET", {}, query.encode()))


def test_where_callbacks_are_signed_one_without_a_checksum_is_refused() -> None:
    settings = {"satim_username": "a", "satim_password": "b"}
    psp = build("cib", settings | {"satim_checksum_mode": "hmac_sha256", "satim_checksum_keys": "key"}, None)

    for query in (b"mdOrder=one&operation=deposited&status=1", b"orderId=one&operation=deposited", b"mdOrder=one"):
        with pytest.raises(InvalidSignatureError):
            psp.verify(Request("GET", {}, query))


def test_a_paid_order_is_what_the_bank_says_and_no_longer_a_hint(serve: Serve) -> None:
    bank = ScriptedBank(serve, acknowledgeTransaction=PAID)

    assert isinstance(bank.psp, ConfirmsPayments)
    assert bank.psp.ask(HINT) == PaymentNotice(
        key="kept",
        kind="redirect",
        reference=HINT.reference,
        order_number="CMD0000004",
        stage=Stage.COMPLETED,
        amount_minor=100320,
        refunded_minor=0,
        currency="DZD",
        method="card",
    )
    form = {"userName": "merchant", "password": "merchant-password", "mdOrder": HINT.reference, "language": "FR"}
    assert bank.asked == [(ACKNOWLEDGE, form)]


@pytest.mark.parametrize(
    ("changes", "stage", "refunded"),
    [
        ({"OrderStatus": "2", "Amount": "100320", "depositAmount": "100320.00", "ErrorCode": 0}, Stage.COMPLETED, 0),
        ({"OrderStatus": 1}, Stage.AUTHORIZED, 0),
        ({"OrderStatus": -1, "ErrorCode": "2"}, Stage.FAILED, 0),
        ({"OrderStatus": 6, "ErrorCode": "2", "actionCode": 2003}, Stage.FAILED, 0),
        ({"OrderStatus": 6, "ErrorCode": "2", "actionCode": "10"}, Stage.CANCELED, 0),
        ({"OrderStatus": 0, "actionCode": -2007}, Stage.EXPIRED, 0),
        ({"OrderStatus": 3}, Stage.FAILED, 100320),  # the certification's case: respCode 00 and yet rejected
        ({"OrderStatus": 3, "params": {}}, Stage.CANCELED, 100320),
        ({"OrderStatus": 4, "depositAmount": 40320}, Stage.COMPLETED, 60000),
        ({"OrderStatus": 4, "depositAmount": 0}, Stage.COMPLETED, 100320),
        ({"OrderStatus": 4, "paymentAmountInfo": {"refundedAmount": 500}}, Stage.COMPLETED, 500),
    ],
    ids=str,
)
def test_each_state_of_an_order_is_one_of_ours(
    serve: Serve, changes: dict[str, Any], stage: Stage, refunded: int
) -> None:
    notice = asked(serve, PAID | changes)

    assert (notice.stage, notice.refunded_minor, notice.amount_minor) == (stage, refunded, 100320)
    assert notice.hint is False
    assert (notice.failure_reason is None) == (stage is Stage.COMPLETED)


@pytest.mark.parametrize(
    "figures",
    [{"depositAmount": None}, {}, {"paymentAmountInfo": {"refundedAmount": 0}}, {"depositAmount": 100321},
     {"paymentAmountInfo": {"refundedAmount": 100321}}, {"depositAmount": "all"}],
    ids=str,
)  # fmt: skip
def test_a_refund_whose_figures_do_not_say_how_much_is_unreadable(serve: Serve, figures: dict[str, Any]) -> None:
    with pytest.raises(UnreadableEventError, match="Amount 100320, depositAmount"):
        asked(serve, PAID | {"OrderStatus": 4} | figures)


def test_what_was_collected_counts_and_not_what_was_ordered(serve: Serve) -> None:
    assert asked(serve, PAID | {"depositAmount": 100000}).amount_minor == 100000


@pytest.mark.parametrize("status", [0, 5])
def test_an_order_that_is_not_decided_is_asked_for_again(serve: Serve, status: int) -> None:
    with pytest.raises(ProviderUnavailableError, match="has not finished"):
        asked(serve, PAID | {"OrderStatus": status, "depositAmount": 0})


@pytest.mark.parametrize(
    "changes",
    [
        {"OrderStatus": 7},
        {"Amount": None, "depositAmount": None},
        {"Amount": -1, "depositAmount": 0},
        {"Amount": 12.5, "depositAmount": 0},
        {"Amount": True, "depositAmount": 0},
        {"currency": None},
        {"currency": "999"},
    ],
    ids=str,
)
def test_an_answer_that_moves_money_must_be_whole(serve: Serve, changes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableEventError):
        asked(serve, PAID | changes)


@pytest.mark.parametrize(("reported", "currency"), [("012", "DZD"), (12, "DZD"), ("DZD", "DZD"), ("978", "EUR")])
def test_a_currency_may_be_reported_by_number(serve: Serve, reported: Any, currency: str) -> None:
    assert asked(serve, PAID | {"currency": reported}).currency == currency


@pytest.mark.parametrize("refusal", [{"ErrorCode": "2", "ErrorMessage": "Already confirmed"}, {"ErrorCode": 7}, {}])
def test_where_confirming_says_nothing_about_the_state_the_state_is_read(serve: Serve, refusal: dict[str, Any]) -> None:
    extended = {"errorCode": "0", "orderStatus": 2, "orderNumber": "CMD1", "amount": 5000, "currency": "012"}
    bank = ScriptedBank(serve, acknowledgeTransaction=refusal, getOrderStatusExtended=extended)

    assert bank.psp.ask(HINT).amount_minor == 5000
    assert [call for call, _ in bank.asked] == [ACKNOWLEDGE, "getOrderStatusExtended.do"]


def test_where_the_bank_has_switched_a_call_off_the_next_one_is_tried(serve: Serve) -> None:
    bank = ScriptedBank(serve, acknowledgeTransaction={"ErrorCode": "2"}, getOrderStatus=PAID)

    assert bank.psp.ask(HINT).stage is Stage.COMPLETED
    assert [call for call, _ in bank.asked][-1] == "getOrderStatus.do"


def test_paid_with_an_error_code_is_not_paid(serve: Serve) -> None:
    with pytest.raises(ProviderUnavailableError):
        asked(serve, PAID | {"ErrorCode": "7"})


@pytest.mark.parametrize("answer", [("", 500), ("<html>Maintenance</html>", 200), ("[]", 200), ("[" * 9_999, 200)])
def test_an_answer_that_is_none_is_our_reason_to_wait(serve: Serve, answer: Any) -> None:
    with pytest.raises(ProviderUnavailableError):
        asked(serve, answer)


def test_a_bank_that_cannot_be_reached_is_our_reason_to_wait_and_no_secret_is_reported() -> None:
    with pytest.raises(ProviderUnavailableError) as refusal:
        Satim(**MERCHANT, base_url="http://127.0.0.1:9").ask(HINT)

    assert "merchant" not in str(refusal.value)


def test_wrong_credentials_are_named_by_their_setting(bank_url: str) -> None:
    psp = Satim(username="merchant", password="another", base_url=bank_url)

    with pytest.raises(ProviderUnavailableError, match="NOUBA_PSP_SATIM_USERNAME"):
        psp.ask(HINT)


def test_an_order_that_the_bank_does_not_know_says_nothing_about_a_payment(bank_url: str) -> None:
    notice = Satim(**MERCHANT, base_url=bank_url).ask(HINT)

    assert (notice.reference, notice.hint, notice.key) == (None, False, "kept")


@pytest.mark.parametrize(
    ("what", "stage"), [("paid", Stage.COMPLETED), ("failed", Stage.FAILED), ("expired", Stage.EXPIRED)]
)
def test_an_order_at_the_simulated_bank_ends_as_its_payer_wanted(bank_url: str, what: str, stage: Stage) -> None:
    orders = SatimClient(bank_url, **MERCHANT)
    order = orders.open("CMD0000004", 100320)
    psp = Satim(**MERCHANT, base_url=bank_url)

    with pytest.raises(ProviderUnavailableError):
        psp.ask(replace(HINT, reference=order))
    orders.end(order, what)
    notice = psp.ask(replace(HINT, reference=order))

    assert (notice.stage, notice.order_number, notice.amount_minor) == (stage, "CMD0000004", 100320)


def test_asking_twice_says_the_same_even_where_an_order_can_be_confirmed_only_once(serve: Serve) -> None:
    bank = Bank(acknowledge_once=True)
    base_url = serve(simulator(bank, **MERCHANT)) + REST
    orders = SatimClient(base_url, **MERCHANT)
    order = orders.open("CMD0000004", 100320)
    orders.end(order)
    psp = Satim(**MERCHANT, base_url=base_url)

    assert psp.ask(replace(HINT, reference=order)) == psp.ask(replace(HINT, reference=order))
    bank.refund(order, "20")
    assert psp.ask(replace(HINT, reference=order)).refunded_minor == 20
