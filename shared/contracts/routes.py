"""Every message with its publisher, its queue and its one handler."""

from dataclasses import dataclass

from shared.contracts.event_types import DeliverEvents
from shared.contracts.message import Message
from shared.contracts.payments import PaymentSettled, PaymentsSettled
from shared.contracts.stats import ComputeDay, MailDay
from shared.contracts.videos import EncodeAudio, EncodeChunk, PublishLesson, TranscodeVideo, VideoReady
from shared.contracts.webhooks import WebhookReceived, WebhooksReceived

#: The services, as the outbox names them: each publishes its own rows.
GATEWAY, TRANSCODER, STATS = "gateway", "transcoder", "stats"


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table. A queue belongs to the one service that consumes it."""

    message: type[Message]
    publisher: str
    queue: str
    handler: str


ROUTES: tuple[Route, ...] = (
    Route(WebhookReceived, publisher=GATEWAY, queue="webhooks", handler="services.webhook_gateway.worker"),
    Route(WebhooksReceived, publisher=GATEWAY, queue="webhooks", handler="services.webhook_gateway.worker"),
    Route(PaymentSettled, publisher=GATEWAY, queue="default", handler="services.stats.worker"),
    Route(PaymentsSettled, publisher=GATEWAY, queue="default", handler="services.stats.worker"),
    Route(TranscodeVideo, publisher=GATEWAY, queue="videos", handler="services.transcoder.worker"),
    Route(EncodeChunk, publisher=TRANSCODER, queue="videos", handler="services.transcoder.worker"),
    Route(EncodeAudio, publisher=TRANSCODER, queue="videos", handler="services.transcoder.worker"),
    Route(PublishLesson, publisher=TRANSCODER, queue="videos", handler="services.transcoder.worker"),
    Route(VideoReady, publisher=TRANSCODER, queue="default", handler="services.stats.worker"),
    Route(DeliverEvents, publisher=GATEWAY, queue="events", handler="services.webhook_gateway.events_out.worker"),
    Route(ComputeDay, publisher=STATS, queue="default", handler="services.stats.worker"),
    Route(MailDay, publisher=STATS, queue="default", handler="services.stats.worker"),
)

QUEUES: tuple[str, ...] = tuple(sorted({route.queue for route in ROUTES}))

_BY_MESSAGE = {route.message: route for route in ROUTES}


def route_of(message: type[Message]) -> Route:
    """The line of the table for `message`. Raises KeyError for a message that no route names."""
    return _BY_MESSAGE[message]
