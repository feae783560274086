"""Routes by which the school adds, changes and removes endpoints of events, and reads and replays their deliveries."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from flask import Blueprint, Response, current_app, g
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from services.webhook_gateway import errors
from services.webhook_gateway.api.operations import operation
from services.webhook_gateway.api.pages import PageQuery, read_page
from services.webhook_gateway.api.response_model import ResponseModel
from services.webhook_gateway.api.texts import OneLine
from shared.contracts.event_types import EVENT_TYPES
from shared.operations.webhook_endpoints.endpoints import (
    BadEndpointError,
    Endpoints,
    ReplayFilter,
    UnknownEndpointError,
    event_number,
)
from shared.runtime.api_tokens import Scope

webhook_endpoints = Blueprint("webhook_endpoints", __name__)

_ALL: Final = "/api/v1/webhook-endpoints"
_ONE: Final = f"{_ALL}/<int(max=9223372036854775807):endpoint_id>"

State = Literal["pending", "delivered", "failed"]
_Text = Annotated[str, StringConstraints(max_length=500), OneLine()]
_Url = Annotated[str, Field(max_length=2048, json_schema_extra={"example": "https://school.example/nouba"})]
_Types = Annotated[
    list[str],
    Field(max_length=50, description="Those that it gets; none, or *, for every type."),
    Field(json_schema_extra={"items": {"enum": ["*", *EVENT_TYPES]}}),
]
_Ordered = Annotated[bool, Field(description="An event waits for the one before it of the same key.")]
_WRITES: Final[dict[str, Any]] = {"scope": Scope.OPERATE, "fault": errors.BadEndpointError}


class _Body(BaseModel):
    # a misspelt field would leave an endpoint as it is
    model_config = ConfigDict(extra="forbid", strict=True)


class NewEndpoint(_Body):
    """An endpoint of events."""

    url: _Url
    event_types: _Types
    description: _Text | None = None
    ordered: _Ordered = False


class EndpointChanges(_Body):
    """What is to be other than it is."""

    url: _Url = ""
    event_types: _Types = []
    description: _Text | None = None
    ordered: _Ordered = False
    enabled: bool = True


class Replay(_Body):
    """Which events to send again."""

    event_types: Annotated[_Types, Field(description="None: those of the endpoint.")] = []
    since: Annotated[AwareDatetime | None, Field(strict=False)] = None
    until: Annotated[AwareDatetime | None, Field(strict=False)] = None
    only_failed: Annotated[
        bool, Field(description="Only deliveries that were given up, or wait for the next attempt after a failure.")
    ] = False
    event_id: Annotated[str | None, Field(pattern=r"^evt_[0-9]{1,18}$", description="This event alone.")] = None
    after: Annotated[
        str | None, Field(pattern=r"^evt_[0-9]{1,18}$", description="`next_after` of the answer that is continued.")
    ] = None


class DeliveryQuery(PageQuery):
    """Which deliveries are wanted."""

    state: State | None = None


class EndpointAnswer(ResponseModel):
    """An endpoint without its secrets."""

    id: int
    url: str
    description: str | None
    event_types: list[str] = Field(description="Empty: every type.")
    ordered: bool
    enabled: bool
    disabled_because: Literal["operator", "gone", "failing"] | None
    disabled_at: AwareDatetime | None
    failures: int = Field(description="Since the last success.")
    failing_since_at: AwareDatetime | None
    held_until_at: AwareDatetime | None
    previous_until_at: AwareDatetime | None = Field(description="Until then the previous secret signs too.")
    created_at: AwareDatetime


class EndpointWithSecret(EndpointAnswer):
    """An endpoint with the secret that is shown this once."""

    secret: str


class EndpointList(ResponseModel):
    """All endpoints."""

    endpoints: list[EndpointAnswer]


class DeliveryAnswer(ResponseModel):
    """One event for one endpoint."""

    id: int
    event_id: str
    type: str
    state: State
    attempts: int
    due_at: AwareDatetime | None
    occurred_at: AwareDatetime
    ended_at: AwareDatetime | None
    log: list[dict[str, Any]] = Field(description="Every attempt, the newest last.")


class DeliveryPage(ResponseModel):
    """Deliveries, the newest first."""

    deliveries: list[DeliveryAnswer]
    next_cursor: str | None


class PingAnswer(ResponseModel):
    """The ping that is on its way."""

    event_id: str


class ReplayAnswer(ResponseModel):
    """How many events are sent again."""

    events: int
    next_after: Annotated[str | None, Field(description="Send it as `after` for the rest; null where that was all.")]


@webhook_endpoints.post(_ALL, provide_automatic_options=False)
@operation(
    summary="Add an endpoint; its secret is shown this once",
    body=NewEndpoint,
    answer=EndpointWithSecret,
    answer_text="It gets events from now on.",
    status=201,
    is_idempotent=True,
    **_WRITES,
)
def add_endpoint(body: NewEndpoint) -> EndpointWithSecret:
    with _endpoints() as endpoints:
        endpoint_id, secret = endpoints.add(
            body.url, body.event_types, body.description, ordered=body.ordered, who=g.token_name
        )
        return EndpointWithSecret(**asdict(endpoints.show(endpoint_id)), secret=secret)


@webhook_endpoints.get(_ALL, provide_automatic_options=False)
@operation(summary="All endpoints, without their secrets", scope=Scope.READ, answer=EndpointList, has_etag=True)
def list_endpoints() -> EndpointList:
    with _endpoints() as endpoints:
        return EndpointList(endpoints=[EndpointAnswer(**asdict(one)) for one in endpoints.find_all()])


@webhook_endpoints.get(_ONE, provide_automatic_options=False)
@operation(
    summary="One endpoint",
    scope=Scope.READ,
    answer=EndpointAnswer,
    has_etag=True,
    refusals=(errors.UnknownEndpointError,),
)
def show_endpoint(endpoint_id: int) -> EndpointAnswer:
    with _endpoints() as endpoints:
        return EndpointAnswer(**asdict(endpoints.show(endpoint_id)))


@webhook_endpoints.patch(_ONE, provide_automatic_options=False)
@operation(
    summary="Change, enable or disable an endpoint",
    body=EndpointChanges,
    answer=EndpointAnswer,
    answer_text="As it is now.",
    **_WRITES,
    refusals=(errors.UnknownEndpointError,),
)
def change_endpoint(endpoint_id: int, body: EndpointChanges) -> EndpointAnswer:
    with _endpoints() as endpoints:
        found = endpoints.change(endpoint_id, body.model_dump(exclude_unset=True), who=g.token_name)
    return EndpointAnswer(**asdict(found))


@webhook_endpoints.delete(_ONE, provide_automatic_options=False)
@operation(
    summary="Remove an endpoint",
    scope=Scope.OPERATE,
    status=204,
    refusals=(errors.UnknownEndpointError,),
    extra={"responses": {"204": {"description": "It is gone."}}},
)
def remove_endpoint(endpoint_id: int) -> Response:
    with _endpoints() as endpoints:
        endpoints.remove(endpoint_id, who=g.token_name)
    return Response(status=204)


@webhook_endpoints.post(f"{_ONE}/secret", provide_automatic_options=False)
@operation(
    summary="Rotate the secret; the old one signs beside the new one for a day",
    description="Send an Idempotency-Key: a second rotation within the day invalidates the first secret at once.",
    scope=Scope.OPERATE,
    answer=EndpointWithSecret,
    is_idempotent=True,
    refusals=(errors.UnknownEndpointError,),
)
def rotate_secret(endpoint_id: int) -> EndpointWithSecret:
    with _endpoints() as endpoints:
        secret = endpoints.rotate(endpoint_id, who=g.token_name)
        return EndpointWithSecret(**asdict(endpoints.show(endpoint_id)), secret=secret)


@webhook_endpoints.post(f"{_ONE}/test", provide_automatic_options=False)
@operation(
    summary="Deliver a ping",
    scope=Scope.OPERATE,
    answer=PingAnswer,
    answer_text="It is on its way.",
    status=202,
    refusals=(errors.UnknownEndpointError, errors.BadEndpointError),
)
def test_endpoint(endpoint_id: int) -> PingAnswer:
    with _endpoints() as endpoints:
        return PingAnswer(event_id=endpoints.ping(endpoint_id, who=g.token_name))


@webhook_endpoints.get(f"{_ONE}/deliveries", provide_automatic_options=False)
@operation(
    summary="An endpoint's deliveries, the newest first",
    scope=Scope.READ,
    query=DeliveryQuery,
    answer=DeliveryPage,
    refusals=(errors.UnknownEndpointError,),
)
def list_deliveries(endpoint_id: int, query: DeliveryQuery) -> DeliveryPage:
    with _endpoints() as endpoints:
        page, following = read_page(
            query,
            lambda limit, before_id: endpoints.deliveries(
                endpoint_id, state=query.state, before_id=before_id, limit=limit
            ),
            lambda one: one.id,
        )
    return DeliveryPage(deliveries=[DeliveryAnswer(**asdict(one)) for one in page], next_cursor=following)


@webhook_endpoints.post(f"{_ONE}/replay", provide_automatic_options=False)
@operation(
    summary="Send events again, under their own ids",
    description="A delivery that waits for its next attempt is sent now, unless it is due within a minute.",
    body=Replay,
    answer=ReplayAnswer,
    answer_text="How many.",
    status=202,
    is_idempotent=True,
    **_WRITES,
    refusals=(errors.UnknownEndpointError,),
)
def replay_events(endpoint_id: int, body: Replay) -> ReplayAnswer:
    with _endpoints() as endpoints:
        event = event_number(body.event_id) if body.event_id else None
        after = event_number(body.after) if body.after else 0
        chosen = ReplayFilter(body.event_types, body.since, body.until, body.only_failed, event, after)
        found = endpoints.replay(endpoint_id, chosen, who=g.token_name)
        next_after = None if found.next_after is None else f"evt_{found.next_after}"
        return ReplayAnswer(events=found.events, next_after=next_after)


@contextmanager
def _endpoints() -> Iterator[Endpoints]:
    """The endpoints; their refusals as the API's own."""
    try:
        yield current_app.extensions["webhook_endpoints"]
    except BadEndpointError as error:
        raise errors.BadEndpointError(str(error)) from None
    except UnknownEndpointError as error:
        raise errors.UnknownEndpointError(str(error)) from None
