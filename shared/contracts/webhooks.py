"""Messages of the gateway about webhook events."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from shared.contracts.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookReceived(Message):
    """A genuine webhook is kept in `webhook_events` and waits to be settled."""

    name: ClassVar[str] = "webhooks.received"
    event_id: int


class EventState(StrEnum):
    """Where an event is: only `RECEIVED` is not final."""

    RECEIVED = "received"
    APPLIED = "applied"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"
    DEAD = "dead"
