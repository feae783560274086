"""Builds the OpenAPI 3.1 document from an application's routes and the types of their operations."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from flask import Flask
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule

from services.webhook_gateway import errors
from services.webhook_gateway.api.operations import (
    IDEMPOTENCY_KEY,
    MAX_KEY_CHARACTERS,
    VERSION_1,
    Operation,
    operation_of,
)
from services.webhook_gateway.http.error_responses import STATUS_OF

_REF = "#/components/schemas/{model}"
_SCOPE_REFUSALS: Final = (
    errors.UnauthorisedError,
    errors.ForbiddenScopeError,
    errors.TooManyFailuresError,
)
_BODY_REFUSALS: Final = (
    errors.BrokenBodyError,
    errors.BodyTooSlowError,
    errors.BodyTooLargeError,
    errors.EncodedBodyError,
)
_KEY_REFUSALS: Final = (errors.ReusedKeyError, errors.KeyInProgressError)
_TEXT: Final = {"schema": {"type": "string"}}
_HEADERS: Final[Mapping[int, Mapping[str, Any]]] = {
    401: {"WWW-Authenticate": {"description": "Bearer.", "required": True, **_TEXT}},
    429: {"Retry-After": {"description": "Seconds to wait.", "required": True, "schema": {"type": "integer"}}},
    503: {"Retry-After": {"description": "Seconds to wait.", "required": True, "schema": {"type": "integer"}}},
}
#: What Werkzeug answers to a number above what a table can have, where an address has several methods.
_NO_SUCH_NUMBER: Final = {
    "description": "There is no such number.",
    "content": {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}},
}
_IDEMPOTENCY_PARAMETER: Final = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "Your own id of this request. A request that repeats it within a day gets the first one's answer.",
    "schema": {"type": "string", "pattern": f"^[!-~]{{1,{MAX_KEY_CHARACTERS}}}$"},
}


class Problem(BaseModel):
    """A refusal, as RFC 9457 has it."""

    model_config = ConfigDict(extra="forbid")
    type: str = Field(description="about:blank: the title says the status.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What to do.")
    code: str = Field(description="For programs.")


class Error(BaseModel):
    """A refusal of a route without a version."""

    model_config = ConfigDict(extra="forbid")
    error: str = Field(description="For programs.")
    message: str = Field(description="What to do.")


def build(app: Flask, info: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """The document of every route of `app` that says what it is; `tags` are headings by blueprint."""
    routes = [
        (rule, method, declared)
        for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule)
        if (declared := operation_of(app.view_functions[rule.endpoint])) is not None
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]
    models: set[tuple[type[BaseModel], JsonSchemaMode]] = {(Problem, "serialization"), (Error, "serialization")}
    for _, _, declared in routes:
        models |= {(one, "validation") for one in (declared.query, declared.body) if one is not None}
        models |= {(declared.answer, "serialization")} if declared.answer is not None else set()
    ordered = sorted(models, key=lambda one: (one[0].__name__, one[1]))
    references, definitions = models_json_schema(ordered, ref_template=_REF)
    paths: dict[str, Any] = {}
    methods = Counter(rule.rule for rule, _, _ in routes)
    versioned = {declared.name for rule, _, declared in routes if rule.rule.startswith(VERSION_1)}
    for rule, method, declared in routes:
        described = _describe(rule, method, declared, references)
        if methods[rule.rule] > 1 and "max=" in rule.rule:
            described["responses"].setdefault("405", _NO_SUCH_NUMBER)
            described["responses"] = dict(sorted(described["responses"].items()))
        described["tags"] = [tags[rule.endpoint.partition(".")[0]]]
        if declared.name in versioned and not rule.rule.startswith(VERSION_1):
            described["operationId"] += "Unversioned"
            described["description"] = "The same under its older address, with the older form of refusals."
        paths.setdefault(_path_of(rule), {})[method.lower()] = described
    schemas = definitions["$defs"]
    for query in {declared.query for _, _, declared in routes if declared.query is not None}:
        schemas.pop(query.__name__, None)
    return {
        "openapi": "3.1.0",
        "info": dict(info),
        "tags": [{"name": name} for name in tags.values()],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
        },
    }


def _describe(rule: Rule, method: str, declared: Operation, references: Mapping[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": declared.name, "summary": declared.summary}
    if declared.description:
        described["description"] = declared.description
    if declared.scope is not None:
        described["security"] = [{"token": []}]
        described["description"] = f"{declared.description or ''} Scope: `{declared.scope}`.".strip()
    parameters = [*_path_parameters(rule, declared), *_query_parameters(declared.query)]
    if declared.is_idempotent:
        parameters.append(_IDEMPOTENCY_PARAMETER)
    if parameters:
        described["parameters"] = parameters
    if declared.body is not None:
        schema = references[(declared.body, "validation")]
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    responses = _responses(rule, declared, references)
    extra = dict(declared.extra)
    responses |= extra.pop("responses", {})
    by_method = dict(extra.pop("by_method", {}).get(method, {}))
    responses |= by_method.pop("extra_responses", {})
    return {**described, "responses": dict(sorted(responses.items())), **extra, **by_method}


def _responses(rule: Rule, declared: Operation, references: Mapping[Any, Any]) -> dict[str, Any]:
    is_versioned = rule.rule.startswith(VERSION_1)
    responses: dict[str, Any] = {}
    if declared.answer is not None:
        success: dict[str, Any] = {
            "description": declared.answer_text,
            "content": {"application/json": {"schema": references[(declared.answer, "serialization")]}},
        }
        if declared.has_etag:
            success["headers"] = {"ETag": {"description": "Send it as If-None-Match.", "required": True, **_TEXT}}
            responses["304"] = {"description": "The answer is what the client has."}
        responses[str(declared.status)] = success
    for status, text in _refusals(declared, is_versioned=is_versioned).items():
        schema = references[(Problem if is_versioned else Error, "serialization")]
        media_type = "application/problem+json" if is_versioned else "application/json"
        refusal: dict[str, Any] = {"description": text, "content": {media_type: {"schema": schema}}}
        if status in _HEADERS and (status != HTTPStatus.UNAUTHORIZED or declared.scope is not None):
            refusal["headers"] = dict(_HEADERS[status])
        responses[str(status)] = refusal
    return responses


def _refusals(declared: Operation, *, is_versioned: bool) -> dict[int, str]:
    """By status, why a request is refused."""
    kinds: list[type[errors.GatewayError]] = list(declared.refusals)
    if declared.scope is not None:
        kinds += _SCOPE_REFUSALS
        kinds += [errors.TooManyRequestsError] if is_versioned else []
    if declared.body is not None:
        kinds += _BODY_REFUSALS
    if declared.is_idempotent:
        kinds += _KEY_REFUSALS
    if declared.body is not None or declared.query is not None:
        kinds.append(declared.fault)
    elif is_versioned and declared.scope is not None:
        kinds.append(errors.BadRequestError)
    texts: dict[int, list[str]] = {}
    for kind in kinds:
        text = (kind.__doc__ or "").partition("\n")[0]
        known = texts.setdefault(int(STATUS_OF[kind]), [])
        if text not in known:
            known.append(text)
    if declared.scope is not None and declared.is_database_needed:
        texts.setdefault(int(HTTPStatus.SERVICE_UNAVAILABLE), []).append("The database does not answer; try again.")
    return {status: " ".join(lines) for status, lines in texts.items()}


def _path_of(rule: Rule) -> str:
    return re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", rule.rule)


def _path_parameters(rule: Rule, declared: Operation) -> Iterable[dict[str, Any]]:
    for converter, name in re.findall(r"<(?:([^:>]+):)?(\w+)>", rule.rule):
        given = dict(declared.path.get(name, {}))
        parameter: dict[str, Any] = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        if converter.startswith("int"):
            most = re.search(r"max=([0-9]+)", converter)
            limits = {"maximum": int(most[1])} if most else {}
            parameter |= {"schema": {"type": "integer", "minimum": 0, **limits}, "example": 7}
        yield parameter | given


def _query_parameters(query: type[BaseModel] | None) -> Iterable[dict[str, Any]]:
    if query is None:
        return
    schema = query.model_json_schema(ref_template=_REF)
    definitions = schema.get("$defs", {})
    for name, declared in schema["properties"].items():
        inner = _inline(declared, definitions)
        parameter: dict[str, Any] = {"name": name, "in": "query", "schema": inner}
        if text := inner.pop("description", None):
            parameter["description"] = text
        if name in schema.get("required", ()):
            parameter["required"] = True
        if "example" in inner:
            parameter["example"] = inner.pop("example")
        yield parameter


def _inline(declared: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a parameter, without references, and without the null that stands for its absence."""
    if reference := declared.get("$ref"):
        return _inline(definitions[reference.rpartition("/")[2]], definitions)
    found = {name: value for name, value in declared.items() if name not in ("title", "anyOf")}
    for one in declared.get("anyOf", ()):
        if one != {"type": "null"}:
            found = {**_inline(one, definitions), **found}
    if found.get("default", 0) is None:
        del found["default"]
    return found
