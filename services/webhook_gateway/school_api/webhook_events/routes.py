"""Routes that list and show webhook events with their timeline, read only; for programs of operators."""

from typing import Literal

from flask import Blueprint
from pydantic import AwareDatetime, Field

from services.webhook_gateway import errors
from services.webhook_gateway.api.database_engine import school_engine
from services.webhook_gateway.api.operations import operation
from services.webhook_gateway.api.pages import PageQuery, read_page
from services.webhook_gateway.api.response_model import ResponseModel
from shared.contracts.webhooks import EventState
from shared.operations.webhook_events.queries import EventFilter, list_events
from shared.operations.webhook_events.timeline import event_timeline
from shared.runtime.api_tokens import Scope

webhook_events = Blueprint("webhook_events", __name__)


class WebhookEventQuery(PageQuery):
    """Which webhook events are wanted; all that is given has to hold."""

    provider: str | None = Field(None, pattern=r"^[a-z_]{1,40}$")
    state: Literal["received", "applied", "ignored", "quarantined", "dead", "undecided"] | None = Field(
        None, description="undecided: quarantined or dead, and no operator has decided."
    )


class WebhookEventSummary(ResponseModel):
    """A webhook without its body."""

    id: int
    provider: str
    reference: str | None
    state: EventState
    reason: str | None
    signed: bool
    attempts: int = Field(description="How often it was postponed since it came, or was last replayed.")
    resolution: str | None
    payment_id: int | None
    received_at: AwareDatetime
    processed_at: AwareDatetime | None
    next_attempt_at: AwareDatetime | None


class WebhookEventPage(ResponseModel):
    """Webhook events, the newest first."""

    items: list[WebhookEventSummary]
    next_cursor: str | None


class EventStep(ResponseModel):
    """Something that happened to the event, or to what it caused."""

    at: AwareDatetime | None
    what: str
    detail: str


class WebhookEventAnswer(WebhookEventSummary):
    """A webhook and what became of it."""

    steps: list[EventStep]


@webhook_events.get("/api/v1/webhook-events", provide_automatic_options=False)
@operation(
    summary="Webhook events, the newest first", scope=Scope.OPERATE, query=WebhookEventQuery, answer=WebhookEventPage
)
def list_webhook_events(query: WebhookEventQuery) -> WebhookEventPage:
    chosen = EventFilter(provider=query.provider, state=query.state)
    page, next_cursor = read_page(
        query,
        lambda limit, before_id: list_events(school_engine(), chosen, limit=limit, before_id=before_id),
        lambda event: event.id,
    )
    items = [WebhookEventSummary.model_validate(event) for event in page]
    return WebhookEventPage(items=items, next_cursor=next_cursor)


@webhook_events.get("/api/v1/webhook-events/<int(max=9223372036854775807):event_id>", provide_automatic_options=False)
@operation(
    summary="A webhook event and what became of it",
    scope=Scope.OPERATE,
    answer=WebhookEventAnswer,
    refusals=(errors.UnknownEventError,),
    has_etag=True,
)
def read_webhook_event(event_id: int) -> WebhookEventAnswer:
    found = event_timeline(school_engine(), event_id)
    if found is None:
        raise errors.UnknownEventError(event_id)
    summary = WebhookEventSummary.model_validate(found.event)
    steps = [EventStep.model_validate(step) for step in found.steps]
    return WebhookEventAnswer.model_validate({**summary.model_dump(), "steps": steps})
