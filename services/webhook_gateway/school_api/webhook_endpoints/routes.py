"""Routes by which the school adds, changes and removes endpoints of events, and reads and replays their deliveries."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from flask import Blueprint, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from services.webhook_gateway import errors
from services.webhook_gateway.http.request_body import BodyReader
from services.webhook_gateway.school_api.auth import Authorizer, read_json
from shared.operations.webhook_endpoints.endpoints import (
    BadEndpointError,
    Endpoints,
    ReplayFilter,
    UnknownEndpointError,
)
from shared.runtime.api_tokens import Scope

webhook_endpoints = Blueprint("webhook_endpoints", __name__)

_ALL = "/api/v1/webhook-endpoints"
_ONE = f"{_ALL}/<int(max=9223372036854775807):endpoint_id>"
_STATES = ("pending", "delivered", "failed")
LARGEST_PAGE = 200

_Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=500)]
_Url = Annotated[str, StringConstraints(max_length=2048)]
_Types = Annotated[list[str], Field(max_length=50)]


class _Form(BaseModel):
    # a misspelt field would leave an endpoint as it is
    model_config = ConfigDict(extra="forbid", strict=True)


class NewEndpoint(_Form):
    """What is asked for."""

    url: _Url
    event_types: _Types
    description: _Text | None = None
    ordered: bool = False


class EndpointChanges(_Form):
    """What is to be other than it is."""

    url: _Url = ""
    event_types: _Types = []
    description: _Text | None = None
    ordered: bool = False
    enabled: bool = True


class Replay(_Form):
    """Which events to send again."""

    event_types: _Types = []
    since: Annotated[AwareDatetime | None, Field(strict=False)] = None
    until: Annotated[AwareDatetime | None, Field(strict=False)] = None
    only_failed: bool = False


@dataclass(frozen=True, slots=True)
class WebhookEndpoints:
    """What the routes are given; kept in `app.extensions["webhook_endpoints"]`."""

    authorizer: Authorizer
    endpoints: Endpoints
    bodies: BodyReader
    wake: Callable[[], None]


@webhook_endpoints.post(_ALL, provide_automatic_options=False)
def add_endpoint() -> ResponseReturnValue:
    given, who = _authorised(Scope.OPERATE)
    new = read_json(NewEndpoint, given.bodies, errors.BadEndpointError)
    with _refusing():
        endpoint_id, secret = given.endpoints.add(
            new.url, new.event_types, new.description, ordered=new.ordered, who=who
        )
        return jsonify(**given.endpoints.show(endpoint_id).as_json(), secret=secret), 201


@webhook_endpoints.get(_ALL, provide_automatic_options=False)
def list_endpoints() -> ResponseReturnValue:
    given, _ = _authorised(Scope.READ)
    return jsonify(endpoints=[one.as_json() for one in given.endpoints.find_all()])


@webhook_endpoints.get(_ONE, provide_automatic_options=False)
def show_endpoint(endpoint_id: int) -> ResponseReturnValue:
    given, _ = _authorised(Scope.READ)
    with _refusing():
        return jsonify(given.endpoints.show(endpoint_id).as_json())


@webhook_endpoints.patch(_ONE, provide_automatic_options=False)
def change_endpoint(endpoint_id: int) -> ResponseReturnValue:
    given, who = _authorised(Scope.OPERATE)
    changes = read_json(EndpointChanges, given.bodies, errors.BadEndpointError)
    with _refusing():
        found = given.endpoints.change(endpoint_id, changes.model_dump(exclude_unset=True), who=who)
    return jsonify(found.as_json())


@webhook_endpoints.delete(_ONE, provide_automatic_options=False)
def remove_endpoint(endpoint_id: int) -> ResponseReturnValue:
    given, who = _authorised(Scope.OPERATE)
    with _refusing():
        given.endpoints.remove(endpoint_id, who=who)
    return "", 204


@webhook_endpoints.post(f"{_ONE}/secret", provide_automatic_options=False)
def rotate_secret(endpoint_id: int) -> ResponseReturnValue:
    given, who = _authorised(Scope.OPERATE)
    with _refusing():
        secret = given.endpoints.rotate(endpoint_id, who=who)
        return jsonify(**given.endpoints.show(endpoint_id).as_json(), secret=secret)


@webhook_endpoints.post(f"{_ONE}/test", provide_automatic_options=False)
def test_endpoint(endpoint_id: int) -> ResponseReturnValue:
    given, who = _authorised(Scope.OPERATE)
    with _refusing():
        return jsonify(event_id=given.endpoints.ping(endpoint_id, who=who)), 202


@webhook_endpoints.get(f"{_ONE}/deliveries", provide_automatic_options=False)
def list_deliveries(endpoint_id: int) -> ResponseReturnValue:
    given, _ = _authorised(Scope.READ)
    state, cursor, limit = request.args.get("state"), request.args.get("cursor"), request.args.get("limit", "50")
    if state is not None and state not in _STATES:
        raise errors.BadEndpointError(f"state is one of {', '.join(_STATES)}.")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= LARGEST_PAGE:
        raise errors.BadEndpointError(f"limit is a number from 1 to {LARGEST_PAGE}.")
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise errors.BadEndpointError("cursor is the next_cursor of another page.")
    with _refusing():
        found = given.endpoints.deliveries(
            endpoint_id, state=state, before_id=int(cursor) if cursor else None, limit=int(limit)
        )
    following = str(found[-1].id) if len(found) == int(limit) else None
    return jsonify(deliveries=[one.as_json() for one in found], next_cursor=following)


@webhook_endpoints.post(f"{_ONE}/replay", provide_automatic_options=False)
def replay_events(endpoint_id: int) -> ResponseReturnValue:
    given, who = _authorised(Scope.OPERATE)
    wanted = read_json(Replay, given.bodies, errors.BadEndpointError)
    with _refusing():
        chosen = ReplayFilter(wanted.event_types, wanted.since, wanted.until, wanted.only_failed)
        return jsonify(events=given.endpoints.replay(endpoint_id, chosen, who=who)), 202


def _authorised(scope: Scope) -> tuple[WebhookEndpoints, str]:
    given: WebhookEndpoints = current_app.extensions["webhook_endpoints"]
    return given, given.authorizer.require(scope).name


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except BadEndpointError as error:
        raise errors.BadEndpointError(str(error)) from None
    except UnknownEndpointError as error:
        raise errors.UnknownEndpointError(str(error)) from None
