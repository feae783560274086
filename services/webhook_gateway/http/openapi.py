"""OpenAPI 3.1 document of the gateway, and its page."""

from importlib.metadata import version
from typing import Any

from flask import render_template

from services.webhook_gateway.school_api.keys import openapi as key_openapi
from services.webhook_gateway.school_api.payments import openapi as payment_openapi
from services.webhook_gateway.school_api.playback import openapi as playback_openapi
from services.webhook_gateway.school_api.uploads.openapi import PATHS, SCHEMAS, SECURITY_SCHEMES
from services.webhook_gateway.school_api.videos import openapi as video_openapi
from services.webhook_gateway.school_api.webhook_endpoints import openapi as endpoint_openapi

_ERROR = {"$ref": "#/components/schemas/Error"}
_RECEIPT = {"$ref": "#/components/schemas/Receipt"}
_HEALTH = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}
_READINESS = {"$ref": "#/components/schemas/Readiness"}


def _answer(
    description: str, schema: dict[str, Any], media_type: str = "application/json", **headers: dict[str, Any]
) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": description, "content": {media_type: {"schema": schema}}}
    if headers:
        answer["headers"] = {name.replace("_", "-"): header for name, header in headers.items()}
    return answer


_RETRY_AFTER = {"description": "Seconds to wait.", "required": True, "schema": {"type": "integer"}}
_ALLOW = {"description": "The methods that are used.", "required": True, "schema": {"type": "string"}}
_LOCATION = {"description": "The school's page.", "required": True, "schema": {"type": "string", "format": "uri"}}
_REFUSALS = {
    "400": _answer("The body broke off, or its chunks are not well-formed.", _ERROR),
    "401": _answer("The signature does not prove where the request comes from. Nothing is kept.", _ERROR),
    "404": _answer("No provider of that name is switched on.", _ERROR),
    "405": _answer("The provider does not use this method.", _ERROR, Allow=_ALLOW),
    "408": _answer("The body did not arrive in time.", _ERROR),
    "413": _answer("The body is larger than the limit, which is 256 KiB unless the operator sets another.", _ERROR),
    "415": _answer("The body is compressed.", _ERROR),
    "429": _answer("Too many unverified requests.", _ERROR, Retry_After=_RETRY_AFTER),
    "503": _answer("The webhook cannot be kept now; send it again.", _ERROR, Retry_After=_RETRY_AFTER),
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

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Nouba gateway",
        "version": version("nouba"),
        "description": "Takes payment providers' webhooks. An answer of 200 or 202 means that the event is durable.",
    },
    "paths": {
        "/webhooks/{provider}": {
            "post": {
                "operationId": "receiveWebhook",
                "summary": "A provider tells something about a payment",
                "parameters": [_PROVIDER],
                "requestBody": _BODY,
                "responses": {"200": _answer("The event is durable.", _RECEIPT), **_REFUSALS},
            },
            "get": {
                "operationId": "receiveRedirect",
                "summary": "A payer comes back from the bank, or a provider tells by query (satim only)",
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
                "responses": {
                    "200": _answer("The event is durable.", _RECEIPT),
                    "303": {
                        "description": "The event is durable; the payer's browser goes back to the school.",
                        "headers": {"Location": _LOCATION},
                    },
                    **_REFUSALS,
                },
            },
        },
        "/api/payments/webhook": {
            "post": {
                "operationId": "receiveSchoolWebhook",
                "summary": "The same, with the provider in a header, as existing school back ends call it",
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
                "responses": {"202": _answer("The event is durable.", _RECEIPT), **_REFUSALS},
            }
        },
        **PATHS,
        **payment_openapi.PATHS,
        **key_openapi.PATHS,
        **playback_openapi.PATHS,
        **video_openapi.PATHS,
        **endpoint_openapi.PATHS,
        "/healthz": {
            "get": {
                "operationId": "showHealth",
                "summary": "The process answers",
                "responses": {"200": _answer("It does.", _HEALTH)},
            }
        },
        "/readyz": {
            "get": {
                "operationId": "showReadiness",
                "summary": "The work is flowing",
                "description": "Not ready when the database is away and the spool does not take its place, when a "
                "message waited longer than 60 seconds for RabbitMQ, an event longer than 300 seconds for a worker, or "
                "a webhook longer than 60 seconds in the spool although the database answers. "
                "Spooling: the database is away, and webhooks are kept on the gateway's disk until it is back.",
                "responses": {"200": _answer("It is.", _READINESS), "503": _answer("It is not.", _READINESS)},
            }
        },
        "/openapi.json": {
            "get": {
                "operationId": "showOpenapi",
                "summary": "This document",
                "responses": {"200": _answer("The document.", {"type": "object"})},
            }
        },
        "/docs": {
            "get": {
                "operationId": "showDocs",
                "summary": "This document for people",
                "responses": {"200": _answer("The page.", {"type": "string"}, "text/html")},
            }
        },
    },
    "components": {
        "securitySchemes": SECURITY_SCHEMES,
        "schemas": {
            **SCHEMAS,
            **playback_openapi.SCHEMAS,
            "Receipt": {
                "type": "object",
                "required": ["status", "event_id"],
                "additionalProperties": False,
                "properties": {
                    "status": {
                        "enum": ["accepted", "duplicate", "quarantined"],
                        "description": "quarantined: genuine, but put aside for an operator; do not send it again.",
                    },
                    "event_id": {
                        "type": ["integer", "null"],
                        "minimum": 1,
                        "description": "null while the database is away: the event is durable, and has no number yet.",
                    },
                },
            },
            "Error": {
                "type": "object",
                "required": ["error", "message"],
                "additionalProperties": False,
                "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
            },
            "Readiness": {
                "type": "object",
                "required": [
                    "status",
                    "database",
                    "unpublished_seconds",
                    "unsettled_seconds",
                    "spool",
                    "spool_events",
                    "undrained_seconds",
                ],
                "additionalProperties": False,
                "properties": {
                    "status": {"enum": ["ready", "spooling", "not ready"]},
                    "database": {"type": "boolean"},
                    "unpublished_seconds": {"type": ["number", "null"]},
                    "unsettled_seconds": {"type": ["number", "null"]},
                    "spool": {"enum": ["off", "ready", "full", "failing"]},
                    "spool_events": {"type": "integer", "minimum": 0},
                    "undrained_seconds": {"type": "number", "minimum": 0},
                },
            },
        },
    },
}


def page() -> str:
    """The document for people."""
    return render_template("docs.html", info=DOCUMENT["info"], paths=DOCUMENT["paths"])
