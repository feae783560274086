"""Stripe's API as documented: payment intents, checkout sessions, charges, refunds and disputes, which a test moves."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from flask import Blueprint, Response, jsonify, request

from local.psp.api_faults import Faults
from local.psp.bodies import Json, digest

#: What Stripe keeps of a payment of 100, and of a dispute.
FEE_PERCENT: Final = 3
DISPUTE_FEE_MINOR: Final = 1500
#: The last is none that Stripe documents.
REFUND_STATES: Final = ("pending", "succeeded", "failed", "canceled", "undecided")
DISPUTE_STATES: Final = ("needs_response", "under_review", "won", "lost")
Answer = tuple[Response, int]


class ApiError(Exception):
    """Stripe says no, in its own form."""

    def __init__(self, status: int, message: str, code: str | None = None, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        error = {"type": kind, "message": message, "code": code}
        self.status, self.body = status, {"error": {name: value for name, value in error.items() if value}}


class StripeAccount:
    """All objects of one account, in memory, each as the API shows it when everything is expanded."""

    def __init__(self) -> None:
        self.intents: dict[str, Json] = {}
        self.charges: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self.disputes: dict[str, Json] = {}
        self.sessions: dict[str, Json] = {}
        #: By idempotency key, the parameters of the first request and its answer.
        self._answers: dict[str, tuple[Json, Json]] = {}

    def begin(self, intent_id: str, amount: int, currency: str, metadata: Mapping[str, str]) -> Json:
        """A payment that nobody has paid yet."""
        intent = {
            **_head("payment_intent", intent_id),
            "amount": amount,
            "amount_capturable": 0,
            "amount_received": 0,
            "capture_method": "automatic",
            "currency": currency,
            "customer": None,
            "last_payment_error": None,
            "latest_charge": None,
            "metadata": dict(metadata),
            "status": "requires_payment_method",
        }
        self.intents[intent_id] = intent
        return intent

    def check_out(self, session_id: str, amount: int, currency: str, client_reference_id: str | None) -> Json:
        """A checkout session that the payer has not opened yet: it has no payment intent."""
        self.sessions[session_id] = {
            **_head("checkout.session", session_id),
            "amount_total": amount,
            "client_reference_id": client_reference_id,
            "currency": currency,
            "customer": None,
            "metadata": {},
            "mode": "payment",
            "payment_intent": None,
            "payment_intent_data": {},
            "payment_status": "unpaid",
            "status": "open",
        }
        return self.sessions[session_id]

    def open_session(self, form: Mapping[str, str], key: str | None, root: str) -> Json:
        """The checkout session that is asked for; the same one again for the same key."""
        given = dict(form)
        if key is not None and key in self._answers:
            return self._answers[key][1]
        session_id = f"cs_test_{digest('session', str(len(self.sessions)), str(given))}"
        price = "line_items[0][price_data]"
        amount, currency = int(given[f"{price}[unit_amount]"]), given[f"{price}[currency]"]
        session = self.check_out(session_id, amount, currency, given.get("client_reference_id"))
        session |= {
            "metadata": _nested(given, "metadata"),
            "payment_intent_data": _nested(given, "payment_intent_data[metadata]"),
            "url": f"{root}simulator/stripe/sessions/{session_id}/pay",
        }
        if key is not None:
            self._answers[key] = (given, session)
        return session

    def pay_session(self, session_id: str) -> Json:
        """The payer pays on the session's page: the intent is made, with the metadata that were given for it."""
        session = self.find(self.sessions, session_id)
        intent_id = f"pi_{digest(session_id, 'intent')}"
        self.begin(intent_id, session["amount_total"], session["currency"], session["payment_intent_data"])
        self.pay(intent_id)
        session |= {"payment_intent": intent_id, "payment_status": "paid", "status": "complete", "url": None}
        return session

    def fail_session(self, session_id: str) -> Json:
        """The payer chose a method that pays later, and it did not pay."""
        session = self.find(self.sessions, session_id)
        intent_id = f"pi_{digest(session_id, 'intent')}"
        self.begin(intent_id, session["amount_total"], session["currency"], session["payment_intent_data"])
        self.decline(intent_id)
        session |= {"payment_intent": intent_id, "status": "complete", "url": None}
        return session

    def expire_session(self, session_id: str) -> Json:
        session = self.find(self.sessions, session_id)
        session["status"] = "expired"
        return session

    def decline(self, intent_id: str) -> Json:
        """The card is declined; the payer may try another one."""
        intent = self.find(self.intents, intent_id)
        intent |= {"status": "requires_payment_method", "last_payment_error": {"message": "Your card was declined."}}
        return intent

    def pay(self, intent_id: str) -> Json:
        """The payer pays all of it, and Stripe takes its fee."""
        intent = self.find(self.intents, intent_id)
        fee = intent["amount"] * FEE_PERCENT // 100
        charge_id = f"ch_{digest(intent_id, 'charge')}"
        self.charges[charge_id] = {
            **_head("charge", charge_id),
            "amount": intent["amount"],
            "amount_captured": intent["amount"],
            "amount_refunded": 0,
            "balance_transaction": _movement("charge", charge_id, intent["amount"], fee, intent["currency"]),
            "captured": True,
            "currency": intent["currency"],
            "disputed": False,
            "metadata": intent["metadata"],
            "paid": True,
            "payment_intent": intent_id,
            "payment_method_details": {"type": "card", "card": {"brand": "visa"}},
            "refunded": False,
            "status": "succeeded",
        }
        intent |= {"status": "succeeded", "amount_received": intent["amount"], "latest_charge": charge_id}
        return intent

    def hold(self, intent_id: str) -> Json:
        """The payer agrees, and nothing is collected yet."""
        intent = self.pay(intent_id)
        charge = self.charges[intent["latest_charge"]]
        charge |= {"captured": False, "amount_captured": 0, "balance_transaction": None}
        intent |= {"status": "requires_capture", "amount_received": 0, "amount_capturable": intent["amount"]}
        return intent

    def capture(self, intent_id: str, amount: int) -> Json:
        """So much of a hold is collected; the rest is released, and counts as refunded."""
        intent = self.find(self.intents, intent_id)
        if intent["status"] != "requires_capture" or not 0 < amount <= intent["amount_capturable"]:
            raise ApiError(400, f"This PaymentIntent could not be captured: {amount} of {intent['amount_capturable']}.")
        charge = self.charges[intent["latest_charge"]]
        fee = amount * FEE_PERCENT // 100
        charge |= {
            "captured": True,
            "amount_captured": amount,
            "amount_refunded": intent["amount"] - amount,
            "balance_transaction": _movement("charge", charge["id"], amount, fee, intent["currency"]),
        }
        intent |= {"status": "succeeded", "amount_received": amount, "amount_capturable": 0}
        return intent

    def cancel(self, intent_id: str) -> Json:
        intent = self.find(self.intents, intent_id)
        intent |= {"status": "canceled", "cancellation_reason": "abandoned"}
        return intent

    def refund(self, params: Mapping[str, str], key: str | None) -> Json:
        """A refund; the same one again where it is asked for with the same key."""
        given = dict(params)
        if key is not None and key in self._answers:
            first, answer = self._answers[key]
            if first != given:
                raise ApiError(400, "Keys for idempotent requests can only be used with the same parameters they were "
                               "first used with.", kind="idempotency_error")  # fmt: skip
            return answer
        charge = self._charge_of(given)
        # the rest of a hold that was not captured counts as refunded
        left = (charge["amount"] if charge["captured"] else 0) - charge["amount_refunded"]
        amount = int(given.get("amount", left))
        if amount > left or amount < 1:
            raise ApiError(400, f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
                           "charge_already_refunded" if not left else "amount_too_large")  # fmt: skip
        refund_id = f"re_{digest(charge['id'], str(len(self.refunds)))}"
        metadata = {name[9:-1]: value for name, value in given.items() if name.startswith("metadata[")}
        refund = {
            **_head("refund", refund_id),
            "amount": amount,
            "balance_transaction": _movement("refund", refund_id, -amount, 0, charge["currency"]),
            "charge": charge["id"],
            "currency": charge["currency"],
            "metadata": metadata,
            "payment_intent": charge["payment_intent"],
            "reason": None,
            "status": "succeeded",
        }
        del refund["livemode"]  # Stripe's refunds have none
        self.refunds[refund_id] = refund
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        if key is not None:
            self._answers[key] = (given, dict(refund))
        return refund

    def move_refund(self, refund_id: str, status: str) -> Json:
        """A refund goes on; one that fails gives the money back to the account."""
        refund = self.find(self.refunds, refund_id)
        if status in ("failed", "canceled") and refund["status"] not in ("failed", "canceled"):
            self.charges[refund["charge"]]["amount_refunded"] -= refund["amount"]
            movement = _movement("refund_failure", refund_id, refund["amount"], 0, refund["currency"])
            refund |= {"failure_balance_transaction": movement, "failure_reason": "lost_or_stolen_card"}
        refund["status"] = status
        return refund

    def dispute(self, intent_id: str, amount: int) -> Json:
        charge = self._charge_of({"payment_intent": intent_id})
        dispute_id = f"dp_{digest(charge['id'], str(len(self.disputes)))}"
        taken = _movement("adjustment", dispute_id, -amount, DISPUTE_FEE_MINOR, charge["currency"])
        self.disputes[dispute_id] = {
            **_head("dispute", dispute_id),
            "amount": amount,
            "balance_transactions": [taken],
            "charge": charge["id"],
            "currency": charge["currency"],
            "metadata": {},
            "payment_intent": intent_id,
            "reason": "fraudulent",
            "status": "needs_response",
        }
        charge["disputed"] = True
        return self.disputes[dispute_id]

    def move_dispute(self, dispute_id: str, status: str) -> Json:
        dispute = self.find(self.disputes, dispute_id)
        if status == "won" and dispute["status"] != "won":
            back = _movement("adjustment", f"{dispute_id} won", dispute["amount"], 0, dispute["currency"])
            dispute["balance_transactions"] = [*dispute["balance_transactions"], back]
        dispute["status"] = status
        return dispute

    def page(self, objects: Mapping[str, Json], wanted: Mapping[str, str]) -> tuple[list[Json], bool]:
        """A page of those of one payment, the newest first, and whether there are more."""
        named = {name: wanted[name] for name in ("payment_intent", "charge") if name in wanted}
        found = [
            one for one in reversed(list(objects.values())) if all(one[name] == value for name, value in named.items())
        ]
        ids = [one["id"] for one in found]
        start = ids.index(wanted["starting_after"]) + 1 if wanted.get("starting_after") in ids else 0
        end = start + int(wanted.get("limit", 10))
        return found[start:end], end < len(found)

    def _charge_of(self, params: Mapping[str, str]) -> Json:
        if "payment_intent" in params:
            charge_id = self.find(self.intents, params["payment_intent"])["latest_charge"]
            if charge_id is None:
                raise ApiError(400, "This PaymentIntent does not have a successful charge to refund.")
            return self.charges[charge_id]
        return self.find(self.charges, params.get("charge", ""))

    @staticmethod
    def find(objects: Mapping[str, Json], object_id: str) -> Json:
        """Raises ApiError where there is none."""
        if object_id not in objects:
            raise ApiError(404, f"No such object: '{object_id}'", "resource_missing")
        return objects[object_id]


