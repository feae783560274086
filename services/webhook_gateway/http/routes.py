"""Routes of the gateway."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Blueprint, Response, current_app, g, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from services.webhook_gateway import errors
from services.webhook_gateway.api.operations import VERSION_1, documented
from services.webhook_gateway.http.error_responses import error_response
from services.webhook_gateway.http.fast_path import fault_of
from services.webhook_gateway.http.receive import Gateway, receive
from services.webhook_gateway.providers.base import Provider, Request
from shared.runtime.health import healthy
from shared.runtime.logs import describe

gateway = Blueprint("gateway", __name__)

#: When a provider should send again what we could not keep.
RETRY_AFTER_SECONDS = 30


class Receipt(BaseModel):
    """What became of a webhook."""

    model_config = ConfigDict(extra="forbid")
    status: Literal["accepted", "duplicate", "quarantined"] = Field(
        description="quarantined: genuine, but put aside for an operator; do not send it again."
    )
    event_id: Annotated[int, Field(ge=1)] | None = Field(
        description="null while the database is away: the event is durable, and has no number yet."
    )


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class ReadinessAnswer(BaseModel):
    """Whether the work is flowing."""

    model_config = ConfigDict(extra="forbid")
    status: Literal["ready", "spooling", "not ready"]
    database: bool
    unpublished_seconds: float | None
    unsettled_seconds: float | None
    spool: Literal["off", "ready", "full", "failing"]
    spool_events: int = Field(ge=0)
    undrained_seconds: float = Field(ge=0)


_REFUSALS = (
    errors.BrokenBodyError,
    errors.InvalidSignatureError,
    errors.UnknownProviderError,
    errors.BodyTooSlowError,
    errors.BodyTooLargeError,
    errors.EncodedBodyError,
    errors.TooManyUnverifiedError,
    errors.StorageUnavailableError,
)
_WRONG_METHOD = {
    "405": {
        "description": "The provider does not use this method.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        "headers": {
            "Allow": {"description": "The methods that are used.", "required": True, "schema": {"type": "string"}}
        },
    }
}
_BODY = {
    "description": "The provider's own bytes. They are verified before they are read, so any content type is taken.",
    "content": {"*/*": {"schema": {}}},
}
_PROVIDER = {
    "name": "provider",
    "in": "path",
    "required": True,
    "description": "chargily, satim (or cib), standard_webhooks, stripe or generic; those with settings are on.",
    "schema": {"type": "string"},
    "example": "chargily",
}
_BANK = {**_PROVIDER, "description": "Two names of one bank.", "schema": {"enum": ["satim", "cib"]}, "example": "satim"}
_RETURN = {
    "operationId": "receiveRedirect",
    "summary": "A payer comes back from the bank, or a provider calls back by query (satim only)",
    "parameters": [
        _BANK,
        {"name": "orderId", "in": "query", "schema": {"type": "string"}, "description": "SATIM's order."},
        {
            "name": "mdOrder",
            "in": "query",
            "schema": {"type": "string"},
            "description": "The same, as the platform's callback names it.",
        },
    ],
}
_SHOP = {
    "303": {
        "description": "The event is durable; the payer's browser goes back to the school.",
        "headers": {
            "Location": {
                "description": "The school's page.",
                "required": True,
                "schema": {"type": "string", "format": "uri"},
            }
        },
    }
}


@gateway.route("/webhooks/<provider>", methods=["GET", "POST"], provide_automatic_options=False)
@documented(
    summary="A provider reports a payment",
    answer=Receipt,
    answer_text="The event is durable.",
    refusals=_REFUSALS,
    path={"provider": _PROVIDER},
    extra={
        "responses": _WRONG_METHOD,
        "by_method": {"POST": {"requestBody": _BODY}, "GET": {**_RETURN, "extra_responses": _SHOP}},
    },
)
def receive_webhook(provider: str) -> ResponseReturnValue:
    if fault := fault_of(request.environ):
        raise fault
    psp = _find(provider)
    shop = _gateway().return_urls.get(provider)
    is_payer = request.method == "GET" and "orderId" in request.args and "mdOrder" not in request.args
    try:
        receipt = receive(_gateway(), psp, _read(psp), _client())
    except errors.TooManyUnverifiedError:
        # somebody else's flood of hints is no reason to stop a payer on the way back to the shop
        if not shop or not is_payer:
            raise
    else:
        if not shop or not is_payer:
            return jsonify(asdict(receipt))
    # a payer's browser on its way back from the bank, not the bank itself
    return redirect(_with_order(shop, request.args["orderId"]), 303)


@gateway.route("/api/payments/webhook", methods=["POST"], provide_automatic_options=False)
@documented(
    summary="The same, with the provider in a header, as existing school back ends call it",
    answer=Receipt,
    answer_text="The event is durable.",
    status=202,
    refusals=_REFUSALS,
    extra={
        "parameters": [
            {
                "name": "X-PSP-Provider",
                "in": "header",
                "required": True,
                "schema": {"type": "string"},
                "example": "chargily",
            }
        ],
        "requestBody": _BODY,
        "responses": _WRONG_METHOD,
    },
)
def receive_school_webhook() -> ResponseReturnValue:
    """The address that existing school back ends call."""
    psp = _find(request.headers.get("X-PSP-Provider", ""))
    return jsonify(asdict(receive(_gateway(), psp, _read(psp), _client()))), 202


@gateway.get("/healthz")
@documented(summary="The process answers", answer=Health)
def show_health() -> ResponseReturnValue:
    return healthy()


@gateway.get("/readyz")
@documented(
    summary="The work is flowing",
    description="Not ready when the database is away and the spool does not take its place, when a message waited "
    "longer than 60 seconds for RabbitMQ, an event longer than 300 seconds for a worker, or a webhook longer than 60 "
    "seconds in the spool although the database answers. Spooling: the database is away, and webhooks are kept on the "
    "gateway's disk until it is back.",
    answer=ReadinessAnswer,
    extra={
        "responses": {
            "503": {
                "description": "It is not.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ReadinessAnswer"}}},
            }
        }
    },
)
def show_readiness() -> ResponseReturnValue:
    found = _gateway().readiness()
    return jsonify(found.as_json()), 200 if found.is_ready else 503


def _gateway() -> Gateway:
    found: Gateway = current_app.extensions["gateway"]
    return found


def _find(provider: str) -> Provider:
    psp = _gateway().providers.get(provider)
    if psp is None:
        raise errors.UnknownProviderError(f"No provider {provider[:40]!r} is switched on here.")
    if request.method not in psp.methods:
        raise MethodNotAllowed(sorted(psp.methods))
    return psp


def _client() -> str:
    return _gateway().client_of(request.environ)


def _read(psp: Provider) -> Request:
    body = request.query_string if request.method == "GET" else _gateway().bodies.read(request.environ)
    return Request(request.method, {name.lower(): value for name, value in request.headers.items()}, body)


def _with_order(url: str, order_id: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query), ("orderId", order_id)])))


@gateway.app_errorhandler(errors.ClientError)
def refuse(error: errors.ClientError) -> ResponseReturnValue:
    status, headers, problem = error_response(error)
    response = _problem(status, problem["error"], problem["message"])
    response.headers.update(headers)
    return response


@gateway.app_errorhandler(SQLAlchemyError)
@gateway.app_errorhandler(errors.StorageUnavailableError)
def excuse(error: SQLAlchemyError | errors.StorageUnavailableError) -> ResponseReturnValue:
    # the text of a database's exception may hold the statement's parameters
    current_app.logger.error("A webhook was not kept: %s", describe(error))
    problem = (
        "The database does not answer; try again."
        if _is_version_1()
        else "The webhook cannot be kept now; send it again."
    )
    response = _problem(503, "unavailable", problem)
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


@gateway.app_errorhandler(errors.ObjectStoreUnavailableError)
def postpone(error: errors.ObjectStoreUnavailableError) -> ResponseReturnValue:
    response = _problem(503, "storage_away", str(error))
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


@gateway.app_errorhandler(errors.ProviderUnavailableError)
def defer(error: errors.ProviderUnavailableError) -> ResponseReturnValue:
    response = _problem(503, "provider_unavailable", str(error))
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


@gateway.app_errorhandler(errors.PlaybackOffError)
def decline(error: errors.PlaybackOffError) -> ResponseReturnValue:
    response = _problem(503, "playback_off", str(error))
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


@gateway.app_errorhandler(HTTPException)
def explain(error: HTTPException) -> ResponseReturnValue:
    response = _problem(error.code or 500, error.name.lower().replace(" ", "_"), error.description or error.name)
    response.headers.extend(
        (name, value) for name, value in error.get_headers(request.environ) if name not in ("Content-Type",)
    )
    return response


@gateway.after_app_request
def show_rate(response: Response) -> Response:
    response.headers.extend(g.get("rate_headers", {}))
    return response


def _is_version_1() -> bool:
    return request.path.startswith(VERSION_1)


def _problem(status: int, code: str, message: str) -> Response:
    if _is_version_1():
        # RFC 9457
        title = HTTPStatus(status).phrase
        response = jsonify(type="about:blank", title=title, status=status, detail=message, code=code)
        response.content_type = "application/problem+json"
    else:
        response = jsonify(error=code, message=message)
    response.status_code = status
    return response
