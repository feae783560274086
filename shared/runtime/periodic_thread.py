"""A background thread that runs one duty periodically and survives every exception.

A duty that raises is logged, counted and run again after a back-off. The thread itself never ends before `stop`.
Prometheus sees when each duty last succeeded: a duty that fails or hangs raises alert BackgroundThreadStuck.
"""

import threading
import time
from collections.abc import Callable

import structlog
from prometheus_client import Counter, Gauge

from shared.runtime.logs import describe

MIN_BACKOFF_SECONDS = 0.1
#: Short: everything that a duty depends on may be back the next second.
MAX_BACKOFF_SECONDS = 5.0
#: The same failure is logged again after this.
REPEAT_LOG_SECONDS = 60.0
#: A duty is late when it has not succeeded for its period and this.
GRACE_SECONDS = 120.0

LAST_SUCCESS = Gauge(
    "nouba_thread_last_success_timestamp_seconds",
    "When the background thread's duty last succeeded; its start before the first success.",
    ["thread"],
    multiprocess_mode="livemin",
)
LATE_AFTER = Gauge(
    "nouba_thread_late_after_seconds",
    "How long the background thread may go without a success.",
    ["thread"],
    multiprocess_mode="livemax",
)
FAILURES = Counter("nouba_thread_failures_total", "Rounds of a background thread that raised an exception.", ["thread"])

#: Errors whose sentence is enough; of any other the log has the traceback.
_SAID_IN_A_SENTENCE = ("services.", "shared.", "sqlalchemy.", "pika.", "botocore.")

log = structlog.get_logger(__name__)


class PeriodicThread:
    """Calls `duty` every `every_seconds`, at once when woken, and at once again where it returns true.

    `at_once` runs the first round at the start, not one period later. `late_after_seconds` is for duties whose single
    round may last long. Make and start it after the fork.
    """

    def __init__(
        self,
        name: str,
        duty: Callable[[], bool | None],
        every_seconds: float,
        *,
        at_once: bool = False,
        late_after_seconds: float | None = None,
    ) -> None:
        self.name = name
        self._duty = duty
        self._every_seconds = every_seconds
        self._at_once = at_once
        self._late_after_seconds = late_after_seconds or every_seconds + GRACE_SECONDS
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._backoff_seconds = MIN_BACKOFF_SECONDS
        self._complaint: str | None = None
        self._complained_at = 0.0
        #: Whether `wake` caused the round in hand.
        self.was_woken = False

    def start(self) -> None:
        LATE_AFTER.labels(self.name).set(self._late_after_seconds)
        LAST_SUCCESS.labels(self.name).set(time.time())
        self._thread.start()

    def wake(self) -> None:
        """Run the next round now. Cheap; many calls may lead to one round."""
        self._woken.set()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Finish the round in hand, waiting for it so long."""
        self.request_stop()
        self.join(timeout_seconds)

    def request_stop(self) -> None:
        """Start no other round; returns at once."""
        self._stopping.set()
        self._woken.set()

    def join(self, timeout_seconds: float) -> None:
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def pause(self, seconds: float) -> bool:
        """Sleep within a round, and return whether it has to end."""
        return self._stopping.wait(seconds)

    def succeeded(self) -> None:
        """Record a success; the duty itself calls it where one round lasts long."""
        LAST_SUCCESS.labels(self.name).set(time.time())
        self._backoff_seconds = MIN_BACKOFF_SECONDS
        if self._complaint is not None:
            log.info("background thread works again", thread=self.name)
        self._complaint = None

    def _run(self) -> None:
        again = self._at_once
        while again or not self._sleep():
            if self._stopping.is_set():
                return
            try:
                self.was_woken = self._woken.is_set()
                self._woken.clear()
                again = bool(self._duty())
                self.succeeded()
            except BaseException as error:  # noqa: BLE001 - a thread that ended would never do its duty again
                again = False
                self._fail(error)

    def _sleep(self) -> bool:
        """Wait for the next round, and return whether the thread has to end."""
        self._woken.wait(self._every_seconds)
        return self._stopping.is_set()

    def _fail(self, error: BaseException) -> None:
        FAILURES.labels(self.name).inc()
        complaint = describe(error)
        now = time.monotonic()
        if complaint != self._complaint or now - self._complained_at >= REPEAT_LOG_SECONDS:
            self._complained_at = now
            known = isinstance(error, OSError) or type(error).__module__.startswith(_SAID_IN_A_SENTENCE)
            log.warning(
                "background thread failed, trying again",
                thread=self.name,
                error=complaint,
                **({} if known else {"exc_info": error}),
            )
        self._complaint = complaint
        # a wake-up does not shorten it: each commit wakes the relay, also while RabbitMQ is away
        self._stopping.wait(self._backoff_seconds)
        self._backoff_seconds = min(MAX_BACKOFF_SECONDS, self._backoff_seconds * 2)