def stripe_api(account: StripeAccount, keys: tuple[str, ...], faults: Faults) -> Blueprint:
    """The calls under `/v1`, which want one of `keys` (with none, any key will do), and a test's own calls."""
    pages = Blueprint("stripe_api", __name__)

    def answer_with(act: Callable[..., Json], names: Mapping[str, Any]) -> Answer:
        try:
            return jsonify(act(**names)), 200
        except ApiError as error:
            return jsonify(error.body), error.status

    def call(path: str, act: Callable[..., Json], method: str = "GET") -> None:
        def view(**names: str) -> Answer | Response:
            if wrong := faults.answer_instead("stripe"):
                return wrong
            scheme, _, key = request.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or not (key in keys if keys else key):
                return jsonify({"error": {"type": "invalid_request_error", "message": "Invalid API Key provided"}}), 401
            return answer_with(act, names)

        pages.add_url_rule(f"/v1/{path}", f"{method} {path}", view, methods=[method])

    def control(path: str, act: Callable[..., Json]) -> None:
        def view(**names: Any) -> Answer:
            return answer_with(act, names)

        pages.add_url_rule(f"/simulator/stripe/{path}", f"control {path}", view, methods=["POST"])

    _add_calls(account, call)
    _add_sessions(account, call)
    _add_controls(account, control)
    return pages


