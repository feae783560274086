"""What the gateway offers about a course's video; a part of the document in `openapi`."""

from typing import Any

from services.webhook_gateway.school_api.playback.openapi import COURSE, TOKEN_PROBLEMS, problem
from services.webhook_gateway.school_api.uploads.openapi import RETRY_AFTER, answer

_STATUS = {
    "enum": ["none", "pending", "processing", "completed", "failed", "cancelled", "cancelling", "deleting"],
    "description": "none: no upload is known. The last two: asked for, and done within seconds.",
}
_VIDEO = {
    "type": "object",
    "required": ["status", "percent", "warnings", "reason", "master_key", "captions", "chapters", "duration_seconds"],
    "additionalProperties": False,
    "properties": {
        "status": _STATUS,
        "percent": {"type": "number", "minimum": 0, "maximum": 100},
        "warnings": {
            "type": "array",
            "description": "What the lesson lacks, for its teacher.",
            "items": {
                "type": "object",
                "required": ["code", "text"],
                "additionalProperties": False,
                "properties": {"code": {"type": "string"}, "text": {"type": "string"}},
            },
        },
        "reason": {"type": ["string", "null"], "description": "Why it failed: one sentence for the teacher."},
        "master_key": {
            "type": ["string", "null"],
            "description": "What the course shows now, of this upload or before.",
        },
        "captions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["language", "automatic"],
                "additionalProperties": False,
                "properties": {"language": {"type": "string"}, "automatic": {"type": "boolean"}},
            },
        },
        "chapters": {
            "type": "array",
            "description": "The chapters that the file has, in order.",
            "items": {
                "type": "object",
                "required": ["start_seconds", "title"],
                "additionalProperties": False,
                "properties": {"start_seconds": {"type": "number", "minimum": 0}, "title": {"type": "string"}},
            },
        },
        "duration_seconds": {"type": ["number", "null"]},
    },
}
_REFUSALS = {
    **TOKEN_PROBLEMS,
    "404": problem("There is no such course."),
    # what Werkzeug answers to such a number where an address has several methods
    "405": problem("No course has such a number."),
    "503": problem("The database is away.", {"Retry-After": RETRY_AFTER}),
}


def _asks(name: str, summary: str, status: str) -> dict[str, Any]:
    told = {
        "type": "object",
        "required": ["status"],
        "additionalProperties": False,
        "properties": {"status": {"const": status}},
    }
    return {
        "operationId": name,
        "summary": summary,
        "security": [{"token": []}],
        "parameters": [COURSE],
        "responses": {
            "202": answer("A worker does it within seconds. May be asked again.", told),
            "409": problem("The newest upload of the course is in no state for it."),
            **_REFUSALS,
        },
    }


_KEPT = {
    "type": "object",
    "required": ["language", "cues"],
    "additionalProperties": False,
    "properties": {"language": {"type": "string"}, "cues": {"type": "integer", "minimum": 0}},
}
_LANGUAGE = {
    "name": "language",
    "in": "path",
    "required": True,
    "description": "A tag as BCP 47 has it.",
    "schema": {"type": "string", "pattern": "^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}$"},
    "example": "ar",
}
_CAPTIONS = {
    "put": {
        "operationId": "putCaptions",
        "summary": "The captions of one language, WebVTT or SubRip in UTF-8; in the lesson within seconds",
        "security": [{"token": []}],
        "parameters": [COURSE, _LANGUAGE],
        "requestBody": {
            "required": True,
            "content": {
                "text/vtt": {"schema": {"type": "string"}},
                "application/x-subrip": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "200": answer("They are kept.", _KEPT),
            "400": problem("The language is no tag, or the body is neither WebVTT nor SubRip."),
            "408": problem("The body did not arrive in time."),
            "413": problem("The body is larger than 2 MiB."),
            "415": problem("The body is compressed."),
            **_REFUSALS,
        },
    },
    "delete": {
        "operationId": "deleteCaptions",
        "summary": "Take the captions of one language away",
        "security": [{"token": []}],
        "parameters": [COURSE, _LANGUAGE],
        "responses": {
            "200": answer("They are gone.", _KEPT),
            "400": problem("The language is no tag."),
            **_REFUSALS,
            "404": problem("There is no such course, or no such captions."),
        },
    },
}

PATHS: dict[str, Any] = {
    "/api/v1/courses/{course_id}/captions/{language}": _CAPTIONS,
    "/api/v1/courses/{course_id}/video": {
        "get": {
            "operationId": "showVideo",
            "summary": "How far the newest upload of a course is",
            "security": [{"token": []}],
            "parameters": [COURSE],
            "responses": {"200": answer("It.", _VIDEO), **_REFUSALS},
        },
        "delete": _asks("deleteVideo", "Delete a course's lessons, uploads and keys", "deleting"),
    },
    "/api/v1/courses/{course_id}/video/cancel": {
        "post": _asks("cancelVideo", "Stop the work on a course's newest upload", "cancelling")
    },
    "/api/v1/courses/{course_id}/video/retry": {
        "post": _asks("retryVideo", "Try a failed or cancelled upload again, with what was made of it", "pending")
    },
}
