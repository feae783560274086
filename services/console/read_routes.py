"""Routes of the console's read-only pages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

from flask import Blueprint, abort, current_app, g, render_template, request
from flask.typing import ResponseReturnValue
from pika.exceptions import AMQPError
from sqlalchemy import Engine

from services.console.auth import for_visitors
from services.console.dead_letter_selection import count_all
from services.console.i18n import translate
from services.console.lesson_queries import read_lesson, read_lessons
from services.console.overview_queries import read_overview
from services.console.playback_links import PlaybackLinks
from services.console.statistics_queries import read_days
from shared.contracts.routes import QUEUES
from shared.operations.audit_log import AuditEntry, list_entries
from shared.operations.bounded_count import MAX_COUNTED
from shared.operations.dead_letters.queries import STATES, DeadFilter, count_dead, find_dead, list_dead
from shared.operations.queues.status import QueueStatuses, queue_statuses
from shared.operations.webhook_events import queries
from shared.operations.webhook_events.replay import REPLAYABLE
from shared.operations.webhook_events.timeline import event_timeline
from shared.runtime.logs import describe
from shared.runtime.translatable_sentence import Sentence

console = Blueprint("console", __name__)

PAGE_ROWS = 50
#: A page answers within seconds; what is left over is named, and the command line has no limit.
MAX_BULK_ACTION = 5000
#: A number beyond it is no row's, and is not queried.
LARGEST_ID = 2**63 - 1
LESSON_STATES = ("queued", "probing", "encoding", "publishing", "completed", "failed", "cancelled")
#: What letters mostly die of; RabbitMQ may have other words.
CAUSES = ("retries", "contract", "permanent", "unknown_actor", "undecodable", "delivery_limit")
EVENT_STATES = ("undecided", "received", "applied", "ignored", "quarantined", "dead")
#: What pages are filtered by. Nothing else of an address goes into a form: a link might choose for the operator.
FILTERS = ("queue", "actor", "cause", "error", "since", "state", "provider", "reason", "words")
#: What "since" offers: the words, and how long that is.
SPANS = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "7d": timedelta(days=7)}


@dataclass(frozen=True, slots=True)
class ConsoleContext:
    """What the pages are made from; one in the application."""

    engine: Engine
    rabbitmq_url: str
    management_url: str | None
    currency: str
    zone: ZoneInfo
    playback: PlaybackLinks

    def queue_statuses(self) -> QueueStatuses:
        """The queues; all unknown, with a note, where RabbitMQ is away."""
        try:
            return queue_statuses(self.engine, self.rabbitmq_url, self.management_url)
        except AMQPError as error:
            note = Sentence(
                "RabbitMQ is unavailable (%(error)s); nothing is lost, messages wait in PostgreSQL.",
                error=describe(error),
            )
            return QueueStatuses([], [note])


def console_context() -> ConsoleContext:
    found = current_app.extensions["console_context"]
    assert isinstance(found, ConsoleContext)
    return found


class Row(Protocol):
    """A row of a list, which is sorted by its id."""

    @property
    def id(self) -> int: ...


RowT = TypeVar("RowT", bound=Row)


def read_page(read: Callable[..., Sequence[RowT]]) -> tuple[Sequence[RowT], int | None]:
    """The rows of the page that the address names by `before`, and the `before` of the next one; None on the last page.

    `read` gets `limit`, one row more than a page shows, and `before_id`, the id before which the page begins.
    """
    found = read(limit=PAGE_ROWS + 1, before_id=request.args.get("before", type=row_id))
    return found[:PAGE_ROWS], found[PAGE_ROWS - 1].id if len(found) > PAGE_ROWS else None


@console.get("/")
@for_visitors
def show_overview() -> ResponseReturnValue:
    return render_template(
        "overview.html",
        overview=read_overview(console_context().engine),
        queue_statuses=console_context().queue_statuses(),
    )


@console.get("/queues")
@for_visitors
def show_queues() -> ResponseReturnValue:
    return render_template("queues.html", queue_statuses=console_context().queue_statuses())


@console.get("/dead")
@for_visitors
def show_dead() -> ResponseReturnValue:
    chosen = dead_filter(request.args)
    engine = console_context().engine
    letters, older = read_page(partial(list_dead, engine, chosen))
    return render_template(
        "dead.html",
        letters=letters,
        older=older,
        count=count_dead(engine, chosen, at_most=MAX_COUNTED + 1),
        most_counted=MAX_COUNTED,
        # what is decided is not decided again
        meant=count_all(engine, chosen) if chosen.state in ("dead", None) else None,
        max_bulk_action=MAX_BULK_ACTION,
        asked=asked(),
        queues=QUEUES,
        causes=CAUSES,
        states=STATES,
        spans=SPANS,
    )


@console.get(f"/dead/<int(max={LARGEST_ID}):letter_id>")
@for_visitors
def show_letter(letter_id: int) -> ResponseReturnValue:
    engine = console_context().engine
    letter = find_dead(engine, letter_id)
    if letter is None:
        abort(404, translate("There is no dead letter %(id)s.", id=letter_id))
    return render_template("letter.html", letter=letter, acts=_acts_of_letter(engine, letter_id))


@console.get("/webhooks")
@for_visitors
def show_events() -> ResponseReturnValue:
    engine = console_context().engine
    chosen = event_filter(request.args)
    events, older = read_page(partial(queries.list_events, engine, chosen))
    return render_template(
        "webhooks.html",
        events=events,
        older=older,
        count=queries.count_events(engine, chosen, at_most=MAX_COUNTED + 1),
        most_counted=MAX_COUNTED,
        asked=asked(),
        states=EVENT_STATES,
        spans=SPANS,
    )


@console.get(f"/webhooks/<int(max={LARGEST_ID}):event_id>")
@for_visitors
def show_event(event_id: int) -> ResponseReturnValue:
    engine = console_context().engine
    timeline = event_timeline(engine, event_id)
    if timeline is None:
        abort(404, translate("There is no webhook %(id)s.", id=event_id))
    return render_template("webhook.html", event=timeline.event, steps=timeline.steps, may_replay=REPLAYABLE)


@console.get("/lessons")
@for_visitors
def show_lessons() -> ResponseReturnValue:
    state = request.args.get("state") if request.args.get("state") in LESSON_STATES else None
    lessons = read_lessons(console_context().engine, state=state, limit=PAGE_ROWS)
    return render_template("lessons.html", lessons=lessons, asked=asked(), states=LESSON_STATES)


@console.get(f"/lessons/<int(max={LARGEST_ID}):job_id>")
@for_visitors
def show_lesson(job_id: int) -> ResponseReturnValue:
    found = read_lesson(console_context().engine, job_id)
    if found is None:
        abort(404, translate("There is no job %(id)s.", id=job_id))
    acts = list_entries(console_context().engine, of_id=job_id)
    playback = console_context().playback
    address = playback.address(found.master_key, g.visitor.name)
    if address:
        # the page's policy allows films of this one origin
        g.media_origin = playback.origin
    return render_template(
        "lesson.html",
        found=found,
        lesson=found.lesson,
        address=address,
        acts=[act for act in acts if act.what.startswith("lesson.")],
    )


@console.get("/days")
@for_visitors
def show_days() -> ResponseReturnValue:
    return render_template("days.html", days=read_days(console_context().engine))


@console.get("/audit")
@for_visitors
def show_audit() -> ResponseReturnValue:
    return render_template("audit.html", acts=list_entries(console_context().engine, limit=200))


def dead_filter(given: Any) -> DeadFilter:
    """The filter of a query or a form; what is empty or unknown is left out."""
    state = given.get("state", "dead")
    return DeadFilter(
        queue=given.get("queue") or None,
        actor=given.get("actor") or None,
        cause=given.get("cause") or None,
        error=given.get("error") or None,
        since=_since(given),
        state=state if state in STATES else None,
    )


def row_id(said: str) -> int:
    """The number of a row. Raises ValueError where no row can have it."""
    number = int(said)
    if not 0 < number <= LARGEST_ID:
        raise ValueError(f"no row has the number {said}")
    return number


def event_filter(given: Any) -> queries.EventFilter:
    """Likewise."""
    return queries.EventFilter(
        provider=given.get("provider") or None,
        state=given.get("state") if given.get("state") in EVENT_STATES else None,
        reason=given.get("reason") or None,
        since=_since(given),
    )


def asked() -> dict[str, str]:
    """What the visitor filtered by, to be shown in the form and kept in links."""
    return {name: request.args[name] for name in FILTERS if request.args.get(name)}


def _acts_of_letter(engine: Engine, letter_id: int) -> list[AuditEntry]:
    # by kind: a webhook or a lesson may have the same number
    kinds = ("dead.replay", "dead.discard")
    acts = [act for what in kinds for act in list_entries(engine, what=what, of_id=letter_id)]
    return sorted(acts, key=lambda act: act.id, reverse=True)


def _since(given: Any) -> datetime | None:
    span = SPANS.get(given.get("since", ""))
    return datetime.now(UTC) - span if span else None
