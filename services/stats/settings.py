"""What the statistics are told by their environment."""

from pydantic import Field

from shared.runtime.settings import Settings


class StatsSettings(Settings):
    """The statistics worker."""

    worker_threads: int = Field(2, ge=1, le=64)
