"""The console's actions, each in the audit log: replay, discard, pause, resume, resolve, and requests about lessons."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from flask import abort, current_app, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from services.console import lesson_queries
from services.console.auth import Authenticator, TooManyAttemptsError, for_operators
from services.console.dead_letter_selection import SnapshotFilter, preview
from services.console.i18n import mark, message_of, translate, translate_count
from services.console.read_routes import (
    FILTERS,
    LARGEST_ID,
    MAX_BULK_ACTION,
    console,
    console_context,
    dead_filter,
    row_id,
)
from services.console.redirects import local_path
from shared.operations.dead_letters import replay
from shared.operations.dead_letters.queries import DeadFilter
from shared.operations.dead_letters.replay import Decided, Decision
from shared.operations.queues import pauses
from shared.operations.webhook_events import queries, resolve
from shared.operations.webhook_events.replay import replay_events
from shared.runtime.translatable_sentence import Sentence

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
        return render_template(
            "enter.html", to=to, fault=translate("Too many wrong tokens; try again in a minute.")
        ), 429
    if credential is None:
        return render_template("enter.html", to=to, fault=translate("Invalid token.")), 401
    _authenticator().enter(credential)
    return redirect(local_path(to))


@console.post("/leave")
def log_out() -> ResponseReturnValue:
    provider = current_app.extensions["oidc_provider"] if g.visitor and g.visitor.by_provider else None
    _authenticator().leave()
    g.visitor = None
    if provider and (address := provider.end_session_address()):
        # a page goes on: the policy `form-action 'self'` lets no form lead to another site, by a redirect either
        return render_template("left.html", address=address)
    return redirect(url_for("console.login_form"))


@console.post("/queues/<name>/pause")
@for_operators
def pause_queue(name: str) -> ResponseReturnValue:
    paused = _change_queue(pauses.pause, name)
    sentence = Sentence("Queue %(name)s is paused.", name=name)
    flash(translate(sentence if paused else Sentence("Queue %(name)s is already paused.", name=name)))
    return redirect(url_for("console.show_queues"))


@console.post("/queues/<name>/resume")
@for_operators
def resume_queue(name: str) -> ResponseReturnValue:
    resumed = _change_queue(pauses.resume, name)
    sentence = Sentence("Queue %(name)s is resumed.", name=name)
    flash(translate(sentence if resumed else Sentence("Queue %(name)s is not paused.", name=name)))
    return redirect(url_for("console.show_queues"))


@console.post("/dead/replay")
@for_operators
def replay_dead() -> ResponseReturnValue:
    decided = replay.replay(console_context().engine, _decision(_why()))
    flash(_sentence(decided, translate_count("%(n)s replayed.", "%(n)s replayed.", decided.done)))
    return _back("console.show_dead")


@console.post("/dead/discard")
@for_operators
def discard_dead() -> ResponseReturnValue:
    why = _why()
    if not why:
        abort(400, translate("Give a reason: it is stored in the audit log."))
    decided = replay.discard(console_context().engine, _decision(why))
    flash(_sentence(decided, translate_count("%(n)s discarded.", "%(n)s discarded.", decided.done)))
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
    count, refused = replay_events(console_context().engine, chosen, who=g.visitor.name, why=_why())
    reason = refused.get(event_id) or Sentence("it is settled, or being settled right now.")
    flash(translate("Enqueued again.") if count else translate("Not replayed: %(reason)s", reason=reason))
    return redirect(url_for("console.show_event", event_id=event_id))


@console.post(f"/webhooks/<int(max={LARGEST_ID}):event_id>/resolve")
@for_operators
def resolve_event(event_id: int) -> ResponseReturnValue:
    decisions = {
        "accept": (resolve.accept, mark("Accepted, and enqueued for settlement.")),
        "dismiss": (resolve.dismiss, mark("Dismissed: nothing is booked.")),
        "undo": (resolve.undo, mark("The decision is undone.")),
    }
    if (wanted := request.form.get("decision", "")) not in decisions:
        abort(400, translate("The form names no action. Load its page again, and repeat it."))
    if not (why := _why()):
        abort(400, translate("Give a reason: it is stored in the audit log."))
    decide, message = decisions[wanted]
    try:
        is_new = decide(console_context().engine, event_id, who=g.visitor.name, why=why)
        flash(translate(message) if is_new else translate("The same decision was made already."))
    except resolve.CannotResolveError as error:
        flash(translate("Nothing was changed: %(reason)s.", reason=error.args[0]))
    return redirect(url_for("console.show_event", event_id=event_id))


@console.post(f"/lessons/<int(max={LARGEST_ID}):job_id>/ask")
@for_operators
def ask_of_lesson(job_id: int) -> ResponseReturnValue:
    if (what := request.form.get("what", "")) not in lesson_queries.POSSIBLE:
        abort(400, translate("The form names no action. Load its page again, and repeat it."))
    if not (why := _why()):
        abort(400, translate("Give a reason: it is stored in the audit log."))
    if what == "delete" and request.form.get("confirmed") != "yes":
        found = lesson_queries.read_lesson(console_context().engine, job_id)
        if found is None:
            abort(404, translate("There is no job %(id)s.", id=job_id))
        return render_template("lesson_delete.html", found=found, lesson=found.lesson, why=why)
    asked = lesson_queries.ask(console_context().engine, job_id, what, who=g.visitor.name, why=why)
    asked_for = Sentence("Requested: %(what)s. A worker does it within seconds.", what=Sentence(what))
    flash(translate(asked_for) if asked else translate("Its state does not allow that now."))
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
            uncounted = mark("The form does not name the letters that it counted. Load its page again, and repeat it.")
            abort(400, translate(uncounted))
        chosen = SnapshotFilter(**asdict(dead_filter(form)), up_to=up_to, last_at=last_at)
    else:
        chosen = DeadFilter(ids=tuple(form.getlist("id", type=row_id)))
        if not chosen.ids:
            abort(400, translate("Select messages, or choose all that match the filter."))
    return Decision(who=g.visitor.name, why=why, chosen=chosen, limit=MAX_BULK_ACTION)


def _sentence(decided: Decided, done: str) -> str:
    sentences = [done]
    for letter_id, reason in list(decided.refused.items())[:MAX_REFUSALS_SHOWN]:
        sentences.append(translate("%(id)s was skipped: %(reason)s.", id=letter_id, reason=reason))
    if (others := len(decided.refused) - MAX_REFUSALS_SHOWN) > 0:
        sentences.append(translate_count("%(n)s more was skipped.", "%(n)s more were skipped.", others))
    if decided.done == MAX_BULK_ACTION:
        sentences.append(translate("That is the limit for one action; repeat it for the rest."))
    return " ".join(sentences)


def _change_queue(act: Callable[..., bool], name: str) -> bool:
    try:
        return act(console_context().engine, name, who=g.visitor.name, why=_why())
    except pauses.UnknownQueueError as error:
        abort(404, message_of(error))


def _why() -> str | None:
    return request.form.get("why", "").strip()[:500] or None


def _asked() -> dict[str, Any]:
    """What the page of the form was filtered by."""
    return {name: request.form[name] for name in FILTERS if request.form.get(name)}


def _back(page: str) -> ResponseReturnValue:
    return redirect(url_for(page, **_asked()))
