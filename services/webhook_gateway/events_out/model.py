"""Values of a delivery: the endpoint, the event, and what came of the attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where deliveries go, and the secrets that sign them: the new one, and while it is rotated the old one."""

    id: int
    url: str
    secrets: Sequence[str]
    failures: int
    failing_since: datetime | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint. `envelope` is the JSON that is sent."""

    id: int
    event_id: int
    attempts: int
    began_at: datetime
    occurred_at: datetime
    envelope: dict[str, Any]

    @property
    def message_id(self) -> str:
        """The same in every attempt and replay: a receiver recognizes a repetition by it."""
        return str(self.envelope["id"])


@dataclass(frozen=True, slots=True)
class Batch:
    """What was claimed for one endpoint at once."""

    endpoint: Endpoint
    deliveries: Sequence[Delivery]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one delivery: its state, when it is due again, and the line of its log."""

    delivery_id: int
    state: str
    due_at: datetime | None
    entry: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """How an endpoint stands after a batch; `disabled_because` is set where it gets nothing more."""

    failures: int
    failing_since: datetime | None
    held_until: datetime | None
    disabled_because: str | None = None
