"""Settings of the providers: which are enabled, and their secrets."""

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.webhook_gateway.errors import NotReadyError
from shared.runtime.settings import settings_dir


class ChecksumMode(StrEnum):
    """How the bank signs its callbacks; SATIM is not known to, other banks on the same platform do."""

    NONE = "none"
    HMAC_SHA256 = "hmac_sha256"
    RSA_SHA256 = "rsa_sha256"
    RSA_SHA512 = "rsa_sha512"


def read_settings(**values: Any) -> "ProviderSettings":
    """The settings from the environment or the files of NOUBA_SETTINGS_DIR, `values` before both.

    Raises NotReadyError with the variable's name and the fix.
    """
    try:
        return ProviderSettings(**{"_secrets_dir": settings_dir(), **values})
    except ValidationError as error:
        # never the value: it may be a secret with a typing error in it
        raise NotReadyError(" ".join(_sentence(detail["loc"], detail["msg"]) for detail in error.errors())) from None


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    elements = [element.strip() for element in value.split(",")]
    if not all(elements):
        raise ValueError("is empty or has an empty element: set it to the secrets, separated by commas, or unset it.")
    return elements


def _refuse_empty(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty: set it, or unset it.")
    return value


def _check_chargily(secrets: tuple[SecretStr, ...] | None) -> tuple[SecretStr, ...] | None:
    for secret in secrets or ():
        if re.match(r"(test|live)_pk_|whsec_", secret.get_secret_value()):
            raise ValueError(
                "holds a key that signs nothing: Chargily signs with the API secret key (test_sk_ or live_sk_)."
            )
    return secrets


def _check_stripe(secrets: tuple[SecretStr, ...] | None) -> tuple[SecretStr, ...] | None:
    for secret in secrets or ():
        if re.match(r"(sk|pk|rk)_(test|live)_", secret.get_secret_value()):
            raise ValueError("holds an API key: Stripe signs webhooks with the endpoint's signing secret (whsec_).")
    return secrets


def _check_stripe_key(key: SecretStr | None) -> SecretStr | None:
    if key is not None and not re.match(r"(sk|rk)_", key.get_secret_value()):
        raise ValueError("is no secret key of Stripe's API (sk_live_..., or rk_live_... with few rights).")
    return key


def _check_header(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", name):
        raise ValueError("is not the name of an HTTP header: set it to one such as X-Signature, or unset it.")
    return name


def _check_base_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and _is_private(parts.hostname or "")):
        return url.rstrip("/")
    raise ValueError("must begin with https:// because it carries the merchant's password or key.")


def _check_return_url(url: str | None) -> str | None:
    if url is not None and urlsplit(url).scheme not in ("https", "http"):
        raise ValueError("must begin with https://: it is where the payer's browser is sent.")
    return url


def _is_private(host: str) -> bool:
    """Whether the host is this machine or a container's plain name, which no public resolver knows."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return bool(host) and "." not in host


Secrets = Annotated[tuple[SecretStr, ...] | None, NoDecode, BeforeValidator(_split)]
Word = Annotated[str, BeforeValidator(_refuse_empty)]
Text = Annotated[str | None, BeforeValidator(_refuse_empty)]
Secret = Annotated[SecretStr | None, BeforeValidator(_refuse_empty)]


class ProviderSettings(BaseSettings):
    """One group of variables a provider; a provider none of whose own variables is set is off."""

    model_config = SettingsConfigDict(env_prefix="NOUBA_PSP_", frozen=True, hide_input_in_errors=True)

    chargily_secrets: Annotated[Secrets, AfterValidator(_check_chargily)] = None
    chargily_base_url: Annotated[Word, AfterValidator(_check_base_url)] = "https://pay.chargily.net"
    standard_webhooks_secrets: Secrets = None
    stripe_secrets: Annotated[Secrets, AfterValidator(_check_stripe)] = None
    #: With it Stripe is asked, too: about payments, and for refunds.
    stripe_api_key: Annotated[Secret, AfterValidator(_check_stripe_key)] = None
    stripe_base_url: Annotated[Word, AfterValidator(_check_base_url)] = "https://api.stripe.com"
    #: The connected account whose events are the school's (`acct_...`); unset where no event may name one.
    stripe_account: Text = None
    generic_secrets: Secrets = None
    generic_header: Annotated[Word, AfterValidator(_check_header)] = "X-Signature"
    satim_username: Text = None
    satim_password: Secret = None
    #: `force_terminal_id` of the orders that `POST /api/v1/checkouts` registers.
    satim_terminal: Text = None
    satim_base_url: Annotated[Word, AfterValidator(_check_base_url)] = "https://cib.satim.dz/payment/rest"
    satim_checksum_mode: Annotated[ChecksumMode, BeforeValidator(_refuse_empty)] = ChecksumMode.NONE
    satim_checksum_keys: Secrets = None
    satim_return_url: Annotated[Text, AfterValidator(_check_return_url)] = None

    @model_validator(mode="after")
    def _check_satim(self) -> "ProviderSettings":
        if self.satim_is_on and not (self.satim_username and self.satim_password):
            raise ValueError(
                "NOUBA_PSP_SATIM_USERNAME and NOUBA_PSP_SATIM_PASSWORD must both be set: the status call needs them."
            )
        if self.satim_is_on and (self.satim_checksum_mode is ChecksumMode.NONE) != (self.satim_checksum_keys is None):
            raise ValueError(
                "NOUBA_PSP_SATIM_CHECKSUM_MODE and NOUBA_PSP_SATIM_CHECKSUM_KEYS belong together: set both or neither."
            )
        return self

    @property
    def satim_is_on(self) -> bool:
        """Whether any of SATIM's own credentials is set; addresses alone switch nothing on."""
        credentials = (self.satim_username, self.satim_password, self.satim_checksum_keys)
        return any(credential is not None for credential in credentials)


def plain(secrets: tuple[SecretStr, ...] | None) -> list[str]:
    """The secrets' text, for the adapter that needs it; empty where the provider is off."""
    return [secret.get_secret_value() for secret in secrets or ()]


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    return f"NOUBA_PSP_{str(location[0]).upper()} {message}" if location else message
