"""Reads all users once for all sections that count them."""

from collections.abc import Sequence
from typing import Any

from services.stats.binary_column_reader import Integers
from services.stats.days import Days
from services.stats.sections.base import Query

_IDS = "SELECT id, year_of_study FROM users"

_COUNTED = """
SELECT width_bucket(created_at, %(edges)s) AS bucket, role, year_of_study AS year, count(*) AS users,
       coalesce(sum(balance_minor) FILTER (WHERE balance_minor > 0), 0)::bigint AS credit,
       coalesce(-sum(balance_minor) FILTER (WHERE balance_minor < 0), 0)::bigint AS debt,
       count(*) FILTER (WHERE balance_minor < 0) AS debtors
FROM users GROUP BY bucket, role, year
"""


def registered(ask: Query, days: Days) -> dict[str | None, Integers]:
    """The ids of all users by their year of study."""
    found: dict[str | None, Integers] = {}

    def take(year: str | None, columns: list[Integers]) -> None:
        found[year] = columns[0]

    ask.groups(_IDS, ("id",), ("year_of_study",), take)
    return found


def counted(ask: Query, days: Days) -> Sequence[Any]:
    """How many users there are by the bucket in which they registered, role and year of study, and what their wallets
    hold now: credit, debt and debtors."""
    return ask(_COUNTED, edges=days.edges)
