"""OpenAPI of the lesson keys."""

from typing import Any

from services.webhook_gateway.school_api.uploads.openapi import TOKEN_REFUSALS

_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_TEXT = {"schema": {"type": "string"}}

PATHS: dict[str, Any] = {
    "/api/courses/{course_id}/keys/{key_id}": {
        "get": {
            "operationId": "giveKey",
            "summary": "The key of an encrypted lesson, for the school's back end to pass on to who may watch it",
            "security": [{"token": []}],
            "parameters": [
                {
                    "name": "course_id",
                    "in": "path",
                    "required": True,
                    "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
                    "example": 7,
                },
                {
                    "name": "key_id",
                    "in": "path",
                    "required": True,
                    "description": "As the lesson's playlists name it.",
                    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                    "example": "0123456789abcdef0123456789abcdef",
                },
            ],
            "responses": {
                "200": {
                    "description": "Sixteen bytes.",
                    "headers": {"Cache-Control": {"description": "private, no-store.", "required": True, **_TEXT}},
                    "content": {"application/octet-stream": {"schema": {}}},
                },
                "401": {
                    "description": "The token is not one of the school's.",
                    "headers": {"WWW-Authenticate": {"description": "Bearer.", "required": True, **_TEXT}},
                    "content": _ERROR,
                },
                "403": TOKEN_REFUSALS["403"],
                "429": TOKEN_REFUSALS["429"],
                "404": {"description": "The course has no such key.", "content": _ERROR},
                "503": {
                    "description": "The database is away.",
                    "headers": {
                        "Retry-After": {
                            "description": "Seconds to wait.",
                            "required": True,
                            "schema": {"type": "integer"},
                        }
                    },
                    "content": _ERROR,
                },
            },
        }
    }
}
