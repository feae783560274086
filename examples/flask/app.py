"""A school's back end on Flask: checkouts, uploads, lessons, and the events that Nouba sends.

pip install flask httpx standardwebhooks
export NOUBA_URL=... NOUBA_TOKEN=... NOUBA_EVENTS_SECRET=whsec_...  # examples/README.md prints them
flask --app examples/flask/app.py run --port 3000
"""

import os
import sqlite3
from contextlib import closing

import httpx
from flask import Flask, abort, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from standardwebhooks import Webhook, WebhookVerificationError

app = Flask(__name__)


def nouba(method: str, path: str, **request_options: object) -> dict[str, object]:
    """A call of Nouba's API; a refusal becomes ours, with the sentence that says what to do."""
    headers = {"Authorization": f"Bearer {os.environ['NOUBA_TOKEN']}"}
    answer = httpx.request(method, os.environ["NOUBA_URL"] + path, headers=headers, timeout=15, **request_options)
    if answer.is_error:
        refusal = jsonify(error=answer.json().get("detail", "Nouba refused"))
        refusal.status_code = answer.status_code
        abort(refusal)
    found: dict[str, object] = answer.json()
    return found


@app.post("/orders/<order_number>/pay")
def pay(order_number: str) -> ResponseReturnValue:
    """Send the payer to the provider. Sent twice, it is the same checkout."""
    checkout = nouba(
        "POST",
        "/api/v1/checkouts",
        json={
            "provider": request.form.get("provider", "chargily"),
            # from your session and your own price list: never from the browser
            "user_id": 7,
            "order_number": order_number,
            "amount_minor": 250_000,
            "currency": "DZD",
            "return_url": f"{request.host_url}orders/{order_number}",
        },
    )
    return redirect(str(checkout["redirect_url"]), 303)


@app.get("/orders/<order_number>")
def show_order(order_number: str) -> ResponseReturnValue:
    """Where the payer comes back to. The return proves nothing; the payment does."""
    page = nouba("GET", "/api/v1/payments", params={"order_number": order_number})
    payments = page["items"]
    assert isinstance(payments, list)
    return jsonify(order_number=order_number, is_paid=any(one["status"] == "completed" for one in payments))


@app.post("/courses/<int:course_id>/upload")
def begin_upload(course_id: int) -> ResponseReturnValue:
    """Where the teacher's browser puts the file: the bytes never pass through this application."""
    return jsonify(nouba("POST", f"/api/v1/courses/{course_id}/video", json=request.get_json()))


@app.post("/courses/<int:course_id>/upload/complete")
def complete_upload(course_id: int) -> ResponseReturnValue:
    """The browser has put the whole file; Nouba transcodes it."""
    return jsonify(nouba("POST", f"/api/v1/courses/{course_id}/video/complete", json=request.get_json())), 202


@app.get("/courses/<int:course_id>/lesson")
def play(course_id: int) -> ResponseReturnValue:
    """The address for the player, for one viewer who may watch: check that first."""
    return jsonify(nouba("GET", f"/api/v1/courses/{course_id}/playback", params={"viewer": "7"}))


@app.post("/nouba-events")
def receive_event() -> ResponseReturnValue:
    """An event of Nouba's, signed as Standard Webhooks has it; it may come more than once."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        event = Webhook(os.environ["NOUBA_EVENTS_SECRET"]).verify(request.get_data(), headers)
    except WebhookVerificationError:
        abort(401)
    # the id and what the event changes are one transaction: a crash in between loses neither
    with closing(sqlite3.connect(os.environ.get("SCHOOL_DATABASE", "school.sqlite3"))) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS nouba_events (id TEXT UNIQUE, type TEXT)")
        new = database.execute(
            "INSERT INTO nouba_events VALUES (?, ?) ON CONFLICT DO NOTHING", (headers["webhook-id"], event["type"])
        ).rowcount
        if new:
            app.logger.info("event %s", event["type"])
    return "", 204
