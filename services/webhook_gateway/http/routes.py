"""Routes of the gateway."""

from dataclasses import asdict
from http import HTTPStatus
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Blueprint, Response, current_app, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from services.webhook_gateway import errors
from services.webhook_gateway.http import openapi
from services.webhook_gateway.http.error_responses import error_response
from services.webhook_gateway.http.fast_path import fault_of
from services.webhook_gateway.http.receive import Gateway, receive
from services.webhook_gateway.providers.base import Provider, Request
from shared.runtime.health import healthy
from shared.runtime.logs import describe

gateway = Blueprint("gateway", __name__)

#: When a provider should send again what we could not keep.
RETRY_AFTER_SECONDS = 30


@gateway.route("/webhooks/<provider>", methods=["GET", "POST"], provide_automatic_options=False)
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
def receive_school_webhook() -> ResponseReturnValue:
    """The address that existing school back ends call."""
    psp = _find(request.headers.get("X-PSP-Provider", ""))
    return jsonify(asdict(receive(_gateway(), psp, _read(psp), _client()))), 202


@gateway.get("/healthz")
def show_health() -> ResponseReturnValue:
    return healthy()


@gateway.get("/readyz")
def show_readiness() -> ResponseReturnValue:
    found = _gateway().readiness()
    return jsonify(found.as_json()), 200 if found.is_ready else 503


@gateway.get("/openapi.json")
def show_openapi() -> ResponseReturnValue:
    return jsonify(openapi.DOCUMENT)


@gateway.get("/docs")
def show_docs() -> ResponseReturnValue:
    return openapi.page()


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
    status, headers, told = error_response(error)
    response = _problem(status, told["error"], told["message"])
    response.headers.update(headers)
    return response


@gateway.app_errorhandler(SQLAlchemyError)
@gateway.app_errorhandler(errors.StorageUnavailableError)
def excuse(error: SQLAlchemyError | errors.StorageUnavailableError) -> ResponseReturnValue:
    # the text of a database's exception may hold the statement's parameters
    current_app.logger.error("A webhook was not kept: %s", describe(error))
    told = (
        "The database does not answer; try again."
        if _is_version_1()
        else "The webhook cannot be kept now; send it again."
    )
    response = _problem(503, "unavailable", told)
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


@gateway.app_errorhandler(errors.ObjectStoreUnavailableError)
def postpone(error: errors.ObjectStoreUnavailableError) -> ResponseReturnValue:
    response = _problem(503, "storage_away", str(error))
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


def _is_version_1() -> bool:
    return request.path.startswith("/api/v1/")


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
