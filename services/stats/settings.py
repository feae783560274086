"""Settings of the statistics."""

from datetime import date
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from services.stats.days import FIRST_DAY
from shared.runtime.settings import CurrencyCode, RabbitMqUrl, Settings


def _is_cron(spec: str) -> str:
    import periodiq

    try:
        periodiq.cron(spec)
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError("is not a cron line of five fields, such as */5 * * * *") from error
    return spec


class CountSettings(Settings):
    """What counting needs: the database, the zone and the currency; RabbitMQ has no part in it."""

    rabbitmq_url: SecretStr = SecretStr("")
    #: The currency of the school's wallets (ISO 4217); amounts in another one are counted, never added.
    currency: CurrencyCode = "DZD"
    #: The school's first day. Earlier days are never computed, whatever users.created_at says.
    stats_first_day: date = FIRST_DAY
    #: For so many days after a term's end a renewal is not a loss: MRR and its user count on until then. Compute the
    #: kept days again after a change: nouba stats backfill FROM TO.
    stats_grace_days: Annotated[int, Field(ge=0, le=90)] = 7


class StatsSettings(CountSettings):
    """The statistics worker and scheduler."""

    rabbitmq_url: RabbitMqUrl
    #: Messages handled at once: what so many payments changed is noted together. Days are computed one after the other.
    worker_threads: int = Field(32, ge=1, le=64)
    #: When the scheduler finds due days. The zone is no matter: a multiple of a quarter of an hour is midnight in
    #: each of them.
    stats_schedule: Annotated[str, AfterValidator(_is_cron)] = "*/5 * * * *"
    #: So many of the last days are compared with the facts every hour, even if nobody said that they changed. What is
    #: written into older ones, more than two days back, is noted by triggers of the database.
    stats_lookback_days: int = Field(3, ge=3, le=366)
    #: On this day of the month, in the school's zone, the month before is closed: what comes later is a correction in
    #: the open month. 0: only by `nouba stats close`.
    stats_closing_day: int = Field(5, ge=0, le=28)
