"""Declares an API operation: its types check each request, and are its part of the OpenAPI document.

`operation` wraps a view: it authorises the token, counts the request, reads parameters and body into the declared
models, and writes the answer's model. `documented` only describes a view that does all of that by itself. `openapi`
collects both from the routes of an application, so a blueprint joins the API by being registered.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Protocol, TypeVar

from flask import Response, current_app, g, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ValidationError

from services.webhook_gateway import errors
from services.webhook_gateway.api.idempotency import IdempotencyKeys, StoredAnswer
from services.webhook_gateway.http.request_body import BodyReader
from shared.runtime.api_tokens import ApiToken, Scope

M = TypeVar("M", bound=BaseModel)
View = TypeVar("View", bound=Callable[..., Any])

VERSION_1 = "/api/v1/"
IDEMPOTENCY_KEY = "Idempotency-Key"
MAX_KEY_CHARACTERS = 255
_ATTRIBUTE = "api_operation"


class Authorizer(Protocol):
    """Checks the token of the current request."""

    def require(self, scope: Scope) -> ApiToken:
        """Raises UnauthorisedError, ForbiddenScopeError, TooManyFailuresError or TooManyRequestsError."""
        ...


@dataclass(frozen=True, slots=True)
class Api:
    """What operations are given; kept in `app.extensions["api"]`."""

    authorizer: Authorizer
    bodies: BodyReader
    idempotency: IdempotencyKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route as the OpenAPI document has it."""

    name: str
    summary: str
    description: str | None = None
    #: The scope of the token; None for a route that asks for none.
    scope: Scope | None = None
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    answer_text: str = "The answer."
    status: int = 200
    #: The refusals of this route, beside those that its token, parameters and body have anyway.
    refusals: tuple[type[errors.GatewayError], ...] = ()
    #: By the name of a parameter in the path: description, schema or example, where the converter does not say it.
    path: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: What a wrong parameter or body is answered with.
    fault: type[errors.ClientError] = errors.BadRequestError
    has_etag: bool = False
    is_idempotent: bool = False
    is_database_needed: bool = True
    #: Merged into the operation's object: what no field above can say.
    extra: Mapping[str, Any] = field(default_factory=dict)


def acting_token() -> ApiToken:
    """The token of the current request, whose operation asks for one."""
    found: ApiToken = g.acting_token
    return found


def documented(**described: Any) -> Callable[[View], View]:
    """Describe a view that reads its request and writes its answer by itself."""

    def describe(view: View) -> View:
        setattr(view, _ATTRIBUTE, Operation(name=_camel(view.__name__), **described))
        return view

    return describe


def operation(**described: Any) -> Callable[[Callable[..., Any]], Callable[..., ResponseReturnValue]]:
    """Describe a view, and do what the description says before and after it.

    The view gets the path's values by name, and `query` and `body` where they are declared; it returns the model of the
    answer, or a whole response.
    """

    def wrap(view: Callable[..., Any]) -> Callable[..., ResponseReturnValue]:
        declared = Operation(name=_camel(view.__name__), **described)

        @wraps(view)
        def answer(**path: Any) -> ResponseReturnValue:
            return _run(declared, view, path)

        setattr(answer, _ATTRIBUTE, declared)
        return answer

    return wrap


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """What was said of the view; None where nothing was."""
    found: Operation | None = getattr(view, _ATTRIBUTE, None)
    return found


def _run(declared: Operation, view: Callable[..., Any], path: Mapping[str, Any]) -> ResponseReturnValue:
    api: Api = current_app.extensions["api"]
    token = None if declared.scope is None else api.authorizer.require(declared.scope)
    g.acting_token = token
    given = dict(path)
    if declared.query is not None:
        given["query"] = _read_query(declared.query, declared.fault)
    elif request.path.startswith(VERSION_1) and request.args:
        raise errors.BadRequestError(f"There is no parameter {next(iter(request.args))[:40]!r}.")
    raw = b""
    if declared.body is not None:
        raw = api.bodies.read(request.environ)
        given["body"] = _read_body(declared.body, raw, declared.fault)
    if token is None or not declared.is_idempotent or IDEMPOTENCY_KEY not in request.headers:
        return _respond(declared, view(**given))
    return _once(api.idempotency, token, raw, lambda: _respond(declared, view(**given)))


def _once(keys: IdempotencyKeys, token: ApiToken, raw: bytes, act: Callable[[], Response]) -> Response:
    """The answer to the first request of this key, whichever request this is."""
    key = request.headers[IDEMPOTENCY_KEY]
    if not 1 <= len(key) <= MAX_KEY_CHARACTERS or not (key.isascii() and key.isprintable()):
        raise errors.BadRequestError(f"{IDEMPOTENCY_KEY}: 1 to {MAX_KEY_CHARACTERS} printable ASCII characters.")
    digest = hashlib.sha256(b"\n".join((request.method.encode(), request.path.encode(), raw))).digest()
    known = keys.begin(token.id, key, digest)
    if known is not None:
        response = Response(known.body, known.status, mimetype="application/json")
        response.headers["Idempotency-Replayed"] = "true"
        response.headers["Cache-Control"] = "private, no-store"
        return response
    try:
        response = act()
    except BaseException:
        # nothing was done, or what was done is found again by its own key: the next request may try
        keys.forget(token.id, key)
        raise
    keys.finish(token.id, key, StoredAnswer(response.status_code, response.get_data()))
    return response


def _respond(declared: Operation, answer: Any) -> Response:
    if isinstance(answer, Response):
        return answer
    response = Response(answer.model_dump_json(exclude_unset=True) + "\n", declared.status, mimetype="application/json")
    if declared.scope is not None:
        response.headers["Cache-Control"] = "private, no-cache" if declared.has_etag else "private, no-store"
    if declared.has_etag:
        response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32])
        response.make_conditional(request)
    return response


def _read_query(kind: type[M], fault: type[errors.ClientError]) -> M:
    """The query's parameters, each given once. Raises `fault`, which names what is wrong and never its value."""
    known = sorted(kind.model_fields)
    for name, values in request.args.lists():
        if request.path.startswith(VERSION_1) and name not in kind.model_fields:
            raise fault(f"There is no parameter {name[:40]!r}; there are: {', '.join(known)}.")
        if len(values) > 1:
            raise fault(f"{name}: give it once.")
    return _validate(lambda: kind.model_validate(request.args.to_dict()), "query", fault)


def _read_body(kind: type[M], raw: bytes, fault: type[errors.ClientError]) -> M:
    return _validate(lambda: kind.model_validate_json(raw), "body", fault)


def _validate(read: Callable[[], M], where: str, fault: type[errors.ClientError]) -> M:
    """Raises `fault` with the fields that are wrong, but never with what they hold."""
    try:
        return read()
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        raise fault(
            "; ".join(
                f"{'.'.join(str(part) for part in one['loc']) or where}: {one['msg'].removeprefix('Value error, ')}"
                for one in faults
            )
        ) from None


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
