"""Revenue recognition: what subscriptions earned each day, and what is deferred."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from services.stats.binary_column_reader import Integers
from services.stats.days import Days
from services.stats.sections.subscription_terms import NEVER, SubscriptionTerms
from services.stats.sections.term_calendar import day_number, local_days


@dataclass(frozen=True, slots=True)
class Spread:
    """What each of some terms earns; days are those of `lengths`."""

    amounts: Integers
    begins: Integers
    #: What each day earns, how many of the first ones earn one unit more, and how many days earn at all.
    least: Integers
    more: Integers
    earning: Integers
    #: When it is over, what is earned then, and what is taken off what was paid.
    stops: Integers
    rest: Integers
    taken_off: Integers

    @classmethod
    def of(cls, terms: SubscriptionTerms, zone: ZoneInfo) -> "Spread":
        begins = local_days(terms.begins_at, zone)
        days = np.where(terms.sold_until == NEVER, 1, np.maximum(local_days(terms.sold_until, zone) - begins, 1))
        least, more = np.divmod(terms.amounts, days)
        is_returned = terms.returned == 1
        stops = local_days(np.where(is_returned, terms.stopped_at, terms.ends_at), zone)
        # what was sold is earned in the end; a term that goes on for longer earns nothing more
        stops = np.where(is_returned, stops, np.minimum(stops, begins + days))
        earning = np.clip(stops - begins, 0, days)
        earned = least * earning + np.minimum(more, earning)
        rest = np.where(is_returned, -earned, terms.amounts - earned)
        return cls(terms.amounts, begins, least, more, earning, stops, rest, np.where(is_returned, -terms.amounts, 0))

    def earned_by(self, day: int) -> Integers:
        """What each has earned by the end of a day."""
        passed = np.clip(day + 1 - self.begins, 0, self.earning)
        earned: Integers = (
            self.least * passed + np.minimum(self.more, passed) + np.where(self.stops <= day, self.rest, 0)
        )
        return earned

    def paid_by(self, day: int) -> Integers:
        """What was paid for each by the end of a day."""
        begun = np.where(self.begins <= day, self.amounts, 0)
        paid: Integers = begun + np.where(self.stops <= day, self.taken_off, 0)
        return paid


class Recognition:
    """What terms earn, by bucket of `days`, and what is left of them at its end; 0 is all that lies before them.

    What was paid is spread over the local days from the one in which the term begins to the one before that in which it
    was to end as it was sold, in whole units: every day gets the amount by the days, and the first ones one unit more
    until the remainder is used up. What is left of a term that was stopped is earned on that day; what was returned
    is taken off again on the day of the return.
    """

    def __init__(self, days: Days) -> None:
        self._days = days
        self._first = day_number(days.first)
        # one more, for all that lies after the days
        number = len(days) + 2
        #: How much more a day earns than the one before it, beside what is earned at once; and what begins in it.
        self._rise, self._at_once, self._begun = (np.zeros(number, np.int64) for _ in range(3))
        self._before = 0

    def add(self, terms: SubscriptionTerms) -> None:
        """Add what these earn."""
        first, spread = self._first, Spread.of(terms, self._days.zone)
        begins, earning, with_more = spread.begins, spread.earning, np.minimum(spread.more, spread.earning)
        for sums, at, amounts in (
            (self._rise, begins, np.where(earning > 0, spread.least, 0)),
            (self._rise, begins + earning, np.where(earning > 0, -spread.least, 0)),
            (self._rise, begins, (with_more > 0).astype(np.int64)),
            (self._rise, begins + with_more, -(with_more > 0).astype(np.int64)),
            (self._at_once, spread.stops, spread.rest),
            (self._begun, begins, spread.amounts),
            (self._begun, spread.stops, spread.taken_off),
        ):
            np.add.at(sums, np.clip(at - first + 1, 0, sums.size - 1), amounts)
        self._before += int((spread.paid_by(first - 1) - spread.earned_by(first - 1)).sum())

    def earned(self) -> list[int]:
        """What each bucket earns; that of 0 means nothing."""
        return [int(amount) for amount in np.cumsum(self._rise) + self._at_once]

    def deferred(self) -> list[int]:
        """What is still to be earned at the end of each bucket."""
        earned = np.array(self.earned())
        change = self._begun - earned
        change[0] = self._before
        return [int(amount) for amount in np.cumsum(change)]
