"""Exceptions of the statistics API, each with its HTTP status and code.

ReaderError
+-- Malformed       400  what was asked for is not a day or a range of days
+-- MalformedCredentials  400  the Authorization header is not base64
+-- NoToken         401  the reader proved nothing
+-- ForbiddenScope  403  the token does not open statistics
+-- Misdirected     421  the reader asked for another host
+-- TooManyFailures 429  the reader sent too many wrong tokens
+-- DayNotKept      404  there are no statistics of that day
+-- NothingKnown    503  the database has not answered since the start: ask again
+-- SlowRows        503  a page of rows took too long to find
"""

from datetime import date

from services.stats.errors import StatsError


class ReaderError(StatsError):
    """The base of the API's errors; `code` names each for programs."""

    status = 400
    code = "malformed"


class MalformedError(ReaderError):
    """What was asked for makes no sense; the message says what does."""


class NoTokenError(ReaderError):
    """The reader showed none of the tokens."""

    status = 401
    code = "no_token"

    def __init__(self) -> None:
        super().__init__("Send one of NOUBA_API_TOKENS as `Authorization: Bearer TOKEN`.")


class MalformedCredentialsError(ReaderError):
    """The credentials of `Authorization: Basic` are not base64."""

    code = "malformed_credentials"

    def __init__(self) -> None:
        super().__init__("After `Authorization: Basic` send base64 of name:token.")


class ForbiddenScopeError(ReaderError):
    """The token is valid and does not open the statistics."""

    status = 403
    code = "insufficient_scope"


class MisdirectedError(ReaderError):
    """The Host header names a host that this API does not serve."""

    status = 421
    code = "misdirected"

    def __init__(self) -> None:
        super().__init__("This API does not serve that host: add its name to NOUBA_STATS_ALLOWED_HOSTS.")


class TooManyFailuresError(ReaderError):
    """The reader sent too many wrong tokens."""

    status = 429
    code = "too_many_failures"

    def __init__(self) -> None:
        super().__init__("Too many wrong tokens; try again in a minute.")


class DayNotStoredError(ReaderError):
    """There are no statistics of the day that was asked for."""

    status = 404
    code = "day_not_kept"

    def __init__(self, day: date | None, first: date | None, last: date | None) -> None:
        self.day, self.first, self.last = day, first, last
        if first is None:
            message = (
                "No day is kept yet: each day is computed after its end."
                " `nouba stats compute DAY` computes a past day now."
            )
        elif day is not None and first < day < (last or day):
            message = f"{day} is not kept, though days from {first} to {last} are; it is computed at the next sweep."
        else:
            message = f"{day} is not kept; the days from {first} to {last} are."
        super().__init__(message)


class NoSnapshotError(ReaderError):
    """The database has not answered since this process started."""

    status = 503
    code = "unavailable"

    def __init__(self) -> None:
        super().__init__("The statistics cannot be read yet: the database does not answer. Ask again.")


class SlowRowsError(ReaderError):
    """A page of rows took too long to find; the message says what helps."""

    status = 503
    code = "rows_timeout"
