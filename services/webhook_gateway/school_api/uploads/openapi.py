"""OpenAPI of uploads."""

from typing import Any

from services.webhook_gateway.school_api.uploads.routes import CompletionBody, ResumptionBody, WishBody

_ERROR = {"$ref": "#/components/schemas/Error"}

_TICKET = {
    "type": "object",
    "required": ["upload_id", "key", "part_size", "headers"],
    "additionalProperties": False,
    "properties": {
        "upload_id": {"type": "string"},
        "key": {"type": "string"},
        "url": {"type": "string", "format": "uri", "description": "PUT the whole file here. Absent for large files."},
        "parts": {
            "type": "array",
            "description": "PUT `part_size` bytes to each, the last with what is left. Present for large files.",
            "items": {
                "type": "object",
                "required": ["part_number", "url"],
                "properties": {"part_number": {"type": "integer"}, "url": {"type": "string", "format": "uri"}},
            },
        },
        "part_size": {"type": "integer", "description": "Bytes."},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}, "description": "To be sent along."},
    },
}
_STARTED = {
    "type": "object",
    "required": ["status", "key"],
    "additionalProperties": False,
    "properties": {"status": {"const": "accepted"}, "key": {"type": "string"}},
}
_COURSE = {
    "name": "course_id",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
    "example": 7,
}
RETRY_AFTER = {"description": "Seconds to wait.", "required": True, "schema": {"type": "integer"}}
CHALLENGE = {"description": "Bearer.", "required": True, "schema": {"type": "string"}}


def answer(description: str, schema: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    """A response that is JSON of `schema`."""
    found: dict[str, Any] = {"description": description, "content": {"application/json": {"schema": schema}}}
    return {**found, "headers": headers} if headers else found


#: Of every route that asks for a token.
TOKEN_REFUSALS = {
    "401": answer("The token is not one of the school's.", _ERROR, {"WWW-Authenticate": CHALLENGE}),
    "403": answer("The token lacks the scope of this route.", _ERROR),
    "429": answer("The client sent too many wrong tokens.", _ERROR, {"Retry-After": RETRY_AFTER}),
}
_REFUSALS = {
    **TOKEN_REFUSALS,
    "400": answer("The request does not have this form.", _ERROR),
    "404": answer("There is no such course.", _ERROR),
    "408": answer("The body did not arrive in time.", _ERROR),
    "413": answer("The body is larger than the limit.", _ERROR),
    "415": answer("The body is compressed.", _ERROR),
    "503": answer("The database or S3 is away, or uploads are off.", _ERROR, {"Retry-After": RETRY_AFTER}),
}


def _operation(name: str, summary: str, body: dict[str, Any], answers: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "security": [{"token": []}],
        "parameters": [_COURSE],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {**answers, **_REFUSALS},
    }


_COMPLETION = CompletionBody.model_json_schema(ref_template="#/components/schemas/{model}")

#: What `PATHS` refers to.
SCHEMAS: dict[str, Any] = _COMPLETION.pop("$defs")
SECURITY_SCHEMES = {"token": {"type": "http", "scheme": "bearer"}}

_REST = {
    "type": "object",
    "required": ["part_size", "parts", "received"],
    "additionalProperties": False,
    "properties": {
        "part_size": {"type": "integer", "description": "Bytes."},
        "parts": _TICKET["properties"]["parts"],  # type: ignore[index]
        "received": {
            "type": "array",
            "description": "What S3 has; send it along when the upload is completed.",
            "items": {
                "type": "object",
                "required": ["part_number", "etag"],
                "properties": {"part_number": {"type": "integer"}, "etag": {"type": "string"}},
            },
        },
    },
}


def _problems(refusals: dict[str, Any]) -> dict[str, Any]:
    """The same refusals as RFC 9457 has them, which is the form of version 1."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {**one, "content": {"application/problem+json": schema}} for status, one in refusals.items()}


_RESUMPTION = _operation(
    "resumeUpload",
    "New addresses for the parts of an upload that are missing",
    ResumptionBody.model_json_schema(),
    {"200": answer("Addresses that can be used for twelve hours.", _REST)},
)
_RESUMPTION["responses"] |= _problems(
    {**_REFUSALS, "409": answer("There is no such upload; it may be completed, or too old.", _ERROR)}
)

PATHS: dict[str, Any] = {
    "/api/v1/courses/{course_id}/video/parts": {"post": _RESUMPTION},
    "/api/courses/{course_id}/video": {
        "post": _operation(
            "openUpload",
            "Where to put a course's video",
            WishBody.model_json_schema(),
            {"201": answer("Addresses that can be used for twelve hours.", _TICKET)},
        )
    },
    "/api/courses/{course_id}/video/complete": {
        "post": _operation(
            "closeUpload",
            "The video is there; make a lesson of it. May be said again",
            _COMPLETION,
            {
                "202": answer("Transcoding starts.", _STARTED),
                "409": answer("The upload is not there, or parts of it are missing.", _ERROR),
            },
        )
    },
}
