"""Messages from the gateway to the payments worker: webhook events were received."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from shared.contracts.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookReceived(Message):
    """A genuine webhook is kept in `webhook_events` and waits to be settled."""

    name: ClassVar[str] = "webhooks.received"
    event_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksReceived(Message):
    """Genuine webhooks that were committed together wait to be settled: one message for all of them.

    A release before 0.3 does not know it: a webhook alone has the message above.
    """

    name: ClassVar[str] = "webhooks.received"
    version: ClassVar[int] = 2
    event_ids: tuple[int, ...]


class EventState(StrEnum):
    """Where an event is: only `RECEIVED` is not final."""

    RECEIVED = "received"
    APPLIED = "applied"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"
    DEAD = "dead"
