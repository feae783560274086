"""The access levels of subscriptions: those that ANALYZE saw are tried first; one that it did not see is not lost."""

from datetime import UTC, date
from zoneinfo import ZoneInfo

import pytest

from services.stats.days import Days
from services.stats.sections import subscription_terms
from tests.stats.school import Connection, count

DAY = date(2026, 3, 5)
DAYS = Days(DAY, DAY, ZoneInfo("UTC"))

_SUBSCRIBE = """
WITH bought AS (INSERT INTO users DEFAULT VALUES RETURNING id)
INSERT INTO subscriptions (user_id, amount_minor, status, activated_at, access_level)
SELECT id, 3000, 'active', %s, %s FROM bought
"""


def by_level(connection: Connection) -> object:
    found = count(connection, DAYS)[DAY]
    assert found["subscriptions.active"] == sum(found["subscriptions.active_by_level"].values())
    return found["subscriptions.active_by_level"]


def subscribe(connection: Connection, *levels: str | None) -> None:
    with connection.cursor() as cursor:
        # each for a user of its own: what one user has of one chapter is one subscription
        for level in levels:
            cursor.execute(_SUBSCRIBE, (DAYS.begins_at.astimezone(UTC), level))


def test_every_level_is_counted_before_and_after_analyze_and_a_new_one_too(connection: Connection) -> None:
    with connection.cursor() as cursor:
        subscribe(connection, *["full"] * 20, *["live, or recorded"] * 10, None)
        seen = {"full": 20, "live, or recorded": 10, "~none": 1}
        assert by_level(connection) == seen

        cursor.execute("ANALYZE subscriptions")
        with pytest.MonkeyPatch.context() as patched:
            # what ANALYZE saw is enough
            patched.setattr(subscription_terms, "_LEVELS", subscription_terms._LEVELS[:1])
            assert by_level(connection) == seen

        subscribe(connection, 'of "friends"')
        assert by_level(connection) == {**seen, 'of "friends"': 1}
