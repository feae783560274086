"""What the gateway tells about webhooks."""

from dataclasses import dataclass
from typing import ClassVar

from shared.contracts.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookReceived(Message):
    """A genuine webhook is kept in `webhook_events` and waits to be settled."""

    name: ClassVar[str] = "webhooks.received"
    event_id: int
