"""The simulated bank answers as SATIM is documented to."""

import hmac
import json
import subprocess
import sys
from typing import Any

import httpx
import pytest
from flask import Flask, request

from local.psp.satim_bank import Bank
from local.psp.server import simulator
from tests.local.psp.conftest import Clock
from tests.webhook_gateway.providers.servers import serving

CREDENTIALS = {"userName": "merchant", "password": "merchant-password"}
ORDER = {
    **CREDENTIALS,
    "orderNumber": "CMD0000004",
    "amount": "100320",
    "currency": "012",
    "returnUrl": "https://school.example/paid",
    "failUrl": "https://school.example/failed?again=1",
    "language": "FR",
    "jsonParams": json.dumps({"force_terminal_id": "E010101010", "udf1": "Bill00001"}),
}


def register(bank: httpx.Client, **changes: str) -> dict[str, Any]:
    answer: dict[str, Any] = bank.post("/register.do", data=ORDER | changes).json()
    return answer


def act(bank_url: str, order: str, action: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(f"{bank_url}/simulator/orders/{order}/{action}").json()
    return answer


def read(bank: httpx.Client, call: str, order: str) -> dict[str, Any]:
    name = "mdOrder" if "acknowledge" in call else "orderId"
    answer: dict[str, Any] = bank.post(call, data={**CREDENTIALS, name: order, "language": "FR"}).json()
    return answer


def test_an_order_gets_an_id_of_twenty_characters_and_a_page(bank: httpx.Client) -> None:
    answer = register(bank)

    assert answer["errorCode"] == 0
    assert len(answer["orderId"]) == 20
    assert "CMD0000004" in httpx.get(answer["formUrl"]).text


def test_calls_work_by_get_too(bank: httpx.Client) -> None:
    assert bank.get("/register.do", params=ORDER).json()["errorCode"] == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"password": "another"}, "5"),
        ({"userName": ""}, "5"),
        ({"orderNumber": ""}, "4"),
        ({"returnUrl": ""}, "4"),
        ({"orderNumber": "CMD00000045"}, "5"),
        ({"orderNumber": "CMD-4"}, "5"),
        ({"amount": "4999"}, "5"),
        ({"amount": "1003.20"}, "5"),
        ({"currency": "978"}, "3"),
        ({"jsonParams": "{}"}, "5"),
        ({"jsonParams": "no"}, "5"),
    ],
)
def test_an_order_that_breaks_a_rule_is_refused_with_its_code(
    bank: httpx.Client, changes: dict[str, str], code: str
) -> None:
    assert register(bank, **changes)["errorCode"] == code


def test_an_order_number_serves_once(bank: httpx.Client) -> None:
    register(bank)

    assert register(bank)["errorCode"] == "1"


def test_a_paid_order_is_reported_in_mixed_case_and_by_the_newer_call_in_lower_camel_case(
    bank: httpx.Client, bank_url: str
) -> None:
    order = register(bank)["orderId"]
    onward = act(bank_url, order, "pay")["returnUrl"]
    older = read(bank, "/public/acknowledgeTransaction.do", order)
    newer = read(bank, "/getOrderStatusExtended.do", order)

    assert onward == f"https://school.example/paid?orderId={order}"
    reported = (older["ErrorCode"], older["OrderStatus"], older["Amount"], older["depositAmount"], older["currency"])
    assert reported == ("0", 2, 100320, 100320, "012")
    assert older["params"]["respCode"] == "00"
    assert (newer["errorCode"], newer["orderStatus"], newer["amount"]) == ("0", 2, 100320)
    assert newer["attributes"] == [{"name": "mdOrder", "value": order}]
    assert read(bank, "/confirmOrder.do", order) == read(bank, "/getOrderStatus.do", order) == older


@pytest.mark.parametrize(
    ("action", "code", "status", "action_code"),
    [("decline", "2", 6, 2003), ("cancel", "2", 6, 10), ("expire", "0", 0, -2007), ("reject", "0", 3, 0)],
)
def test_an_order_that_is_not_paid_says_why(
    bank: httpx.Client, bank_url: str, action: str, code: str, status: int, action_code: int
) -> None:
    order = register(bank)["orderId"]
    onward = act(bank_url, order, action)["returnUrl"]
    answer = read(bank, "/public/acknowledgeTransaction.do", order)

    assert (answer["ErrorCode"], answer["OrderStatus"], answer["actionCode"]) == (code, status, action_code)
    assert onward == f"https://school.example/failed?again=1&orderId={order}"


def test_a_browser_on_the_payment_page_is_sent_back_to_the_school(bank: httpx.Client, bank_url: str) -> None:
    order = register(bank)["orderId"]

    answer = httpx.post(f"{bank_url}/simulator/orders/{order}/pay", data={"browser": "1"})

    assert answer.status_code == 303
    assert answer.headers["Location"] == f"https://school.example/paid?orderId={order}"


def test_a_paid_order_that_nobody_confirms_is_cancelled_and_a_confirmed_one_is_not(
    bank: httpx.Client, bank_url: str, clock: Clock
) -> None:
    forgotten, confirmed = (register(bank, orderNumber=number)["orderId"] for number in ("A1", "A2"))
    for order in (forgotten, confirmed):
        act(bank_url, order, "pay")
    read(bank, "/public/acknowledgeTransaction.do", confirmed)

    clock.seconds = 61

    assert read(bank, "/getOrderStatus.do", forgotten)["OrderStatus"] == 3
    assert read(bank, "/getOrderStatus.do", confirmed)["OrderStatus"] == 2


