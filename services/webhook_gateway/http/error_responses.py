"""Error responses of the gateway, one form for all routes."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from services.webhook_gateway import errors

_STATUS: Final[Mapping[type[errors.ClientError], tuple[HTTPStatus, str]]] = {
    errors.UnknownProviderError: (HTTPStatus.NOT_FOUND, "unknown_provider"),
    errors.InvalidSignatureError: (HTTPStatus.UNAUTHORIZED, "invalid_signature"),
    errors.BrokenBodyError: (HTTPStatus.BAD_REQUEST, "broken_body"),
    errors.BodyTooSlowError: (HTTPStatus.REQUEST_TIMEOUT, "body_too_slow"),
    errors.BodyTooLargeError: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large"),
    errors.EncodedBodyError: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "encoded_body"),
    errors.TooManyUnverifiedError: (HTTPStatus.TOO_MANY_REQUESTS, "too_many_unverified"),
    errors.UnauthorisedError: (HTTPStatus.UNAUTHORIZED, "unauthorised"),
    errors.ForbiddenScopeError: (HTTPStatus.FORBIDDEN, "insufficient_scope"),
    errors.TooManyFailuresError: (HTTPStatus.TOO_MANY_REQUESTS, "too_many_failures"),
    errors.BadUploadError: (HTTPStatus.BAD_REQUEST, "bad_upload"),
    errors.BadPaymentError: (HTTPStatus.BAD_REQUEST, "bad_payment"),
    errors.UnknownUserError: (HTTPStatus.NOT_FOUND, "unknown_user"),
    errors.ConflictingPaymentError: (HTTPStatus.CONFLICT, "conflicting_payment"),
    errors.UnknownCourseError: (HTTPStatus.NOT_FOUND, "unknown_course"),
    errors.UploadTooLargeError: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "upload_too_large"),
    errors.UploadMissingError: (HTTPStatus.CONFLICT, "upload_missing"),
    errors.UnknownKeyError: (HTTPStatus.NOT_FOUND, "unknown_key"),
    errors.BadPlaybackError: (HTTPStatus.BAD_REQUEST, "bad_playback"),
    errors.LessonNotReadyError: (HTTPStatus.CONFLICT, "lesson_not_ready"),
    errors.NothingToDoError: (HTTPStatus.CONFLICT, "nothing_to_do"),
    errors.BadCaptionsError: (HTTPStatus.BAD_REQUEST, "bad_captions"),
    errors.UnknownCaptionsError: (HTTPStatus.NOT_FOUND, "unknown_captions"),
    errors.BadChaptersError: (HTTPStatus.BAD_REQUEST, "bad_chapters"),
    errors.UnknownChaptersError: (HTTPStatus.NOT_FOUND, "unknown_chapters"),
    errors.BadRequestError: (HTTPStatus.BAD_REQUEST, "bad_request"),
    errors.TooManyRequestsError: (HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests"),
    errors.ReusedKeyError: (HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
    errors.KeyInProgressError: (HTTPStatus.CONFLICT, "idempotency_key_in_progress"),
    errors.UnknownPaymentError: (HTTPStatus.NOT_FOUND, "unknown_payment"),
    errors.UnknownEventError: (HTTPStatus.NOT_FOUND, "unknown_webhook_event"),
    errors.UnknownDeadLetterError: (HTTPStatus.NOT_FOUND, "unknown_dead_letter"),
    errors.ConflictingCheckoutError: (HTTPStatus.CONFLICT, "conflicting_checkout"),
    errors.CheckoutInProgressError: (HTTPStatus.CONFLICT, "checkout_in_progress"),
    errors.CheckoutRefusedError: (HTTPStatus.UNPROCESSABLE_ENTITY, "checkout_refused"),
    errors.BadEndpointError: (HTTPStatus.BAD_REQUEST, "bad_endpoint"),
    errors.UnknownEndpointError: (HTTPStatus.NOT_FOUND, "unknown_endpoint"),
}
_FAULTS: Final[Mapping[type[errors.GatewayError], HTTPStatus]] = {
    errors.ObjectStoreUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.PlaybackOffError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StorageUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ProviderUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}
#: The status of every error that a route may name.
STATUS_OF: Final[Mapping[type[errors.GatewayError], HTTPStatus]] = {
    **{kind: status for kind, (status, _) in _STATUS.items()},
    **_FAULTS,
}


def error_response(error: errors.ClientError) -> tuple[HTTPStatus, dict[str, str], dict[str, str]]:
    """The status, the headers beside Content-Type, and the JSON of a refusal."""
    status, code = _STATUS[type(error)]
    headers = {}
    if isinstance(error, errors.UnauthorisedError):
        headers["WWW-Authenticate"] = "Bearer"
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        headers["Retry-After"] = "60" if isinstance(error, errors.TooManyFailuresError) else "1"
    if isinstance(error, errors.TooManyRequestsError):
        headers |= {**error.headers, "Retry-After": str(error.retry_after_seconds)}
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
        # the rest of the body may still be on its way; it must not be taken for the next request
        headers["Connection"] = "close"
    return status, headers, {"error": code, "message": str(error)}
