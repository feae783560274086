"""What the gateway offers about playing lessons; a part of the document in `openapi`."""

from typing import Any

from services.webhook_gateway.school_api.playback.routes import (
    DEFAULT_TTL_SECONDS,
    LONGEST_TTL_SECONDS,
    SHORTEST_TTL_SECONDS,
)
from services.webhook_gateway.school_api.uploads.openapi import CHALLENGE, RETRY_AFTER, answer
from shared.runtime.playback_links import LONGEST_VIEWER_BYTES

COURSE = {
    "name": "course_id",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
    "example": 7,
}
_LINK = {
    "type": "object",
    "required": ["master_url", "expires_at"],
    "additionalProperties": False,
    "properties": {
        "master_url": {"type": "string", "format": "uri", "description": "Give it to the player as it is."},
        "expires_at": {"type": "string", "format": "date-time"},
    },
}
_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def problem(description: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    """A refusal as RFC 9457 has it."""
    found: dict[str, Any] = {
        "description": description,
        "content": {"application/problem+json": {"schema": _PROBLEM}},
    }
    return {**found, "headers": headers} if headers else found


#: Of every route of version 1, which all ask for a token.
TOKEN_PROBLEMS = {
    "401": problem("The token is not one of the school's.", {"WWW-Authenticate": CHALLENGE}),
    "403": problem("The token lacks the scope of this route."),
    "429": problem("The client sent too many wrong tokens.", {"Retry-After": RETRY_AFTER}),
}
#: What `PATHS` refers to.
SCHEMAS: dict[str, Any] = {
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code"],
        "additionalProperties": False,
        "properties": {
            "type": {"const": "about:blank"},
            "title": {"type": "string", "description": "The status in words."},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What to do."},
            "code": {"type": "string", "description": "For programs."},
        },
    }
}

PATHS: dict[str, Any] = {
    "/api/v1/courses/{course_id}/playback": {
        "get": {
            "operationId": "signPlayback",
            "summary": "An address by which one viewer plays a course's lesson for a while",
            "security": [{"token": []}],
            "parameters": [
                COURSE,
                {
                    "name": "viewer",
                    "in": "query",
                    "required": True,
                    "description": "Who watches, for example the user's id. It stands in the address, readable.",
                    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_VIEWER_BYTES},
                    "example": "u-17",
                },
                {
                    "name": "ttl_seconds",
                    "in": "query",
                    "schema": {
                        "type": "integer",
                        "minimum": SHORTEST_TTL_SECONDS,
                        "maximum": LONGEST_TTL_SECONDS,
                        "default": DEFAULT_TTL_SECONDS,
                    },
                },
                {
                    "name": "address",
                    "in": "query",
                    "description": "The viewer's IP address; the answer's address then plays from there alone.",
                    "schema": {"type": "string"},
                },
            ],
            "responses": {
                "200": answer("It plays as it is.", _LINK),
                "400": problem("A parameter is missing or wrong."),
                **TOKEN_PROBLEMS,
                "404": problem("There is no such course."),
                "409": problem("The course has no lesson yet."),
                "503": problem("The database is away, or playback is off.", {"Retry-After": RETRY_AFTER}),
            },
        }
    }
}
