"""The simulator's HTTP face: SATIM's calls as they are documented, and a payer who does what a test asks for."""

import hmac
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, redirect, render_template_string, request
from werkzeug.wrappers import Response as AnyResponse

from local.psp.api_faults import Faults
from local.psp.chargily_checkouts import checkouts
from local.psp.satim_bank import ACTIONS, DECLINED, PAID, REFUNDED, REVERSED, Bank, Order, RefusedError
from local.psp.stripe_api import StripeAccount, stripe_api
from shared.runtime.currency import format_minor
from shared.runtime.health import healthy

REST = "/payment/rest"
PAY_PAGE = "/payment/merchants/simulator/payment.html"

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Simulated payment page</title>
<h1>Order {{ order.order_number }}</h1>
<p>{{ amount }}.
No card, no money: choose how it ends.</p>
{% for action in actions %}<form method="post" action="/simulator/orders/{{ order.md_order }}/{{ action }}">
<input type="hidden" name="browser" value="1"><button>{{ action }}</button></form>{% endfor %}</html>"""


def simulator(
    bank: Bank,
    *,
    username: str,
    password: str,
    chargily_secrets: tuple[str, ...] = (),
    stripe_keys: tuple[str, ...] = (),
    gateway_url: str | None = None,
) -> Flask:
    """The web application; SATIM's calls want `username` and `password`, Chargily's and Stripe's one of their keys.

    `gateway_url` gets Chargily's webhook when somebody pays in a browser.
    """
    app = Flask("local.psp")
    faults = Faults()
    app.register_blueprint(faults.pages())
    app.register_blueprint(checkouts(chargily_secrets, faults, gateway_url))
    app.register_blueprint(stripe_api(StripeAccount(), stripe_keys, faults))
    _add_satim(app, bank, faults, (("userName", username), ("password", password)))
    _add_payer(app, bank)
    return app


def _add_satim(app: Flask, bank: Bank, faults: Faults, pairs: tuple[tuple[str, str], ...]) -> None:
    """SATIM's calls; each wants these `pairs` among its parameters."""

    def rest(path: str, answer: Callable[[Mapping[str, str]], dict[str, Any]], code_name: str) -> None:
        def view() -> Response:
            if wrong := faults.answer_instead("satim"):
                return wrong
            form = request.values.to_dict()
            if not all(hmac.compare_digest(form.get(name, "").encode(), value.encode()) for name, value in pairs):
                return jsonify({code_name: "5", code_name.replace("Code", "Message"): "Access denied"})
            try:
                return jsonify(answer(form))
            except RefusedError as error:
                return jsonify({code_name: str(error.code), code_name.replace("Code", "Message"): str(error)})

        app.add_url_rule(f"{REST}/{path}", endpoint=path, view_func=view, methods=["GET", "POST"])

    def register(form: Mapping[str, str]) -> dict[str, Any]:
        order = bank.register(form)
        root = "{0.scheme}://{0.netloc}".format(urlsplit(request.base_url))
        page = f"{root}{PAY_PAGE}?mdOrder={order.md_order}&language={form.get('language', 'fr').lower()}"
        return {"errorCode": 0, "orderId": order.md_order, "formUrl": page}

    def refund(form: Mapping[str, str]) -> dict[str, Any]:
        bank.refund(form.get("orderId", ""), form.get("amount", ""))
        return {"errorCode": 0}

    rest("register.do", register, "errorCode")
    rest(
        "public/acknowledgeTransaction.do", lambda form: _mixed(bank.acknowledge(form.get("mdOrder", ""))), "ErrorCode"
    )
    rest("confirmOrder.do", lambda form: _mixed(bank.acknowledge(form.get("orderId", ""))), "ErrorCode")
    rest("getOrderStatus.do", lambda form: _mixed(bank.find(form.get("orderId", ""))), "ErrorCode")
    rest("getOrderStatusExtended.do", lambda form: _extended(bank.find(form.get("orderId", ""))), "errorCode")
    rest("refund.do", refund, "errorCode")


def _add_payer(app: Flask, bank: Bank) -> None:
    @app.get(PAY_PAGE)
    def pay_page() -> str:
        order = bank.find(request.args.get("mdOrder", ""))
        return render_template_string(
            _PAGE, amount=format_minor(order.amount_minor, "DZD"), order=order, actions=ACTIONS
        )

    @app.get("/simulator/orders/<md_order>")
    def show(md_order: str) -> Response:
        return jsonify(_control(bank.find(md_order)))

    @app.post("/simulator/orders/<md_order>/<any({}):action>".format(", ".join(ACTIONS)))
    def act(md_order: str, action: str) -> AnyResponse:
        order = bank.act(md_order, action)
        return redirect(order.onward_url, 303) if "browser" in request.form else jsonify(_control(order))

    @app.errorhandler(RefusedError)
    def refused(error: RefusedError) -> tuple[Response, int]:
        return jsonify({"error": str(error)}), 404 if error.code == 6 else 409

    app.add_url_rule("/healthz", "healthz", healthy)


def _control(order: Order) -> dict[str, Any]:
    return {"orderId": order.md_order, "orderStatus": order.status, "returnUrl": order.onward_url}


def _mixed(order: Order) -> dict[str, Any]:
    """The older calls' answer: capitals here and there, numbers as numbers and as text."""
    code = "2" if order.status == DECLINED else "0"
    answer: dict[str, Any] = {
        "depositAmount": _deposit_minor(order),
        "currency": "012",
        "actionCode": order.action_code,
        "actionCodeDescription": order.description,
        "ErrorCode": code,
        "ErrorMessage": "Payment is declined" if code == "2" else "Success",
        "OrderStatus": order.status,
        "OrderNumber": order.order_number,
        "Amount": order.amount_minor,
        "params": {"udf1": order.udf1},
    }
    if order.status in (PAID, REFUNDED):
        answer |= {"approvalCode": "913180", "Pan": "6280****7215", "expiration": "202701", "SvfeResponse": "00"}
    if order.status in (PAID, REFUNDED, REVERSED) and order.action_code == 0:
        answer["params"] |= {"respCode": "00", "respCode_desc": order.description}
    return answer


def _extended(order: Order) -> dict[str, Any]:
    """The newer call's answer, in lower camel case."""
    return {
        "errorCode": "0",
        "orderNumber": order.order_number,
        "orderStatus": order.status,
        "actionCode": order.action_code,
        "actionCodeDescription": order.description,
        "amount": order.amount_minor,
        "currency": "012",
        "paymentAmountInfo": {"depositedAmount": _deposit_minor(order), "refundedAmount": order.refunded_minor},
        "merchantOrderParams": [{"name": "udf1", "value": order.udf1}],
        "attributes": [{"name": "mdOrder", "value": order.md_order}],
    }


def _deposit_minor(order: Order) -> int:
    return order.amount_minor - order.refunded_minor if order.status in (PAID, REFUNDED) else 0
