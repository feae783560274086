"""Settings of retention: how many days each kind of data is kept; 0 keeps it for good."""

from typing import Annotated

from pydantic import AfterValidator, Field

from shared.runtime.settings import DatabaseSettings

#: The database refuses to erase a younger audit entry.
MIN_AUDIT_DAYS = 365


def _is_a_year(days: int) -> int:
    if 0 < days < MIN_AUDIT_DAYS:
        raise ValueError(f"has to be 0, or at least {MIN_AUDIT_DAYS}: an audit log of less proves nothing")
    return days


class RetentionSettings(DatabaseSettings):
    """What the payments worker erases; uploads are the transcoder's."""

    #: Bodies of webhooks that are settled or decided: longer than a card's holder may dispute a payment.
    retention_webhook_bodies_days: int = Field(400, ge=0)
    #: Messages that were replayed or discarded.
    retention_dead_letters_days: int = Field(180, ge=0)
    #: Who did what and why. By default kept for good, as the books are.
    retention_audit_days: Annotated[int, Field(ge=0), AfterValidator(_is_a_year)] = 0
    #: Versions of a day that a newer one replaced; the newest is never deleted.
    retention_statistics_days: int = Field(400, ge=0)
    #: Who watched which lesson. What is left are the numbers of each day, and that a user was there.
    retention_lesson_views_days: int = Field(400, ge=0)
