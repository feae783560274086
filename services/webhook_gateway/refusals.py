"""How a refusal is told in HTTP, the same way from everywhere."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from services.webhook_gateway import errors

_STATUS: Final[Mapping[type[errors.TheirFault], tuple[HTTPStatus, str]]] = {
    errors.UnknownProvider: (HTTPStatus.NOT_FOUND, "unknown_provider"),
    errors.InvalidSignature: (HTTPStatus.UNAUTHORIZED, "invalid_signature"),
    errors.BrokenBody: (HTTPStatus.BAD_REQUEST, "broken_body"),
    errors.BodyTooSlow: (HTTPStatus.REQUEST_TIMEOUT, "body_too_slow"),
    errors.BodyTooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large"),
    errors.EncodedBody: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "encoded_body"),
    errors.TooManyUnverified: (HTTPStatus.TOO_MANY_REQUESTS, "too_many_unverified"),
    errors.Unauthorised: (HTTPStatus.UNAUTHORIZED, "unauthorised"),
    errors.BadUpload: (HTTPStatus.BAD_REQUEST, "bad_upload"),
    errors.BadPayment: (HTTPStatus.BAD_REQUEST, "bad_payment"),
    errors.UnknownUser: (HTTPStatus.NOT_FOUND, "unknown_user"),
    errors.ConflictingPayment: (HTTPStatus.CONFLICT, "conflicting_payment"),
    errors.UnknownCourse: (HTTPStatus.NOT_FOUND, "unknown_course"),
    errors.UploadMissing: (HTTPStatus.CONFLICT, "upload_missing"),
    errors.UnknownKey: (HTTPStatus.NOT_FOUND, "unknown_key"),
}


def tell(error: errors.TheirFault) -> tuple[HTTPStatus, dict[str, str], dict[str, str]]:
    """The status, the headers beside Content-Type, and the JSON of a refusal."""
    status, code = _STATUS[type(error)]
    headers = {}
    if isinstance(error, errors.Unauthorised):
        headers["WWW-Authenticate"] = "Bearer"
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        headers["Retry-After"] = "1"
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
        # the rest of the body may still be on its way; it must not be taken for the next request
        headers["Connection"] = "close"
    return status, headers, {"error": code, "message": str(error)}