def test_an_order_that_nobody_pays_expires(bank: httpx.Client, clock: Clock) -> None:
    order = register(bank)["orderId"]

    clock.seconds = 61

    assert read(bank, "/getOrderStatus.do", order)["actionCode"] == -2007


def test_refunds_add_up_to_what_was_paid_and_no_more(bank: httpx.Client, bank_url: str) -> None:
    order = register(bank)["orderId"]

    def refund(amount: str) -> str:
        answer = bank.post("/refund.do", data={**CREDENTIALS, "orderId": order, "amount": amount})
        return str(answer.json()["errorCode"])

    assert refund("20") == "7"
    act(bank_url, order, "pay")
    assert [refund(amount) for amount in ("320", "x", "0", "100000", "1")] == ["0", "5", "5", "0", "7"]
    answer = read(bank, "/getOrderStatusExtended.do", order)
    assert answer["orderStatus"] == 4
    assert answer["paymentAmountInfo"] == {"depositedAmount": 0, "refundedAmount": 100320}


def test_an_unknown_order_is_error_six_and_a_payer_cannot_touch_it(bank: httpx.Client, bank_url: str) -> None:
    assert read(bank, "/public/acknowledgeTransaction.do", "nothing")["ErrorCode"] == "6"
    assert read(bank, "/getOrderStatusExtended.do", "nothing")["errorCode"] == "6"
    assert httpx.post(f"{bank_url}/simulator/orders/nothing/pay").status_code == 404


def test_chargilys_checkouts_are_made_moved_and_read_back_with_the_key_alone(bank_url: str) -> None:
    key = {"Authorization": "Bearer test_sk_a"}
    checkouts = f"{bank_url}/test/api/v2/checkouts"
    made = httpx.post(checkouts, headers=key, json={"amount": 2500, "currency": "dzd"}).json()
    httpx.post(f"{bank_url}/simulator/checkouts/{made['id']}/paid")

    assert httpx.get(f"{checkouts}/{made['id']}", headers=key).json()["status"] == "paid"
    assert httpx.get(f"{bank_url}/api/v2/checkouts/{made['id']}", headers=key).status_code == 200
    assert httpx.get(f"{checkouts}/nothing", headers=key).status_code == 404
    assert httpx.get(f"{checkouts}/{made['id']}").status_code == 401
    assert httpx.get(f"{checkouts}/{made['id']}", headers={"Authorization": "Bearer other"}).status_code == 401
    assert httpx.post(checkouts, headers=key, json={"amount": "2500", "currency": "dzd"}).status_code == 422


def test_a_payer_in_a_browser_causes_a_signed_webhook_and_returns_to_the_school() -> None:
    received: list[dict[str, Any]] = []
    gateway = Flask("gateway")

    @gateway.post("/webhooks/chargily")
    def receive() -> str:
        expected = hmac.new(b"test_sk_a", request.get_data(), "sha256").hexdigest()
        assert request.headers["signature"] == expected
        received.append(request.get_json())
        return ""

    def create_checkout(url: str) -> dict[str, Any]:
        wanted = {
            "amount": 2500,
            "currency": "dzd",
            "metadata": {"user_id": 7},
            "success_url": "https://school.example/orders/1",
            "failure_url": "https://school.example/failed/1",
        }
        key = {"Authorization": "Bearer test_sk_a"}
        return dict(httpx.post(f"{url}/test/api/v2/checkouts", headers=key, json=wanted).json())

    with serving(gateway) as gateway_url:
        app = simulator(Bank(), username="m", password="p", chargily_secrets=("test_sk_a",), gateway_url=gateway_url)
        with serving(app) as url:
            # When a payer presses a button of the page, then the browser returns and the webhook is sent
            first, second = create_checkout(url), create_checkout(url)
            assert 'name="browser"' in httpx.get(first["checkout_url"]).text
            paid = httpx.post(f"{first['checkout_url']}/paid", data={"browser": "1"})
            failed = httpx.post(f"{second['checkout_url']}/failed", data={"browser": "1"})
            # When a test pays without a browser, then the webhook is lost
            moved = httpx.post(f"{create_checkout(url)['checkout_url']}/paid")

    assert (paid.status_code, paid.headers["Location"]) == (303, "https://school.example/orders/1")
    assert (failed.status_code, failed.headers["Location"]) == (303, "https://school.example/failed/1")
    assert moved.json()["status"] == "paid"
    assert [(body["type"], body["data"]["id"]) for body in received] == [
        ("checkout.paid", first["id"]),
        ("checkout.failed", second["id"]),
    ]


def test_a_payer_returns_though_the_gateway_does_not_answer() -> None:
    app = simulator(
        Bank(), username="m", password="p", chargily_secrets=("test_sk_a",), gateway_url="http://127.0.0.1:9"
    )
    with serving(app) as url:
        wanted = {"amount": 2500, "currency": "dzd", "success_url": "https://school.example/orders/1"}
        key = {"Authorization": "Bearer test_sk_a"}
        made = httpx.post(f"{url}/api/v2/checkouts", headers=key, json=wanted).json()

        assert httpx.post(f"{made['checkout_url']}/paid", data={"browser": "1"}).status_code == 303


def test_the_command_serves_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUBA_LOCAL_PSP_PORT", "0")
    command = [sys.executable, "-m", "local.psp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().partition("NOUBA_PSP_SATIM_BASE_URL=")[2].strip()
        try:
            form = {"userName": "simulator", "password": "simulator", "orderId": "nothing"}
            assert httpx.post(f"{address}/getOrderStatus.do", data=form).json()["ErrorCode"] == "6"
        finally:
            process.terminate()
