"""Settings of events out."""

from pydantic import Field

from shared.runtime.settings import Settings


class EventsSettings(Settings):
    """The events worker."""

    #: Deliveries at once. An endpoint that fails takes one of them at a time, a healthy one up to four.
    events_threads: int = Field(32, ge=1, le=256)
    #: From the connect to the answer's last byte.
    events_timeout_seconds: float = Field(10.0, gt=0, le=60)
    #: A delivery is given up after so many days of attempts.
    events_retry_days: float = Field(7.0, gt=0)
    #: An endpoint is disabled that has only failed for so many days.
    events_disable_days: float = Field(5.0, gt=0)
    #: How long events and deliveries are kept, for replays.
    events_keep_days: float = Field(30.0, gt=0)
    #: Whether endpoints may have private addresses, and http ones.
    events_allow_private: bool = False
    #: Whether events are published to the topic exchange `nouba.events` as well.
    events_exchange: bool = True
