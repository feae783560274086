"""Finds and computes the days that are due, as the scheduler and the worker do, until none is: `due`, by settings."""

from datetime import UTC, datetime

from services.stats.settings import CountSettings
from services.stats.snapshots.due_days import sweep
from services.stats.snapshots.wiring import build_computation
from shared.runtime.database import build_engine
from shared.runtime.failpoints import FailpointError
from shared.runtime.settings import read_settings


def main() -> None:
    settings = read_settings(CountSettings)
    engine = build_engine(settings.database_url.get_secret_value())
    computation = build_computation(engine, settings)
    while True:
        try:
            due = sweep(engine, settings.zone, datetime.now(UTC), lookback_days=3)
            for day in due:
                computation.compute_due(day)
        except FailpointError:
            continue  # the next sweep, or the message that comes again
        if not due:
            break
    engine.dispose()


if __name__ == "__main__":
    main()
