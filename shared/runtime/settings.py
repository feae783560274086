"""Settings from the environment or from files, checked once at start."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.runtime.api_tokens import parse_tokens
from shared.runtime.currency import require_currency


def _zone_exists(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("is not a time zone; use a name such as Africa/Algiers") from error
    return name


def _is_url(*schemes: str) -> Callable[[SecretStr], SecretStr]:
    def check(url: SecretStr) -> SecretStr:
        scheme, separator, rest = url.get_secret_value().partition("://")
        if scheme not in schemes or not separator or not rest:
            raise ValueError(f"has to be an address such as {schemes[0]}://user:password@host/name")
        return url

    return check


def _are_tokens(setting: SecretStr) -> SecretStr:
    parse_tokens(setting.get_secret_value())
    return setting


#: API tokens as `api_tokens.parse_tokens` reads them.
ApiTokens = Annotated[SecretStr, AfterValidator(_are_tokens)]
#: A code of ISO 4217: amounts are written with its digits.
CurrencyCode = Annotated[str, AfterValidator(require_currency)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_is_url("postgresql", "postgres", "postgresql+psycopg2"))]
RabbitMqUrl = Annotated[SecretStr, AfterValidator(_is_url("amqp", "amqps"))]


class SettingsError(Exception):
    """A setting is missing or wrong; the message names it and says the fix."""


class DatabaseSettings(BaseSettings):
    """What a command needs that only touches the database. A URL may hold a password, so it is a secret."""

    model_config = SettingsConfigDict(env_prefix="NOUBA_", extra="ignore")

    database_url: DatabaseUrl


class ProcessSettings(DatabaseSettings):
    """What a process needs that runs for long."""

    timezone: Annotated[str, AfterValidator(_zone_exists)] = "Africa/Algiers"
    #: Where this process answers Prometheus; 0 switches it off.
    metrics_port: int = 0
    metrics_host: str = "127.0.0.1"
    #: Whether browsers and programs reach this process by HTTPS, through a proxy: answers say so (HSTS), and cookies
    #: travel no other way.
    https: bool = False

    @property
    def zone(self) -> ZoneInfo:
        """The school's zone: a day is [midnight, midnight) there."""
        return ZoneInfo(self.timezone)


class Settings(ProcessSettings):
    """What a process needs that sends or handles messages."""

    rabbitmq_url: RabbitMqUrl


S = TypeVar("S", bound=BaseSettings)


def read_settings(kind: type[S]) -> S:
    """The settings of `kind` from the environment, and from `settings_dir` what is not there.

    Raises SettingsError with one line a fault, and no value.
    """
    try:
        return kind(_secrets_dir=settings_dir())
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        faults = [
            f"{prefix}{'_'.join(str(part) for part in fault['loc'])}".upper() + f": {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("\n".join(faults)) from None


def settings_dir() -> Path | None:
    """The folder that NOUBA_SETTINGS_DIR names: a file for a setting, with its name and its value; None where unset.

    For what must not be in the environment, where `docker inspect` and every child process would see it.
    """
    named = os.environ.get("NOUBA_SETTINGS_DIR")
    if not named:
        return None
    folder = Path(named)
    if not (folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)):
        raise SettingsError(
            f"NOUBA_SETTINGS_DIR: {folder} is no folder that this process may read; mount it, or unset it"
        )
    return folder
