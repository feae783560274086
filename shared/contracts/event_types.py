"""Event types sent to the school's webhook endpoints, each a frozen dataclass with its JSON Schema.

An event holds ids and states, and no personal data. A receiver that needs more reads it from the API.
Fields are only ever added; a field that is renamed, removed or of another type is a new version.
"""

import dataclasses
import types
import typing
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar

from shared.contracts.message import Message

#: Every delivery has this form around the fields of its type.
ENVELOPE_FIELDS = ("id", "type", "version", "timestamp", "data")
_KINDS: dict[Any, dict[str, str]] = {
    int: {"type": "integer"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    date: {"type": "string", "format": "date"},
    datetime: {"type": "string", "format": "date-time"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverEvents(Message):
    """Events for an endpoint are due."""

    name: ClassVar[str] = "events.deliver"
    endpoint_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Message):
    """The data of an event; `name` is its type. Events with the same value of field `key` keep their order."""

    key: ClassVar[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _PaymentEvent(Event):
    key: ClassVar[str] = "payment_id"
    payment_id: int
    provider: str
    reference: str | None
    order_number: str | None
    user_id: int
    status: str
    amount_minor: int
    currency: str
    refunded_minor: int
    dispute: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCompleted(_PaymentEvent):
    """The money of a payment was collected."""

    name: ClassVar[str] = "payment.completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFailed(_PaymentEvent):
    """A payment ended without money: `status` is failed, canceled or expired."""

    name: ClassVar[str] = "payment.failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRefunded(_PaymentEvent):
    """The refunded amount changed: `refunded_minor` is all that is refunded now."""

    name: ClassVar[str] = "payment.refunded"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentDisputed(_PaymentEvent):
    """A dispute began or ended: `dispute` is open, won or lost, or none where it became an inquiry again."""

    name: ClassVar[str] = "payment.disputed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _SubscriptionEvent(Event):
    key: ClassVar[str] = "subscription_id"
    subscription_id: int
    user_id: int
    chapter_id: int | None
    status: str
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionActivated(_SubscriptionEvent):
    """A subscription became active."""

    name: ClassVar[str] = "subscription.activated"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSuspended(_SubscriptionEvent):
    """An active subscription lost its payment (`status` pending_payment) or was cancelled."""

    name: ClassVar[str] = "subscription.suspended"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionExpired(_SubscriptionEvent):
    """The term of an active subscription ended, or the school set its status to expired."""

    name: ClassVar[str] = "subscription.expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletChanged(Event):
    """The balance of a user's wallet changed."""

    name: ClassVar[str] = "wallet.changed"
    key: ClassVar[str] = "user_id"
    user_id: int
    balance_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _LessonEvent(Event):
    key: ClassVar[str] = "course_id"
    course_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonProcessing(_LessonEvent):
    """A worker began to transcode the course's upload."""

    name: ClassVar[str] = "lesson.processing"


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonReady(_LessonEvent):
    """The course shows its new lesson in full."""

    name: ClassVar[str] = "lesson.ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonFailed(_LessonEvent):
    """The course's newest upload did not become a lesson."""

    name: ClassVar[str] = "lesson.failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonWarning(_LessonEvent):
    """A lesson is ready and something of its upload is damaged or missing: one event for each warning."""

    name: ClassVar[str] = "lesson.warning"
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsDayReady(Event):
    """A day's statistics have a new complete version."""

    name: ClassVar[str] = "statistics.day_ready"
    key: ClassVar[str] = "day"
    day: date
    # `version` is the contract's own
    day_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookNeedsAttention(Event):
    """A provider's webhook waits for an operator: `state` is quarantined or dead."""

    name: ClassVar[str] = "webhook.needs_attention"
    key: ClassVar[str] = "webhook_event_id"
    webhook_event_id: int
    provider: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(Event):
    """A test that an operator or the API asked for; it goes to one endpoint, whatever its types."""

    name: ClassVar[str] = "ping"
    key: ClassVar[str] = "endpoint_id"
    endpoint_id: int


#: The types that an endpoint can subscribe to.
EVENTS: tuple[type[Event], ...] = (
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    PaymentDisputed,
    SubscriptionActivated,
    SubscriptionSuspended,
    SubscriptionExpired,
    WalletChanged,
    LessonProcessing,
    LessonReady,
    LessonFailed,
    LessonWarning,
    StatisticsDayReady,
    WebhookNeedsAttention,
)
EVENT_TYPES: tuple[str, ...] = tuple(event.name for event in EVENTS)


def schema_of(event: type[Event]) -> dict[str, Any]:
    """The JSON Schema of a delivery of this type. Receivers ignore fields that they do not know."""
    hints = typing.get_type_hints(event)
    fields = {field.name: _schema(hints[field.name]) for field in dataclasses.fields(event)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:nouba:event:{event.wire_name()}",
        "title": event.name,
        "description": (event.__doc__ or "").strip(),
        "type": "object",
        "required": list(ENVELOPE_FIELDS),
        "properties": {
            "id": {"type": "string", "description": "The same in every delivery of this event, as header webhook-id."},
            "type": {"const": event.name},
            "version": {"const": event.version},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened."},
            "data": {"type": "object", "required": list(fields), "properties": fields},
        },
    }


def _schema(hint: Any) -> dict[str, Any]:
    if isinstance(hint, types.UnionType):
        (kind,) = (option for option in typing.get_args(hint) if option is not types.NoneType)
        return {**_KINDS[kind], "type": [_KINDS[kind]["type"], "null"]}
    return dict(_KINDS[hint])
