"""Chargily's checkouts as its API shows them: made with a bearer key, moved by a test, read back to reconcile."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
from flask import Blueprint, Response, jsonify, redirect, render_template_string, request
from werkzeug.wrappers import Response as AnyResponse

from local.psp.api_faults import Faults
from local.psp.bodies import digest
from local.psp.signed_webhooks import sign

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Simulated payment page</title>
<h1>{{ checkout.amount }} DZD</h1><p>No card, no money: choose how it ends.</p>
{% for status in statuses %}<form method="post" action="/simulator/checkouts/{{ checkout.id }}/{{ status }}">
<input type="hidden" name="browser" value="1"><button>{{ status }}</button></form>{% endfor %}</html>"""
STATUSES = ("paid", "failed", "canceled", "expired")


def checkouts(secrets: tuple[str, ...], faults: Faults, gateway_url: str | None = None) -> Blueprint:
    """The calls under `/api/v2` (and `/test/api/v2`), which want one of `secrets`; with none, any key will do.

    A payer's browser causes a webhook to `gateway_url`, and goes back to the school. A test that moves a checkout
    without a browser causes none, as if it were lost.
    """
    pages = Blueprint("checkouts", __name__)
    kept: dict[str, dict[str, Any]] = {}

    def is_allowed() -> bool:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        return scheme == "Bearer" and (key in secrets if secrets else bool(key))

    def create() -> tuple[Response, int] | Response:
        # by a name of its own: tests count the questions about checkouts
        if wrong := faults.answer_instead("chargily_creation"):
            return wrong
        if not is_allowed():
            return jsonify({"message": "Unauthenticated."}), 401
        wanted = request.get_json(silent=True)
        if not isinstance(wanted, dict) or type(wanted.get("amount")) is not int or wanted.get("currency") != "dzd":
            return jsonify({"message": "amount must be an integer of dinars, currency dzd."}), 422
        checkout_id = digest("checkout", str(len(kept)), str(wanted))
        kept[checkout_id] = _checkout(checkout_id, wanted)
        return jsonify(kept[checkout_id]), 200

    def show(checkout_id: str) -> tuple[Response, int] | Response:
        if wrong := faults.answer_instead("chargily"):
            return wrong
        if not is_allowed():
            return jsonify({"message": "Unauthenticated."}), 401
        if checkout_id not in kept:
            return jsonify({"message": "Not found."}), 404
        return jsonify(kept[checkout_id]), 200

    for base in ("/api/v2", "/test/api/v2"):
        pages.add_url_rule(f"{base}/checkouts", f"create{base}".replace("/", "_"), create, methods=["POST"])
        pages.add_url_rule(f"{base}/checkouts/<checkout_id>", f"show{base}".replace("/", "_"), show)

    def send_webhook(checkout: dict[str, Any]) -> None:
        if gateway_url and secrets:
            _send_webhook(gateway_url, secrets[0], checkout)

    _add_payer(pages, kept, send_webhook)
    return pages


def _add_payer(
    pages: Blueprint, kept: dict[str, dict[str, Any]], send_webhook: Callable[[dict[str, Any]], None]
) -> None:
    def move(checkout_id: str, status: str) -> tuple[Response, int] | AnyResponse:
        if checkout_id not in kept:
            return jsonify({"message": "Not found."}), 404
        kept[checkout_id] |= {"status": status, "updated_at": int(time.time())}
        if status == "paid":
            kept[checkout_id]["payment_method"] = "edahabia"
        if "browser" in request.form:
            send_webhook(kept[checkout_id])
            if onward_url := kept[checkout_id]["success_url" if status == "paid" else "failure_url"]:
                return redirect(onward_url, 303)
        return jsonify(kept[checkout_id]), 200

    def page(checkout_id: str) -> tuple[Response, int] | str:
        if checkout_id not in kept:
            return jsonify({"message": "Not found."}), 404
        return render_template_string(_PAGE, checkout=kept[checkout_id], statuses=STATUSES)

    pages.add_url_rule("/simulator/checkouts/<checkout_id>", "page", page)
    path = f"/simulator/checkouts/<checkout_id>/<any({', '.join(STATUSES)}):status>"
    pages.add_url_rule(path, "move", move, methods=["POST"])


def _send_webhook(gateway_url: str, secret: str, checkout: dict[str, Any]) -> None:
    """Once: a gateway that does not answer finds the end of the payment when it polls."""
    now = datetime.now(UTC)
    event = {
        "id": digest("event", checkout["id"], checkout["status"], str(checkout["updated_at"])),
        "entity": "event",
        "livemode": False,
        "type": f"checkout.{checkout['status']}",
        "data": checkout,
        "created_at": int(now.timestamp()),
        "updated_at": int(now.timestamp()),
    }
    body = json.dumps(event).encode()
    headers = {"Content-Type": "application/json", **sign("chargily", secret, body, now)}
    with suppress(httpx.HTTPError):
        httpx.post(f"{gateway_url}/webhooks/chargily", content=body, headers=headers, timeout=5)


def _checkout(checkout_id: str, wanted: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": checkout_id,
        "entity": "checkout",
        "livemode": False,
        "amount": wanted["amount"],
        "currency": "dzd",
        "fees_on_merchant": 0,
        "status": "pending",
        "metadata": wanted.get("metadata"),
        "success_url": wanted.get("success_url"),
        "failure_url": wanted.get("failure_url") or wanted.get("success_url"),
        "checkout_url": f"{request.url_root}simulator/checkouts/{checkout_id}",
        "payment_method": None,
        "created_at": int(time.time()),
        "updated_at": int(time.time()),
    }
