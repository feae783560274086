"""Pages for support: a payment with its history, a wallet with its statement, and refunds."""

import uuid
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

from flask import abort, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from services.console.actions import console
from services.console.auth import for_operators, for_visitors
from services.console.i18n import Written, message_of, translate
from services.console.read_routes import LARGEST_ID, asked, console_context, read_page, row_id
from shared.operations.payments.queries import PaymentFilter, find_payments, find_users, show_payment
from shared.operations.payments.request_refund import REFUNDING, CannotRefundError, Refund, request_refund
from shared.operations.payments.wallet_statement import ENTRIES, read_wallet
from shared.runtime.currency import BadAmountError, parse_minor

PAYMENT_STATES = (
    "pending",
    "authorized",
    "completed",
    "partially_refunded",
    "refunded",
    "disputed",
    "charged_back",
    "failed",
    "canceled",
    "expired",
)
#: The largest statement of one page; the command line shows more.
MAX_ENTRIES = 1000

__all__ = ["console"]


@console.get("/payments")
@for_visitors
def show_payments() -> ResponseReturnValue:
    words = request.args.get("words", "").strip()
    state = request.args.get("state") if request.args.get("state") in PAYMENT_STATES else None
    wanted = PaymentFilter(words=words or None, status=state)
    payments, older = read_page(partial(find_payments, console_context().engine, wanted))
    return render_template(
        "payments.html",
        payments=payments,
        older=older,
        asked=asked(),
        states=PAYMENT_STATES,
        users=find_users(console_context().engine, words) if words.isdigit() else [],
    )


@console.post("/payments/search")
@for_visitors
def search_payments() -> ResponseReturnValue:
    """By POST, so that an e-mail address is in no browser's history and in no proxy's log."""
    words, state = request.form.get("words", "").strip()[:200], request.form.get("state", "")
    if "@" not in words:
        return redirect(url_for("console.show_payments", words=words or None, state=state or None))
    users = find_users(console_context().engine, words)
    if len(users) == 1:
        return redirect(url_for("console.show_wallet", user_id=users[0]))
    if users:
        ids = ", ".join(map(str, users))
        flash(translate("Several users have this e-mail address: %(ids)s.", ids=ids))
    else:
        flash(translate("No user has this e-mail address."))
    return redirect(url_for("console.show_payments"))


@console.get(f"/payments/<int(max={LARGEST_ID}):payment_id>")
@for_visitors
def show_one_payment(payment_id: int) -> ResponseReturnValue:
    details = show_payment(console_context().engine, payment_id)
    if details is None:
        abort(404, translate("There is no payment %(id)s.", id=payment_id))
    return render_template(
        "payment.html",
        details=details,
        payment=details.payment,
        may_refund=g.visitor.may_decide and details.payment.provider in REFUNDING and details.payment.completed_at,
        # the form sent twice is one refund
        key=f"console-{uuid.uuid4()}",
    )


@console.post(f"/payments/<int(max={LARGEST_ID}):payment_id>/refund")
@for_operators
def refund_payment(payment_id: int) -> ResponseReturnValue:
    """First shows what would be refunded; with the confirmation of that page it is asked for."""
    details = show_payment(console_context().engine, payment_id)
    if details is None:
        abort(404, translate("There is no payment %(id)s.", id=payment_id))
    why, key = request.form.get("why", "").strip()[:500], request.form.get("key", "")[:100]
    if not why or not key.startswith("console-"):
        abort(400, translate("Give a reason: it is stored in the audit log."))
    try:
        amount_minor = parse_minor(request.form.get("amount", "").strip(), details.payment.currency)
    except BadAmountError as error:
        abort(400, Written(f"{message_of(error)}."))
    if request.form.get("confirmed") != "yes":
        return render_template("refund.html", payment=details.payment, amount_minor=amount_minor, why=why, key=key)
    wanted = Refund(
        idempotency_key=key, payment_id=payment_id, amount_minor=amount_minor, reason=why, actor_name=g.visitor.name
    )
    try:
        _, is_new = request_refund(console_context().engine, wanted)
        said = translate("A worker requests it from the provider.") if is_new else translate("Already requested.")
        flash(said)
    except CannotRefundError as error:
        flash(translate("Nothing was changed: %(reason)s", reason=error.args[0]))
    return redirect(url_for("console.show_one_payment", payment_id=payment_id))


@console.get(f"/wallets/<int(max={LARGEST_ID}):user_id>")
@for_visitors
def show_wallet(user_id: int) -> ResponseReturnValue:
    at = _instant(request.args.get("at", ""), console_context().zone)
    limit = min(request.args.get("limit", ENTRIES, type=row_id), MAX_ENTRIES)
    wallet = read_wallet(console_context().engine, user_id, console_context().currency, at=at, limit=limit)
    if wallet is None:
        abort(404, translate("There is no user %(id)s.", id=user_id))
    shown_at = f"{at.astimezone(console_context().zone):%Y-%m-%dT%H:%M}" if at else ""
    return render_template("wallet.html", wallet=wallet, at=shown_at, most_entries=MAX_ENTRIES)


def _instant(said: str, zone: ZoneInfo) -> datetime | None:
    """What the browser's field for a day and a time has, of the school's zone; None where that is none."""
    try:
        at = datetime.fromisoformat(said)
        at = at if at.tzinfo else at.replace(tzinfo=zone)
        # the first and the last day of the calendar have hours that another zone has no date for
        return at.astimezone(UTC).astimezone(zone)
    except (ValueError, OverflowError):
        return None
