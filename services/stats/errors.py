"""Errors of the statistics.

StatsError
+-- DayNotOverError a day can be counted when it is over: tried again
+-- SectionFailedError the other sections are kept, and the day is due again
+-- MailError     the mail server did not take a mail: tried again
+-- NoStatisticsError nothing is kept for the day that was asked for
+-- MonthNotClosableError  a day of the month is not counted yet
+-- RowsTimeoutError  a page of rows took too long to find
+-- RefusedError   what was asked for makes no sense here; the message says what does
"""

from datetime import date


class StatsError(Exception):
    """The root of every error this service raises on purpose."""


class DayNotOverError(StatsError):
    """The day has not ended yet, by the clock of this machine."""

    def __init__(self, day: date, last: date) -> None:
        super().__init__(f"{day} is not over in the school's zone; the last day that can be computed is {last}.")


class SectionFailedError(StatsError):
    """A section could not be computed; the rest of its day is kept."""

    def __init__(self, day: date, reasons: dict[str, str]) -> None:
        message = "; ".join(f"{name}: {reason}" for name, reason in sorted(reasons.items()))
        super().__init__(f"{day} is not complete and stays due. {message}")


class NoStatisticsError(StatsError):
    """Nothing is kept for that day."""


class RowsTimeoutError(StatsError):
    """A page of rows took too long to find."""

    def __init__(self, page_seconds: float) -> None:
        super().__init__(f"The rows were not found within {page_seconds:g} s; ask again, or for fewer with `limit`.")


class RefusedDayError(StatsError):
    """What was asked for makes no sense here."""


class MonthNotClosableError(StatsError):
    """The month cannot be closed yet; the message says what has to be done before."""


class MailError(StatsError):
    """The mail server did not take a mail; the message says what to change, and holds no address of a person."""
