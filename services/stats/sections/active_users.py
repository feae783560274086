"""Active users of each day, week and month, found in one pass over the days.

`users.last_login_at` is overwritten at every login, so it does not say who was there on a day in the past. An order
that nobody paid is no activity.

Every day's ids are read once. What is remembered of a user is the last day on which they came: those whose last day
lies in a window are the users of the window. This is many times as fast as to sort all visits in the database.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np

from services.stats.binary_column_reader import Integers
from services.stats.days import ONE_DAY, Days, midnight
from services.stats.sections.base import Query, changes, distinct, span, split
from services.stats.sections.registered_users import registered

#: What makes a user active: a trace that has its own time.
ACTIVE = (
    "a lesson watched, a check-in to a session, or a payment that was completed (lesson_views.day, "
    "attendances.checked_in_at, payments.completed_at)"
)

#: After how many days it is asked whether new users came back.
AGES = (1, 7, 30)
#: The longest window and age; days before the first one that have a say in it.
_BACK = 30
#: Up to here an id is its user's place in the tables of the walk, which have three bytes for each; the places of
#: larger ones are read, which is slower.
LARGEST_PLACE = 16_000_000
#: A session and a user's place are one number where all places are below this, and no session is further from 0 than
#: the other.
PLACES = 2**24
_LARGEST_SESSION = 2**38


@dataclass(frozen=True, slots=True)
class Presence:
    """How many different users came, in the windows that end with a day."""

    #: The sessions that users checked in to for the first time in the day, and how many did; again is no second time.
    sessions: Integers
    check_ins: Integers
    #: How many of these sessions nobody had checked in to on the day before.
    sessions_begun: int
    #: The users who checked in.
    attendees: int
    daily: int
    weekly: int
    monthly: int
    #: `daily` of the 30 days added up.
    user_days: int
    #: Who had registered so many days before, in the order of AGES, and who of them came in the day.
    cohorts: tuple[int, ...]
    retained: tuple[int, ...]
    #: What DayState keeps; None where an id is no place, and of days that are too early for the next day's windows.
    users: bytes | None


_CHECK_INS = """
SELECT session_id, user_id FROM attendances WHERE checked_in_at >= %(begins_at)s AND checked_in_at < %(ends_at)s
"""
# The same as one number: half as much to write, to send and to put in order.
_VISITS = f"SELECT session_id * {PLACES} + user_id AS visit FROM ({_CHECK_INS}) AS found"  # noqa: S608

_OTHER_TRACES = """
SELECT user_id FROM payments WHERE completed_at >= %(begins_at)s AND completed_at < %(ends_at)s
-- a viewer is whom the school named when it had the address signed, which may be nobody who is registered
UNION ALL
SELECT user_id FROM lesson_views WHERE day = %(day)s AND user_id IS NOT NULL
"""

# of the days before, neither the session nor the kind of trace matters
_ALL_TRACES = f"""
SELECT user_id FROM attendances WHERE checked_in_at >= %(begins_at)s AND checked_in_at < %(ends_at)s
UNION ALL {_OTHER_TRACES}
"""  # noqa: S608

_REGISTERED = """
SELECT width_bucket(created_at, %(edges)s)::bigint AS bucket, id FROM users
WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s
"""

_LIMITS = "SELECT coalesce(min(id), 0) AS least, coalesce(max(id), 0) AS largest FROM {table}"
_SESSIONS = "SELECT id FROM sessions"


def presence(ask: Query, days: Days) -> dict[date, Presence]:
    """The presence in each of `days`."""
    longer = days.reaching_back(_BACK)
    places = _Places(ask, days)
    walk, visits = _Walk(places, len(longer)), _Visits(ask, places)
    visits.go(ask, _limits(days.first - ONE_DAY, days))
    buckets, users = ask.columns(_REGISTERED, ("bucket", "id"), **span(longer))
    cohorts_of = split(users, buckets, len(longer))
    found = {}
    for bucket, day in enumerate(longer, start=1):
        if day < days.first:
            walk.go(bucket, places.known(_users_of(ask, day, days)))
            continue
        held, check_ins, begun, attendees = visits.go(ask, _limits(day, days))
        (others,) = ask.columns(_OTHER_TRACES, ("user_id",), **_limits(day, days))
        number = walk.go(bucket, attendees, places.known(others))
        cohorts = [cohorts_of[bucket - age] for age in AGES]
        found[day] = Presence(
            sessions=held,
            check_ins=check_ins,
            sessions_begun=begun,
            attendees=number,
            daily=walk.users_of(bucket, 1),
            weekly=walk.users_of(bucket, 7),
            monthly=walk.users_of(bucket, 30),
            user_days=int(walk.daily[bucket - 29 : bucket + 1].sum()),
            cohorts=tuple(cohort.size for cohort in cohorts),
            retained=tuple(walk.came(bucket, cohort) for cohort in cohorts),
            users=_as_bits(attendees, others) if places.are_ids and len(longer) - bucket < _BACK else None,
        )
    return found


def _users_of(ask: Query, day: date, days: Days) -> Integers:
    """Who left a trace on a day before `days`; nobody counts twice where it is kept."""
    if (state := ask.states.get(day)) and state.active_users is not None:
        return np.flatnonzero(np.unpackbits(np.frombuffer(state.active_users, np.uint8)))
    return ask.columns(_ALL_TRACES, ("user_id",), **_limits(day, days))[0]


def _as_bits(*groups: Integers) -> bytes | None:
    users = np.concatenate(groups)
    if users.size and (users.min() < 0 or users.max() > LARGEST_PLACE):
        return None
    is_active = np.zeros(users.max(initial=0) + 1, np.bool_)
    is_active[users] = True
    return np.packbits(is_active).tobytes()


def _limits(day: date, days: Days) -> dict[str, object]:
    return {"begins_at": midnight(day, days.zone), "ends_at": midnight(day + ONE_DAY, days.zone), "day": day}


class _Visits:
    """Who came to which session, from day to day: a session that lasts over midnight is one, and so is who came."""

    def __init__(self, ask: Query, places: "_Places") -> None:
        self._places = places
        limits = ask(_LIMITS.format(table="sessions"))[0]
        is_small = limits.least > -_LARGEST_SESSION and limits.largest < _LARGEST_SESSION
        #: All sessions in order, where those and users are not small enough for one number.
        self._sessions: Integers | None = None
        self._number = PLACES
        if not (is_small and places.are_ids):
            self._sessions = np.sort(ask.columns(_SESSIONS, ("id",))[0])
            self._number = places.number + 1
        #: The visits of the day before, in order.
        self._before = np.zeros(0, np.int64)

    def go(self, ask: Query, limits: Mapping[str, object]) -> tuple[Integers, Integers, int, Integers]:
        """Of the next day: the sessions with a visit that is not one of the day before, how many those are, how many
        sessions are not of the day before, and the places of the users."""
        visits = distinct(self._read(ask, limits))
        sessions = changes(visits // self._number)
        # few sessions last over midnight
        before = np.intersect1d(sessions, changes(self._before // self._number), assume_unique=True)
        counts = np.diff(np.searchsorted(visits, np.append(sessions, sessions[-1:] + 1) * self._number))
        for session in before.tolist():
            again = np.isin(self._of(session, visits), self._of(session, self._before), assume_unique=True)
            counts[np.searchsorted(sessions, session)] -= np.count_nonzero(again)
        self._before = visits
        is_new = counts > 0
        held = sessions[is_new] if self._sessions is None else self._sessions[sessions[is_new]]
        return held, counts[is_new], sessions.size - before.size, visits % self._number

    def _of(self, session: int, visits: Integers) -> Integers:
        first, last = np.searchsorted(visits, (session * self._number, (session + 1) * self._number))
        return visits[first:last]

    def _read(self, ask: Query, limits: Mapping[str, object]) -> Integers:
        """A number for each session and user who checked in; an order of these is one of the sessions."""
        if self._sessions is None:
            return ask.columns(_VISITS, ("visit",), **limits)[0]
        sessions, users = ask.columns(_CHECK_INS, ("session_id", "user_id"), **limits)
        return np.searchsorted(self._sessions, sessions) * self._number + self._places.of(users)


class _Walk:
    """Goes from day to day, each known by its bucket, and remembers of each user the last day on which they came."""

    def __init__(self, places: "_Places", number_of_days: int) -> None:
        self._places = places
        # 0 is never
        self._last_day = np.zeros(places.number, np.int16)
        #: How many users came on each day, and how many of them for the last time so far.
        self.daily = np.zeros(number_of_days + 1, np.int64)
        self._last = np.zeros(number_of_days + 1, np.int64)

    def go(self, bucket: int, *groups: Integers) -> int:
        """The users of these places came in the day; returns how many of the first group there are."""
        here = np.zeros(self._last_day.size, np.bool_)
        here[groups[0]] = True
        first = int(np.count_nonzero(here))
        for others in groups[1:]:
            here[others] = True
        places = np.flatnonzero(here)
        self._last -= np.bincount(self._last_day[places], minlength=self._last.size)
        self._last[0] = 0
        self._last_day[places] = bucket
        self._last[bucket] = self.daily[bucket] = places.size
        return first

    def users_of(self, bucket: int, number_of_days: int) -> int:
        """How many came in the days that end with this one, where it is the last that was walked to."""
        return int(self._last[bucket - number_of_days + 1 : bucket + 1].sum())

    def came(self, bucket: int, users: Integers) -> int:
        """How many of these came in the day."""
        return int(np.count_nonzero(self._last_day[self._places.of(users)] == bucket))


class _Places:
    """Where each user stands in a table of all."""

    def __init__(self, ask: Query, days: Days) -> None:
        limits = ask(_LIMITS.format(table="users"))[0]
        self.are_ids = limits.least >= 0 and limits.largest <= LARGEST_PLACE
        # read once, which is cheaper than a join for each day
        users = np.concatenate([np.zeros(0, np.int64), *ask.once(registered, days).values()])
        self._users = None if self.are_ids else np.sort(users)
        self.number = limits.largest + 1 if self.are_ids else users.size
        self._is_known = np.zeros(self.number if self.are_ids else 0, np.bool_)
        if self.are_ids:
            self._is_known[users] = True

    def of(self, users: Integers) -> Integers:
        return users if self._users is None else np.searchsorted(self._users, users)

    def known(self, users: Integers) -> Integers:
        """The places of those of them who are registered."""
        if self._users is not None:
            return self.of(users[np.isin(users, self._users)])
        users = users[users < self.number]
        return users[self._is_known[users]]
