"""OpenAPI of the endpoints of events."""

from typing import Any

from services.webhook_gateway.school_api.playback.openapi import TOKEN_PROBLEMS, problem
from services.webhook_gateway.school_api.uploads.openapi import RETRY_AFTER, answer
from shared.contracts.events import EVENT_TYPES

_TEXT = {"type": "string"}
_INSTANT = {"type": ["string", "null"], "format": "date-time"}
_TYPES = {"type": "array", "maxItems": 50, "items": {"enum": ["*", *EVENT_TYPES]}}
_SHOWN: dict[str, Any] = {
    "id": {"type": "integer"},
    "url": _TEXT,
    "description": {"type": ["string", "null"]},
    "event_types": {"type": "array", "items": _TEXT, "description": "Empty: every type."},
    "ordered": {"type": "boolean"},
    "enabled": {"type": "boolean"},
    "disabled_because": {"enum": ["operator", "gone", "failing", None]},
    "disabled_at": _INSTANT,
    "failures": {"type": "integer", "description": "Since the last success."},
    "failing_since_at": _INSTANT,
    "held_until_at": _INSTANT,
    "previous_until_at": {**_INSTANT, "description": "Until then the previous secret signs too."},
    "created_at": {"type": "string", "format": "date-time"},
}
_ENDPOINT = {"type": "object", "required": list(_SHOWN), "additionalProperties": False, "properties": _SHOWN}
_WITH_SECRET = {**_ENDPOINT, "required": [*_SHOWN, "secret"], "properties": {**_SHOWN, "secret": _TEXT}}
_DELIVERY = {
    "type": "object",
    "required": ["id", "event_id", "type", "state", "attempts", "due_at", "occurred_at", "ended_at", "log"],
    "properties": {
        "id": {"type": "integer"},
        "event_id": _TEXT,
        "type": _TEXT,
        "state": {"enum": ["pending", "delivered", "failed"]},
        "attempts": {"type": "integer"},
        "due_at": _INSTANT,
        "occurred_at": {"type": "string", "format": "date-time"},
        "ended_at": _INSTANT,
        "log": {"type": "array", "items": {"type": "object"}, "description": "Every attempt, the newest last."},
    },
}
_WRITABLE = {
    "url": {"type": "string", "maxLength": 2048, "format": "uri", "example": "https://school.example/nouba"},
    "event_types": {**_TYPES, "description": "Those that it gets; none, or *, for every type."},
    "description": {"type": ["string", "null"], "maxLength": 500},
    "ordered": {"type": "boolean", "description": "An event waits for the one before it of the same key."},
}
_ID = {
    "name": "endpoint_id",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
    "example": 7,
}
_UNKNOWN = {"404": problem("There is no such endpoint.")}
_COMMON = {
    **TOKEN_PROBLEMS,
    "405": problem("No endpoint has such a number."),
    "503": problem("The database is away.", {"Retry-After": RETRY_AFTER}),
}
_OF_BODY = {
    "400": problem("It is not of this form, or leads to a private address."),
    "408": problem("The body did not arrive in time."),
    "413": problem("The body is too large."),
    "415": problem("The body is compressed."),
}


def _asks(name: str, summary: str, responses: dict[str, Any], body: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": name, "summary": summary, "security": [{"token": []}]}
    if body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
        responses = {**responses, **_OF_BODY}
    return {**found, "responses": {**responses, **_COMMON}}


def _of_one(name: str, summary: str, responses: dict[str, Any], body: dict[str, Any] | None = None) -> dict[str, Any]:
    return {**_asks(name, summary, {**responses, **_UNKNOWN}, body), "parameters": [_ID]}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "additionalProperties": False,
        "properties": properties,
    }


_PAGE = [
    {"name": "state", "in": "query", "schema": {"enum": ["pending", "delivered", "failed"]}},
    {"name": "cursor", "in": "query", "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}},
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}},
]
_DELIVERIES = _object(
    {"deliveries": {"type": "array", "items": _DELIVERY}, "next_cursor": {"type": ["string", "null"]}}
)
_REPLAY = _object(
    {
        "event_types": {**_TYPES, "description": "None: those of the endpoint."},
        "since": _INSTANT,
        "until": _INSTANT,
        "only_failed": {"type": "boolean"},
    }
)
_deliveries = _of_one(
    "listDeliveries", "An endpoint's deliveries, the newest first", {"200": answer("A page.", _DELIVERIES)}
)

_ONE = "/api/v1/webhook-endpoints/{endpoint_id}"
PATHS: dict[str, Any] = {
    "/api/v1/webhook-endpoints": {
        "post": _asks(
            "addEndpoint",
            "Add an endpoint; its secret is shown this once",
            {"201": answer("It gets events from now on.", _WITH_SECRET)},
            _object(_WRITABLE, "url", "event_types"),
        ),
        "get": _asks(
            "listEndpoints",
            "All endpoints, without their secrets",
            {"200": answer("They.", _object({"endpoints": {"type": "array", "items": _ENDPOINT}}, "endpoints"))},
        ),
    },
    _ONE: {
        "get": _of_one("showEndpoint", "One endpoint", {"200": answer("It.", _ENDPOINT)}),
        "patch": _of_one(
            "changeEndpoint",
            "Change, enable or disable an endpoint",
            {"200": answer("As it is now.", _ENDPOINT)},
            _object({**_WRITABLE, "enabled": {"type": "boolean"}}),
        ),
        "delete": _of_one("removeEndpoint", "Remove an endpoint", {"204": {"description": "It is gone."}}),
    },
    f"{_ONE}/secret": {
        "post": _of_one(
            "rotateSecret", "A new secret; the old one signs beside it for a day", {"200": answer("It.", _WITH_SECRET)}
        )
    },
    f"{_ONE}/test": {
        "post": _of_one(
            "testEndpoint",
            "Deliver a ping",
            {
                "202": answer("It is on its way.", _object({"event_id": _TEXT}, "event_id")),
                "400": problem("The endpoint is disabled."),
            },
        )
    },
    f"{_ONE}/deliveries": {
        "get": {
            **_deliveries,
            "parameters": [_ID, *_PAGE],
            "responses": {**_deliveries["responses"], "400": problem("A parameter is not of this form.")},
        }
    },
    f"{_ONE}/replay": {
        "post": _of_one(
            "replayEvents",
            "Send events again, under their own ids",
            {"202": answer("How many.", _object({"events": {"type": "integer"}}, "events"))},
            _REPLAY,
        )
    },
}