def _add_calls(account: StripeAccount, call: Callable[..., None]) -> None:
    def show_intent(intent_id: str) -> Json:
        intent = dict(account.find(account.intents, intent_id))
        expand = _expanded()
        if intent["latest_charge"] and any(one.startswith("latest_charge") for one in expand):
            inner = {one.partition("latest_charge.")[2] for one in expand}
            intent["latest_charge"] = _shown(account.charges[intent["latest_charge"]], inner)
        return intent

    def listed(name: str, objects: Mapping[str, Json]) -> Callable[[], Json]:
        def answer() -> Json:
            found, has_more = account.page(objects, request.args)
            expand = {one.partition("data.")[2] for one in _expanded()}
            data = [one if name == "disputes" else _shown(one, expand) for one in found]
            return {"object": "list", "url": f"/v1/{name}", "has_more": has_more, "data": data}

        return answer

    def refund() -> Json:
        return _shown(account.refund(request.form.to_dict(), request.headers.get("Idempotency-Key")), set())

    call("payment_intents/<intent_id>", show_intent)
    call("charges/<charge_id>", lambda charge_id: _shown(account.find(account.charges, charge_id), _expanded()))
    call("refunds", listed("refunds", account.refunds))
    call("disputes", listed("disputes", account.disputes))
    call("refunds", refund, "POST")


