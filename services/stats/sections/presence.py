"""Which users came in the day, the week and the month, found in one walk over the days.

Every day's ids are read once. What is remembered of a user is the last day on which they came: those whose last day
lies in a window are the users of the window. This is several times as fast as to sort all visits in the database.
"""

import sys
from array import array
from collections import defaultdict
from collections.abc import Iterable, MutableMapping, MutableSequence
from dataclasses import dataclass
from datetime import date

from services.stats.activity import span
from services.stats.days import ONE_DAY, Days, midnight
from services.stats.numbers import Ask

#: After how many days it is asked whether new users came back.
AGES = (1, 7, 30)
#: The longest window and age; days before the first one that have a say in it.
_BACK = 30
#: Two bytes for each id up to here; where ids are larger than this they are looked up instead, which is slower.
_LARGEST_TABLE = 16_000_000
_NEVER = -1_000

#: By a user's id: the number of the last day on which they came.
_LastDays = MutableSequence[int] | MutableMapping[int, int]


@dataclass(frozen=True, slots=True)
class Presence:
    """How many different users came, in the windows that end with a day."""

    #: How many checked in in the day, by the session's id.
    check_ins: dict[int, int]
    #: The users who did.
    attendees: int
    daily: int
    weekly: int
    monthly: int
    #: `daily` of the 30 days added up.
    user_days: int
    #: Who had registered so many days before, in the order of AGES, and who of them came in the day.
    cohorts: tuple[int, ...]
    retained: tuple[int, ...]


# Ids come as eight bytes each, one after the other: an array of them would be written and read as text, which takes
# longer than to find them. Attendances come first: who is new among them is an attendee. Of the days before, neither
# the session nor the kind of trace matters.
_CHECK_INS = """
SELECT session_id, count(*) AS check_ins, string_agg(int8send(user_id), '') AS user_ids FROM attendances
WHERE checked_in_at >= %(begins_at)s AND checked_in_at < %(ends_at)s GROUP BY session_id
"""

_OTHER_TRACES = """
SELECT (SELECT string_agg(int8send(user_id), '') FROM payments
        WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s) AS paid,
       (SELECT string_agg(int8send(user_id), '') FROM subscriptions
        WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s) AS subscribed
"""

_ALL_TRACES = """
SELECT string_agg(int8send(user_id), '') AS user_ids
FROM (
    SELECT user_id FROM attendances WHERE checked_in_at >= %(begins_at)s AND checked_in_at < %(ends_at)s
    UNION ALL
    SELECT user_id FROM payments WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s
    UNION ALL
    SELECT user_id FROM subscriptions WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s
) AS traces
"""

_REGISTERED = """
SELECT width_bucket(created_at, %(edges)s) AS bucket, array_agg(id) AS ids FROM users
WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s GROUP BY bucket
"""

_LARGEST = "SELECT coalesce(max(id), 0) AS id FROM users"


def presence(ask: Ask, days: Days) -> dict[date, Presence]:
    """The presence in each of `days`."""
    longer = days.reaching_back(_BACK)
    registered: dict[int, list[int]] = {row.bucket: row.ids for row in ask(_REGISTERED, **span(longer))}
    last_days = _nobody(ask(_LARGEST)[0].id)
    daily = [0] * (len(longer) + 1)
    #: How many users came on each day for the last time so far.
    last = [0] * (len(longer) + 1)
    found = {}
    for bucket, day in enumerate(longer, start=1):
        limits = {"begins_at": midnight(day, longer.zone), "ends_at": midnight(day + ONE_DAY, longer.zone)}
        if day < days.first:
            daily[bucket] = _note(last_days, last, bucket, _ids(ask(_ALL_TRACES, **limits)[0].user_ids or b""))
            last[bucket] = daily[bucket]
            continue
        sessions = ask(_CHECK_INS, **limits)
        attendees = _note(last_days, last, bucket, _ids(*(session.user_ids for session in sessions)))
        (others,) = ask(_OTHER_TRACES, **limits)
        daily[bucket] = attendees + _note(last_days, last, bucket, _ids(others.paid or b"", others.subscribed or b""))
        last[bucket] = daily[bucket]
        cohorts = [registered.get(bucket - age, []) for age in AGES]
        found[day] = Presence(
            {session.session_id: session.check_ins for session in sessions},
            attendees,
            daily[bucket],
            sum(last[bucket - 6 : bucket + 1]),
            sum(last[bucket - 29 : bucket + 1]),
            sum(daily[bucket - 29 : bucket + 1]),
            tuple(len(cohort) for cohort in cohorts),
            tuple(sum(last_days[user_id] == bucket for user_id in cohort) for cohort in cohorts),
        )
    return found


def _nobody(largest_id: int) -> _LastDays:
    if largest_id <= _LARGEST_TABLE:
        return array("h", [_NEVER]) * (largest_id + 1)
    return defaultdict(lambda: _NEVER)


def _ids(*packed: bytes) -> Iterable[int]:
    ids = array("q", b"".join(packed))
    if sys.byteorder == "little":
        ids.byteswap()
    return ids


def _note(last_days: _LastDays, last: list[int], bucket: int, ids: Iterable[int]) -> int:
    """These users came in the day; returns how many of them were not seen in it yet."""
    number = 0
    for user_id in ids:
        before = last_days[user_id]
        if before != bucket:
            last_days[user_id] = bucket
            number += 1
            if before > 0:
                last[before] -= 1
    return number
