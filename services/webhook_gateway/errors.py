"""Errors of the gateway: the client's, and the server's.

GatewayError
+-- ClientError                     the request is refused, nothing is kept
|   +-- UnknownProviderError        404
|   +-- InvalidSignatureError       401
|   +-- BrokenBodyError             400
|   +-- BodyTooSlowError            408
|   +-- BodyTooLargeError           413
|   +-- EncodedBodyError            415
|   +-- TooManyUnverifiedError      429
|   +-- UnauthorisedError           401
|   +-- ForbiddenScopeError         403
|   +-- TooManyFailuresError        429
|   +-- BadUploadError              400
|   +-- BadPaymentError             400
|   +-- UnknownUserError            404
|   +-- ConflictingPaymentError     409
|   +-- UnknownCourseError          404
|   +-- UploadMissingError          409
|   +-- UploadTooLargeError         413
|   +-- UnknownKeyError             404
|   +-- BadPlaybackError            400
|   +-- LessonNotReadyError         409
|   +-- NothingToDoError            409
|   +-- BadCaptionsError            400
|   +-- UnknownCaptionsError        404
|   +-- BadChaptersError            400
|   +-- UnknownChaptersError        404
|   +-- BadRequestError             400
|   +-- TooManyRequestsError        429
|   +-- ReusedKeyError              422
|   +-- KeyInProgressError          409
|   +-- UnknownPaymentError         404
|   +-- UnknownEventError           404
|   +-- UnknownDeadLetterError      404
|   +-- ConflictingCheckoutError    409
|   +-- CheckoutInProgressError     409
|   +-- CheckoutRefusedError        422
|   +-- BadEndpointError            400
|   +-- UnknownEndpointError        404
+-- UnreadableEventError            genuine, but not understood: kept and quarantined, answered 200
+-- ServerError                     our fault: retried
    +-- ProviderUnavailableError    the provider's own API did not answer
    |   +-- ProviderBusyError       the limit of concurrent polls is reached
    |   +-- PaymentPendingError     the provider answered: the payer has not finished
    |   +-- ProviderRateLimitedError 429 from the provider: wait before the next poll
    +-- RefundRefusedError          the provider refuses the refund for good
    +-- ObjectStoreUnavailableError S3 did not answer
    +-- PlaybackOffError            503: no secret signs addresses of lessons here
    +-- ConcurrentInsertError       another transaction opened the same payment first
    +-- StorageUnavailableError     503: neither the database nor the spool took the webhook
    +-- NotReadyError               a setting is missing or wrong: the process refuses to start
"""

from collections.abc import Mapping


class GatewayError(Exception):
    """The root of every error this service raises on purpose."""


class ClientError(GatewayError):
    """The sender has to change something."""


class UnknownProviderError(ClientError):
    """No provider of that name is switched on."""


class InvalidSignatureError(ClientError):
    """The request does not prove that it comes from the provider."""


class BrokenBodyError(ClientError):
    """The body ended early, or its chunks are none."""

    def __init__(self) -> None:
        super().__init__("The body ended before it was whole, or its chunks are not well-formed; send all of it.")


class BodyTooSlowError(ClientError):
    """The body did not arrive in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The whole body has to arrive within {seconds:g} seconds.")


class BodyTooLargeError(ClientError):
    """The body is larger than any webhook."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body may have at most {limit_bytes} bytes.")


class EncodedBodyError(ClientError):
    """The body is compressed; inflating strangers' bytes before they are verified is not safe."""

    def __init__(self) -> None:
        super().__init__("Send the body as it is, without Content-Encoding.")


class TooManyUnverifiedError(ClientError):
    """Too many requests in a short time proved nothing."""


class UnauthorisedError(ClientError):
    """The request lacks a token that we gave out."""

    def __init__(self) -> None:
        super().__init__("Send one of the school's API tokens: Authorization: Bearer <token>.")


class ForbiddenScopeError(ClientError):
    """The token is valid and does not open this route."""


class TooManyFailuresError(ClientError):
    """The client sent too many wrong tokens."""

    def __init__(self) -> None:
        super().__init__("Too many wrong tokens; try again in a minute.")


class BadUploadError(ClientError):
    """The request about an upload does not have the form that the documentation shows."""


class BadPaymentError(ClientError):
    """What the school says of a payment does not have the form that the documentation shows."""


class UnknownUserError(ClientError):
    """There is no such user."""

    def __init__(self, user_id: int) -> None:
        super().__init__(f"There is no user {user_id}.")


class ConflictingPaymentError(ClientError):
    """The payment is known already, and is another one."""

    def __init__(self, payment_id: int) -> None:
        super().__init__(
            f"Payment {payment_id} has this reference, and another user, amount or order; give each payment its own."
        )


class UnknownCourseError(ClientError):
    """There is no such course."""

    def __init__(self, course_id: int) -> None:
        super().__init__(f"There is no course {course_id}.")


class UploadMissingError(ClientError):
    """What is said to be uploaded is not there."""

    def __init__(self, key: str) -> None:
        super().__init__(f"There is no upload {key!r} for this course; upload it first, all parts of it.")


class UploadTooLargeError(ClientError):
    """The video is larger than any that is taken."""

    def __init__(self, size: int, largest_bytes: int) -> None:
        super().__init__(
            f"The video has {size} bytes, and at most {largest_bytes} are taken: "
            "export it with a lower bit rate, or cut it in two."
        )