def _add_sessions(account: StripeAccount, call: Callable[..., None]) -> None:
    def show_session(session_id: str) -> Json:
        session = dict(account.find(account.sessions, session_id))
        if session["payment_intent"] and any(one.startswith("payment_intent") for one in _expanded()):
            intent = dict(account.intents[session["payment_intent"]])
            inner = {one.removeprefix("payment_intent.latest_charge.") for one in _expanded()}
            intent["latest_charge"] = intent["latest_charge"] and _shown(
                account.charges[intent["latest_charge"]], inner
            )
            session["payment_intent"] = intent
        return session

    def open_session() -> Json:
        key = request.headers.get("Idempotency-Key")
        return account.open_session(request.form.to_dict(), key, request.url_root)

    call("checkout/sessions", open_session, "POST")
    call("checkout/sessions/<session_id>", show_session)


def _add_controls(account: StripeAccount, control: Callable[..., None]) -> None:
    def begin() -> Json:
        body = request.get_json()
        return account.begin(body["id"], body["amount"], body["currency"], body.get("metadata", {}))

    def check_out() -> Json:
        body = request.get_json()
        return account.check_out(body["id"], body["amount"], body["currency"], body.get("client_reference_id"))

    control("payments", begin)
    control("sessions", check_out)
    control("sessions/<session_id>/pay", account.pay_session)
    control("sessions/<session_id>/fail", account.fail_session)
    control("sessions/<session_id>/expire", account.expire_session)
    control("payments/<intent_id>/capture/<int:amount>", account.capture)
    acts = {"pay": account.pay, "hold": account.hold, "cancel": account.cancel, "decline": account.decline}
    for name, act in acts.items():
        control(f"payments/<intent_id>/{name}", act)
    control("payments/<intent_id>/dispute/<int:amount>", account.dispute)
    control(f"refunds/<refund_id>/<any({', '.join(REFUND_STATES)}):status>", account.move_refund)
    control(f"disputes/<dispute_id>/<any({', '.join(DISPUTE_STATES)}):status>", account.move_dispute)


def _nested(form: Mapping[str, str], name: str) -> dict[str, str]:
    """The pairs of `name[...]` in a form."""
    return {key[len(name) + 1 : -1]: value for key, value in form.items() if key.startswith(f"{name}[")}


def _head(kind: str, object_id: str) -> dict[str, Any]:
    return {"id": object_id, "object": kind, "created": int(time.time()), "livemode": False}


def _movement(kind: str, source: str, amount: int, fee: int, currency: str) -> Json:
    """A movement of the account's balance."""
    return {
        "id": f"txn_{digest(kind, source)}",
        "object": "balance_transaction",
        "amount": amount,
        "created": int(time.time()),
        "currency": currency,
        "fee": fee,
        "net": amount - fee,
        "source": source,
        "status": "available",
        "type": kind,
    }


def _expanded() -> set[str]:
    """The names that the request wants as objects: `expand[0]=data.balance_transaction`."""
    return {value for name, value in request.args.items() if name.startswith("expand")}


def _shown(thing: Json, expand: set[str]) -> Json:
    """The object with the ids of its movements, save those that are to be expanded."""
    shown = dict(thing)
    for name in ("balance_transaction", "failure_balance_transaction"):
        if name not in expand and isinstance(shown.get(name), dict):
            shown[name] = shown[name]["id"]
    return shown
