"""The schedule of retries, and the hold of an endpoint that fails."""

from datetime import datetime, timedelta
from typing import Final

#: The wait after each attempt; after the last of these, a day each.
WAITS: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
)
DAILY: Final = timedelta(days=1)
#: Failures in a row after which an endpoint gets one delivery at a time, each after a hold.
FAILURES_BEFORE_HOLD: Final = 5
MIN_HOLD: Final = timedelta(seconds=5)
MAX_HOLD: Final = timedelta(minutes=5)


def next_attempt(attempts: int, began_at: datetime, now: datetime, give_up_after: timedelta) -> datetime | None:
    """When to try again after `attempts` failures; None where the delivery is given up."""
    due = now + (WAITS[attempts - 1] if attempts <= len(WAITS) else DAILY)
    return due if due <= began_at + give_up_after else None


def hold(failures: int) -> timedelta | None:
    """How long an endpoint gets nothing after so many failures in a row; None for no hold.

    Its deliveries wait, and take no thread from other endpoints.
    """
    if failures < FAILURES_BEFORE_HOLD:
        return None
    doublings = min(failures - FAILURES_BEFORE_HOLD, 16)
    return min(MAX_HOLD, MIN_HOLD * (1 << doublings))