class UnknownKeyError(ClientError):
    """The course has no such key."""

    def __init__(self, course_id: int) -> None:
        super().__init__(f"Course {course_id} has no such key: ask for the one that its playlists name.")


class BadPlaybackError(ClientError):
    """The request for an address of a lesson does not have the form that the documentation shows."""


class LessonNotReadyError(ClientError):
    """The course shows nothing yet."""

    def __init__(self, course_id: int) -> None:
        super().__init__(
            f"Course {course_id} has no lesson yet: GET /api/v1/courses/{course_id}/video shows how far it is."
        )


class NothingToDoError(ClientError):
    """The course's video is in no state for what is asked."""

    def __init__(self, course_id: int, what: str, status: str, *, is_unopened: bool = False) -> None:
        super().__init__(
            f"No worker has opened the upload of course {course_id} yet: repeat this in a moment."
            if is_unopened
            else f"The video of course {course_id} is {status!r}: there is nothing to {what}."
        )


class BadCaptionsError(ClientError):
    """The captions or their language are not in the form that the documentation shows."""


class UnknownCaptionsError(ClientError):
    """The course has no captions of that language."""

    def __init__(self, course_id: int, language: str) -> None:
        super().__init__(f"Course {course_id} has no captions in {language!r}.")


class BadChaptersError(ClientError):
    """The chapters are not in the form that the documentation shows, or not within the lesson."""


class UnknownChaptersError(ClientError):
    """Nobody sent chapters for the course."""

    def __init__(self, course_id: int) -> None:
        super().__init__(f"No chapters were sent for course {course_id}; those of an upload cannot be removed.")


class BadRequestError(ClientError):
    """A parameter or the body does not have the documented form."""


class TooManyRequestsError(ClientError):
    """The token has sent too many requests in the last minute."""

    def __init__(self, retry_after_seconds: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"This token has sent too many requests; wait {retry_after_seconds} seconds.")
        self.retry_after_seconds = retry_after_seconds
        self.headers = headers


class ReusedKeyError(ClientError):
    """The Idempotency-Key was used for another request."""

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request; give each request its own.")


class KeyInProgressError(ClientError):
    """The first request with this Idempotency-Key is still running."""

    def __init__(self) -> None:
        super().__init__("The first request with this Idempotency-Key is still running; send it again in a second.")


class UnknownPaymentError(ClientError):
    """There is no such payment."""

    def __init__(self, payment_id: int) -> None:
        super().__init__(f"There is no payment {payment_id}.")


class UnknownEventError(ClientError):
    """There is no such webhook event."""

    def __init__(self, event_id: int) -> None:
        super().__init__(f"There is no webhook event {event_id}.")


class UnknownDeadLetterError(ClientError):
    """There is no such dead letter."""

    def __init__(self, letter_id: int) -> None:
        super().__init__(f"There is no dead letter {letter_id}.")


class ConflictingCheckoutError(ClientError):
    """The order has a checkout for another user, amount or subscription, or one that has ended."""


class CheckoutInProgressError(ClientError):
    """Another request is making the checkout of this order."""

    def __init__(self) -> None:
        super().__init__("Another request is making this order's checkout; send it again in a second.")


class CheckoutRefusedError(ClientError):
    """The provider does not take such a checkout; the detail says what to change."""


class BadEndpointError(ClientError):
    """The endpoint, its deliveries or a replay cannot be as they are asked for."""


class UnknownEndpointError(ClientError):
    """There is no such endpoint."""


class UnreadableEventError(GatewayError):
    """The request is genuine, but says nothing that we understand; the message says what was expected."""


class ServerError(GatewayError):
    """We have to change something; the sender did all right."""


class ProviderUnavailableError(ServerError):
    """The provider's own API could not be asked; asking again later may help."""


class RefundRefusedError(ServerError):
    """The provider answered, and will not refund; asking again changes nothing. The message says why."""


class ProviderBusyError(ProviderUnavailableError):
    """The provider was not asked: it is being asked about other payments, and soon about this one."""

    def __init__(self) -> None:
        super().__init__("the provider is being asked about other payments")


class PaymentPendingError(ProviderUnavailableError):
    """The provider answered, and the payment can still end either way."""


class PaymentUnknownToProviderError(ProviderUnavailableError):
    """The provider answered, but did not report the payment: about others it may answer well."""


class ProviderRateLimitedError(ProviderUnavailableError):
    """The provider wants to be asked less; `retry_after_seconds` where it says for how long."""

    def __init__(self, retry_after_seconds: float | None) -> None:
        super().__init__("The provider answered 429: it is asked too often.")
        self.retry_after_seconds = retry_after_seconds


class ObjectStoreUnavailableError(ServerError):
    """S3 could not be asked; asking again later may help."""


class PlaybackOffError(ServerError):
    """No secret signs addresses of lessons here."""

    def __init__(self) -> None:
        super().__init__("Playback is off here: set NOUBA_PLAYBACK_SECRETS and NOUBA_PLAYBACK_URL.")


class ConcurrentInsertError(ServerError):
    """Another transaction opened the same payment first; it is there for the next attempt."""


class StorageUnavailableError(ServerError):
    """Neither the database nor the spool took the webhook; the provider has to send it again."""


class NotReadyError(ServerError):
    """A setting is missing or wrong; the message names it and says the fix."""
