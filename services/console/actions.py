"""The console's actions, each in the audit log: replay, discard, pause, resume, resolve, and requests about lessons."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from flask import abort, current_app, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from services.console import lesson_queries
from services.console.auth import Authenticator, TooManyAttemptsError, for_operators
from services.console.dead_letter_selection import SnapshotFilter, preview
from services.console.read_routes import (
    FILTERS,
    LARGEST_ID,
    MAX_BULK_ACTION,
    console,
    console_context,
    dead_filter,
    row_id,
)
from shared.operations.dead_letters import replay
from shared.operations.dead_letters.queries import DeadFilter
from shared.operations.dead_letters.replay import Decided, Decision
from shared.operations.queues import pauses
from shared.operations.webhook_events import queries, resolve

#: So many refusals are shown with their reasons: the sentence travels in the session's cookie, and a browser drops one
#: of more than 4,093 bytes.
MAX_REFUSALS_SHOWN = 5

__all__ = ["console"]


@console.get("/enter")
def login_form() -> ResponseReturnValue:
    return render_template("enter.html", to=request.args.get("to", ""))


@console.post("/enter")
def log_in() -> ResponseReturnValue:
    to = request.form.get("to", "")
    try:
        credential = _authenticator().credential_of(request.form.get("token", ""), request.remote_addr or "")
    except TooManyAttemptsError:
        return render_template("enter.html", to=to, fault="Too many wrong tokens; try again in a minute."), 429
    if credential is None:
        return render_template("enter.html", to=to, fault="Invalid token."), 401
    _authenticator().enter(credential)
    return redirect(_local(to))


@console.post("/leave")
def log_out() -> ResponseReturnValue:
    _authenticator().leave()
    return redirect(url_for("console.login_form"))


@console.post("/queues/<name>/pause")
@for_operators
def pause_queue(name: str) -> ResponseReturnValue:
    paused = _change_queue(pauses.pause, name)
    flash(f"Queue {name} is paused." if paused else f"Queue {name} is already paused.")
    return redirect(url_for("console.show_queues"))


@console.post("/queues/<name>/resume")
@for_operators
def resume_queue(name: str) -> ResponseReturnValue:
    resumed = _change_queue(pauses.resume, name)
    flash(f"Queue {name} is resumed." if resumed else f"Queue {name} is not paused.")
    return redirect(url_for("console.show_queues"))


@console.post("/dead/replay")
@for_operators
def replay_dead() -> ResponseReturnValue:
    decided = replay.replay(console_context().engine, _decision(_why()))
    flash(_sentence(decided, "replayed"))
    return _back("console.show_dead")


@console.post("/dead/discard")
@for_operators
def discard_dead() -> ResponseReturnValue:
    why = _why()
    if not why:
        abort(400, "Give a reason: it is stored in the audit log.")
    decided = replay.discard(console_context().engine, _decision(why))
    flash(_sentence(decided, "discarded"))
    return _back("console.show_dead")


@console.post("/dead/preview")
@for_operators
def preview_dead_letters() -> ResponseReturnValue:
    decision = _decision(_why())
    groups = preview(console_context().engine, decision)
    return render_template(
        "dead_preview.html", groups=groups, why=decision.why, asked=_asked(), max_bulk_action=MAX_BULK_ACTION
    )


@console.post(f"/webhooks/<int(max={LARGEST_ID}):event_id>/replay")
@for_operators
def replay_event(event_id: int) -> ResponseReturnValue:
    chosen = queries.EventFilter(ids=(event_id,))
    count, refused = queries.replay_events(console_context().engine, chosen, who=g.visitor.name, why=_why())
    reason = refused.get(event_id, "it is settled, or being settled right now.")
    flash("Enqueued again." if count else f"Not replayed: {reason}")
    return redirect(url_for("console.show_event", event_id=event_id))


@console.post(f"/webhooks/<int(max={LARGEST_ID}):event_id>/resolve")
@for_operators
def resolve_event(event_id: int) -> ResponseReturnValue:
    decisions = {
        "accept": (resolve.accept, "Accepted, and enqueued for settlement."),
        "dismiss": (resolve.dismiss, "Dismissed: nothing is booked."),
        "undo": (resolve.undo, "The decision is undone."),
    }
    if (wanted := request.form.get("decision", "")) not in decisions:
        abort(400, "The form does not say what is decided. Load its page again, and repeat it.")
    if not (why := _why()):
        abort(400, "Give a reason: it is stored in the audit log.")
    decide, message = decisions[wanted]
    try:
        flash(
            message
            if decide(console_context().engine, event_id, who=g.visitor.name, why=why)
            else "Already decided so."
        )
    except resolve.CannotResolveError as error:
        flash(f"Nothing was changed: {error}.")
    return redirect(url_for("console.show_event", event_id=event_id))


@console.post(f"/lessons/<int(max={LARGEST_ID}):job_id>/ask")
@for_operators
def ask_of_lesson(job_id: int) -> ResponseReturnValue:
    if (what := request.form.get("what", "")) not in lesson_queries.POSSIBLE:
        abort(400, "The form does not say what is asked. Load its page again, and repeat it.")
    if not (why := _why()):
        abort(400, "Give a reason: it is stored in the audit log.")
    if what == "delete" and request.form.get("confirmed") != "yes":
        found = lesson_queries.read_lesson(console_context().engine, job_id)
        if found is None:
            abort(404, f"There is no job {job_id}.")
        return render_template("lesson_delete.html", found=found, lesson=found.lesson, why=why)
    asked = lesson_queries.ask(console_context().engine, job_id, what, who=g.visitor.name, why=why)
    flash(f"Asked: {what}. A worker does it within seconds." if asked else "Its state does not allow that now.")
    return redirect(url_for("console.show_lesson", job_id=job_id))


def _authenticator() -> Authenticator:
    found = current_app.extensions["authenticator"]
    assert isinstance(found, Authenticator)
    return found


def _decision(why: str | None) -> Decision:
    """The letters that were ticked, or all that the filter of the page finds."""
    form = request.form
    chosen: DeadFilter
    if form.get("which") == "all":
        up_to, last_at = form.get("up_to", type=row_id), form.get("last_at", type=datetime.fromisoformat)
        if up_to is None or last_at is None:
            abort(400, "The form does not say which letters it has counted. Load its page again, and repeat it.")
        chosen = SnapshotFilter(**asdict(dead_filter(form)), up_to=up_to, last_at=last_at)
    else:
        chosen = DeadFilter(ids=tuple(form.getlist("id", type=row_id)))
        if not chosen.ids:
            abort(400, "Tick the messages that are meant, or choose all that the filter finds.")
    return Decision(who=g.visitor.name, why=why, chosen=chosen, limit=MAX_BULK_ACTION)


def _sentence(decided: Decided, word: str) -> str:
    shown = list(decided.refused.items())[:MAX_REFUSALS_SHOWN]
    refused = "".join(f" {letter_id} was not: {reason}." for letter_id, reason in shown)
    if others := len(decided.refused) - len(shown):
        refused += f" {others} more were not."
    more = " That is the most for one action; repeat it for the rest." if decided.done == MAX_BULK_ACTION else ""
    return f"{decided.done} {word}.{refused}{more}"


def _change_queue(act: Callable[..., bool], name: str) -> bool:
    try:
        return act(console_context().engine, name, who=g.visitor.name, why=_why())
    except pauses.UnknownQueueError as error:
        abort(404, str(error))


def _why() -> str | None:
    return request.form.get("why", "").strip()[:500] or None


def _asked() -> dict[str, Any]:
    """What the page of the form was filtered by."""
    return {name: request.form[name] for name in FILTERS if request.form.get(name)}


def _back(page: str) -> ResponseReturnValue:
    return redirect(url_for(page, **_asked()))


def _local(to: str) -> str:
    """The page that was asked for before, as long as it is one of this site."""
    parts = urlsplit(to)
    is_ours = to.startswith("/") and not to.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return to if is_ours else url_for("console.show_overview")
