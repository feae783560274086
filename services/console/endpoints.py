"""Pages of webhook endpoints: state, deliveries and attempts; enable, disable and replay."""

from datetime import UTC, datetime
from functools import partial

from flask import abort, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from services.console.auth import for_operators, for_visitors
from services.console.i18n import mark, message_of, translate, translate_count
from services.console.payments import console
from services.console.read_routes import LARGEST_ID, SPANS, asked, console_context, read_page
from shared.operations.audit_log import list_entries
from shared.operations.webhook_endpoints.endpoints import (
    DELIVERY_STATES,
    BadEndpointError,
    Endpoints,
    ReplayFilter,
    UnknownEndpointError,
    event_number,
)

_ENABLED = mark(
    "Endpoint %(id)s is enabled. What happened while it was disabled is not sent: replay all events of that time."
)
_DISABLED = mark("Endpoint %(id)s is disabled.")

__all__ = ["console"]


@console.get("/endpoints")
@for_visitors
def show_endpoints() -> ResponseReturnValue:
    endpoints = _endpoints()
    return render_template("endpoints.html", endpoints=endpoints.find_all(), waiting=endpoints.count_pending())


@console.get(f"/endpoints/<int(max={LARGEST_ID}):endpoint_id>")
@for_visitors
def show_endpoint(endpoint_id: int) -> ResponseReturnValue:
    state = request.args.get("state") if request.args.get("state") in DELIVERY_STATES else None
    endpoints = _endpoints()
    try:
        endpoint = endpoints.show(endpoint_id)
        deliveries, older = read_page(partial(endpoints.deliveries, endpoint_id, state=state))
    except UnknownEndpointError as error:
        abort(404, message_of(error))
    acts = list_entries(console_context().engine, of_id=endpoint_id)
    return render_template(
        "endpoint.html",
        endpoint=endpoint,
        deliveries=deliveries,
        older=older,
        asked=asked(),
        states=DELIVERY_STATES,
        spans=SPANS,
        acts=[act for act in acts if act.what.startswith("endpoints.")],
    )


@console.post(f"/endpoints/<int(max={LARGEST_ID}):endpoint_id>/switch")
@for_operators
def switch_endpoint(endpoint_id: int) -> ResponseReturnValue:
    if (wanted := request.form.get("what")) not in ("enable", "disable"):
        abort(400, translate("The form names no action. Load its page again, and repeat it."))
    why, is_enabled = _reason(), wanted == "enable"
    try:
        if _endpoints().show(endpoint_id).enabled is is_enabled:
            flash(translate("It is enabled already.") if is_enabled else translate("It is disabled already."))
        else:
            _endpoints().change(endpoint_id, {"enabled": is_enabled}, who=g.visitor.name, why=why)
            flash(translate(_ENABLED if is_enabled else _DISABLED, id=endpoint_id))
    except UnknownEndpointError as error:
        abort(404, message_of(error))
    return redirect(url_for("console.show_endpoint", endpoint_id=endpoint_id))


@console.post(f"/endpoints/<int(max={LARGEST_ID}):endpoint_id>/replay")
@for_operators
def replay_endpoint(endpoint_id: int) -> ResponseReturnValue:
    span = SPANS.get(request.form.get("since", ""))
    if span is None:
        abort(400, translate("The form names no period. Load its page again, and repeat it."))
    event_id, only_failed = request.form.get("event", "").strip(), request.form.get("which") == "failed"
    try:
        if event_id:
            chosen = ReplayFilter(event=event_number(event_id), only_failed=only_failed)
        else:
            chosen = ReplayFilter(since=datetime.now(UTC) - span, only_failed=only_failed)
        found = _endpoints().replay(endpoint_id, chosen, who=g.visitor.name, why=_reason())
    except UnknownEndpointError as error:
        abort(404, message_of(error))
    except BadEndpointError as error:
        abort(400, message_of(error))
    sent = translate_count("%(n)s event is sent again.", "%(n)s events are sent again.", found.events)
    more = (
        translate("That is the limit for one action: `nouba endpoints replay` sends all.")
        if found.next_after is not None
        else ""
    )
    flash(f"{sent} {more}".rstrip())
    return redirect(url_for("console.show_endpoint", endpoint_id=endpoint_id))


def _endpoints() -> Endpoints:
    # no address is changed here
    return Endpoints(console_context().engine, allow_private=False)


def _reason() -> str:
    why = request.form.get("why", "").strip()[:500]
    if not why:
        abort(400, translate("Give a reason: it is stored in the audit log."))
    return why
