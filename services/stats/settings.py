"""Settings of the statistics."""

from datetime import date, time
from email.utils import parseaddr
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from services.stats.days import FIRST_DAY
from shared.runtime.settings import CurrencyCode, RabbitMqUrl, Settings, SettingsError


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
    #: kept days again after a change: nouba stats compute FROM TO.
    stats_grace_days: Annotated[int, Field(ge=0, le=90)] = 7
    #: On this day of the month, in the school's zone, the scheduler closes the month before, and the page says so: what
    #: comes later is a correction in the open month. 0: only by `nouba stats close-months`.
    stats_closing_day: Annotated[int, Field(ge=0, le=28)] = 5


def split_addresses(addresses: str) -> tuple[str, ...]:
    """The mail addresses between the commas."""
    return tuple(filter(None, (address.strip() for address in addresses.split(","))))


def _are_mail_addresses(addresses: str) -> str:
    for address in split_addresses(addresses):
        name, _, domain = parseaddr(address)[1].rpartition("@")
        if not name or not domain or not address.isprintable():
            raise ValueError("has to be one or more mail addresses, such as head@school.example")
    # without the line breaks around them: one at the end of a header would end all headers
    return ", ".join(split_addresses(addresses))


def _is_mail_server(url: SecretStr) -> SecretStr:
    try:
        server = urlsplit(url.get_secret_value())
        is_right = server.scheme in ("smtp", "smtps") and server.hostname and (server.port or 1)
    except ValueError:
        is_right = False
    if not is_right and url.get_secret_value():
        raise ValueError("has to be an address such as smtp://user:password@mail.school.example:587")
    return url


MailAddresses = Annotated[str, AfterValidator(_are_mail_addresses)]


class MailSettings(CountSettings):
    """The morning mail."""

    #: smtp://user:password@host:587 (STARTTLS) or smtps://user:password@host:465.
    mail_url: Annotated[SecretStr, AfterValidator(_is_mail_server)] = SecretStr("")
    mail_from: MailAddresses = ""
    #: Who gets a mail about each day, separated by commas; empty: nobody does.
    stats_mail_to: MailAddresses = ""
    #: When yesterday's is sent, in the school's zone.
    stats_mail_at: time = time(7)
    stats_mail_language: Literal["en", "fr", "ar"] = "fr"
    #: Where the recipients find the page: https://stats.school.example
    stats_page_url: str = ""

    def mail_recipients(self) -> tuple[str, ...]:
        """Who gets the mail; empty where nobody does. Raises SettingsError where nothing says how to send it."""
        found = split_addresses(self.stats_mail_to)
        if found and not (self.mail_url.get_secret_value() and self.mail_from):
            raise SettingsError(
                "NOUBA_STATS_MAIL_TO is set: set NOUBA_MAIL_URL and NOUBA_MAIL_FROM as well, or unset it."
            )
        return found


class StatsSettings(MailSettings):
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
