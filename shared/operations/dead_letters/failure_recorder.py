"""Dramatiq middleware that records the last error of a dead message."""

import threading
import time
from typing import Any, NamedTuple

from dramatiq import Broker
from dramatiq.common import q_name
from dramatiq.errors import ActorNotFound
from dramatiq.middleware import Middleware

from shared.contracts.message import ContractError
from shared.runtime.logs import describe

#: So many deaths are kept in memory until they are recorded; beyond that PostgreSQL has been unavailable for long.
MAX_FAILURES = 10_000
#: A message that has not been collected by then was removed from its `.XQ` by somebody.
FORGET_SECONDS = 3600.0


class DeadLetterKey(NamedTuple):
    """Which message died; a replay of it is another death."""

    queue: str
    message_id: str
    replays: int


class FailureReason(NamedTuple):
    """What killed it."""

    cause: str
    error: str


class FailureRecorder(Middleware):
    """Notes the error right before the message is rejected; any process may then collect the message."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: dict[DeadLetterKey, tuple[float, FailureReason]] = {}

    def before_nack(self, broker: Broker, message: Any) -> None:
        exception = message._exception
        if exception is None:
            return
        words = FailureReason(_cause(broker, message.actor_name, exception), describe(exception))
        death = DeadLetterKey(q_name(message.queue_name), message.message_id, message.options.get("replays", 0))
        with self._lock:
            if len(self._noted) >= MAX_FAILURES:
                del self._noted[next(iter(self._noted))]
            self._noted[death] = time.monotonic(), words

    def of(self, death: DeadLetterKey) -> FailureReason | None:
        """What is noted of it."""
        with self._lock:
            noted = self._noted.get(death)
        return noted[1] if noted else None

    def unrecorded(self) -> dict[DeadLetterKey, FailureReason]:
        """The failures that are not recorded yet, without those that no collector will ask for."""
        oldest = time.monotonic() - FORGET_SECONDS
        with self._lock:
            self._noted = {death: noted for death, noted in self._noted.items() if noted[0] >= oldest}
            return {death: words for death, (_, words) in self._noted.items()}

    def forget(self, death: DeadLetterKey) -> None:
        """It is in the database now."""
        with self._lock:
            self._noted.pop(death, None)


def _cause(broker: Broker, actor_name: str, exception: BaseException) -> str:
    if isinstance(exception, ActorNotFound):
        return "unknown_actor"
    if isinstance(exception, ContractError):
        return "contract"
    throws = broker.get_actor(actor_name).options.get("throws")
    return "permanent" if throws and isinstance(exception, throws) else "retries"
