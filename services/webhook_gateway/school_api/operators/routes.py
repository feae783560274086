"""Routes by which a program reads what operators see: webhook events, dead letters, the audit log."""

from typing import Any, Literal

from flask import Blueprint, current_app
from pydantic import AwareDatetime, Field
from sqlalchemy import Engine

from services.webhook_gateway import errors
from services.webhook_gateway.api.models import Answer
from services.webhook_gateway.api.operations import operation
from services.webhook_gateway.api.pages import PageQuery, read_page
from shared.contracts.webhooks import EventState
from shared.operations.audit_log import AuditEntry, list_entries
from shared.operations.dead_letters.queries import DeadFilter, DeadLetter, find_dead, list_dead
from shared.operations.webhook_events.queries import EventFilter, list_events
from shared.operations.webhook_events.timeline import event_timeline
from shared.runtime.api_tokens import Scope

operators = Blueprint("operators", __name__)


class WebhookEventQuery(PageQuery):
    """Which webhook events are wanted; all that is given has to hold."""

    provider: str | None = Field(None, pattern=r"^[a-z_]{1,40}$")
    state: Literal["received", "applied", "ignored", "quarantined", "dead", "undecided"] | None = Field(
        None, description="undecided: quarantined or dead, and no operator has decided."
    )


class WebhookEventSummary(Answer):
    """A webhook without its body."""

    id: int
    provider: str
    reference: str | None
    state: EventState
    reason: str | None
    signed: bool
    attempts: int
    resolution: str | None
    payment_id: int | None
    received_at: AwareDatetime
    processed_at: AwareDatetime | None
    next_attempt_at: AwareDatetime | None


class WebhookEventPage(Answer):
    """Webhook events, the newest first."""

    items: list[WebhookEventSummary]
    next_cursor: str | None


class EventStep(Answer):
    """Something that happened to the event, or to what it caused."""

    at: AwareDatetime | None
    what: str
    detail: str


class WebhookEventAnswer(WebhookEventSummary):
    """A webhook and what became of it."""

    steps: list[EventStep]


class DeadLetterQuery(PageQuery):
    """Which dead letters are wanted."""

    queue: str | None = Field(None, min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")
    state: Literal["dead", "replayed", "discarded"] | None = None


class DeadLetterAnswer(Answer):
    """A message that no worker could handle."""

    id: int
    queue: str
    message_id: str
    state: Literal["dead", "replayed", "discarded"]
    cause: str
    error: str | None
    actor: str | None
    arguments: Any
    attempts: int
    deaths: int
    replays: int
    died_at: AwareDatetime
    replayed_at: AwareDatetime | None
    decided_by: str | None
    decided_why: str | None
    decided_at: AwareDatetime | None


class DeadLetterPage(Answer):
    """Dead letters, the newest first."""

    items: list[DeadLetterAnswer]
    next_cursor: str | None


class AuditQuery(PageQuery):
    """Which operator actions are wanted."""

    what: str | None = Field(
        None, min_length=1, max_length=100, pattern=r"^[a-z_.]+$", description="A kind, such as `dead.replay`."
    )


class OperatorAct(Answer):
    """An operator's action."""

    id: int
    acted_at: AwareDatetime
    who: str
    what: str
    why: str | None
    credential: str | None
    ids: list[int | str]
    chosen_by: dict[str, Any]


class AuditPage(Answer):
    """Operator actions, the newest first."""

    items: list[OperatorAct]
    next_cursor: str | None


@operators.get("/api/v1/webhook-events", provide_automatic_options=False)
@operation(
    summary="Webhook events, the newest first", scope=Scope.OPERATE, query=WebhookEventQuery, answer=WebhookEventPage
)
def list_webhook_events(query: WebhookEventQuery) -> WebhookEventPage:
    chosen = EventFilter(provider=query.provider, state=query.state)
    page, next_cursor = read_page(
        query,
        lambda limit, before_id: list_events(_engine(), chosen, limit=limit, before_id=before_id),
        lambda event: event.id,
    )
    items = [WebhookEventSummary.model_validate(event) for event in page]
    return WebhookEventPage(items=items, next_cursor=next_cursor)


@operators.get("/api/v1/webhook-events/<int(max=9223372036854775807):event_id>", provide_automatic_options=False)
@operation(
    summary="A webhook event and what became of it",
    scope=Scope.OPERATE,
    answer=WebhookEventAnswer,
    refusals=(errors.UnknownEventError,),
    has_etag=True,
)
def read_webhook_event(event_id: int) -> WebhookEventAnswer:
    found = event_timeline(_engine(), event_id)
    if found is None:
        raise errors.UnknownEventError(event_id)
    summary = WebhookEventSummary.model_validate(found.event)
    steps = [EventStep.model_validate(step) for step in found.steps]
    return WebhookEventAnswer.model_validate({**summary.model_dump(), "steps": steps})


@operators.get("/api/v1/dead-letters", provide_automatic_options=False)
@operation(
    summary="Dead letters of every queue, the newest first",
    scope=Scope.OPERATE,
    query=DeadLetterQuery,
    answer=DeadLetterPage,
)
def list_dead_letters(query: DeadLetterQuery) -> DeadLetterPage:
    chosen = DeadFilter(queue=query.queue, state=query.state)
    page, next_cursor = read_page(
        query,
        lambda limit, before_id: list_dead(_engine(), chosen, limit=limit, before_id=before_id),
        lambda letter: letter.id,
    )
    return DeadLetterPage(items=[_shown(letter) for letter in page], next_cursor=next_cursor)


@operators.get("/api/v1/dead-letters/<int(max=9223372036854775807):letter_id>", provide_automatic_options=False)
@operation(
    summary="One dead letter",
    scope=Scope.OPERATE,
    answer=DeadLetterAnswer,
    refusals=(errors.UnknownDeadLetterError,),
    has_etag=True,
)
def read_dead_letter(letter_id: int) -> DeadLetterAnswer:
    found = find_dead(_engine(), letter_id)
    if found is None:
        raise errors.UnknownDeadLetterError(letter_id)
    return _shown(found)


@operators.get("/api/v1/operator-acts", provide_automatic_options=False)
@operation(
    summary="The audit log: what operators did, the newest first",
    scope=Scope.OPERATE,
    query=AuditQuery,
    answer=AuditPage,
)
def list_operator_acts(query: AuditQuery) -> AuditPage:
    page, next_cursor = read_page(
        query,
        lambda limit, before_id: list_entries(_engine(), what=query.what, limit=limit, before_id=before_id),
        lambda entry: entry.id,
    )
    return AuditPage(items=[_act(entry) for entry in page], next_cursor=next_cursor)


def _shown(letter: DeadLetter) -> DeadLetterAnswer:
    return DeadLetterAnswer.model_validate(letter)


def _act(entry: AuditEntry) -> OperatorAct:
    return OperatorAct.model_validate(entry)


def _engine() -> Engine:
    found: Engine = current_app.extensions["operators"]
    return found
