"""Doctor checks of the statistics: newest day, users before the first day, port."""

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import text

from services.stats.api.settings import ApiSettings
from services.stats.days import ONE_DAY, midnight
from services.stats.settings import CountSettings
from services.stats.snapshots.postgres_snapshots import users_registered_before
from shared.operations.doctor.findings import Check, Finding, fault, fine, note
from shared.operations.doctor.port_check import check_port
from shared.operations.doctor.postgres import read_database
from shared.runtime.settings import read_settings


def _freshness() -> Iterator[Finding]:
    settings = read_settings(CountSettings)
    first = midnight(settings.stats_first_day, settings.zone)
    found = read_database(
        lambda connection: (
            connection.execute(text("SELECT max(day) FROM daily_stats_newest WHERE version IS NOT NULL")).scalar_one(),
            users_registered_before(connection, first),
        )
    )
    if found is None:
        return
    newest, too_old = found
    if too_old:
        yield note(
            "statistics",
            f"{too_old} users are said to have registered before {settings.stats_first_day}; no day is computed then.",
            "Correct their users.created_at, or set NOUBA_STATS_FIRST_DAY.",
        )
    if newest is None:
        yield note(
            "statistics", "No day has been computed yet.", "Wait for midnight, or run `nouba stats compute DAY`."
        )
        return
    hours = (datetime.now(UTC) - midnight(newest + ONE_DAY, settings.zone)).total_seconds() / 3600
    if hours > read_settings(ApiSettings).stats_ready_hours:
        yield fault(
            "statistics",
            f"The newest day is {newest}, which ended {hours:.0f} hours ago.",
            "See that `nouba stats scheduler` and `nouba stats worker` run.",
        )
    else:
        yield fine("statistics", f"The newest day is {newest}.")


def _port() -> Iterator[Finding]:
    settings = read_settings(ApiSettings)
    yield from check_port(
        "statistics API", settings.stats_host, settings.stats_port, "NOUBA_STATS_PORT", "nouba stats api"
    )


CHECKS: tuple[Check, ...] = (_freshness, _port)
