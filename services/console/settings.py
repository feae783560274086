"""Settings of the console."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator

from services.console.credentials import Credential, Role, parse_credentials
from shared.runtime.playback_links import PlaybackSecrets
from shared.runtime.settings import CurrencyCode, Settings

#: The host stands in a header, the policy of a lesson's page: a star or a space would allow more than it.
_ADDRESS = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?(?:/[^\s?#;,'\"]*)?")


def _require_address(address: str) -> str:
    if address and not _ADDRESS.fullmatch(address):
        raise ValueError(
            "it is no address of a playback server: write https://video.school.example, with a host of ASCII letters, "
            "digits, dots and hyphens or an IPv6 address in brackets, and no user, query or fragment"
        )
    return address


class ConsoleSettings(Settings):
    """The console: on this machine alone unless set otherwise, and with a token for each of its two roles."""

    #: The wallets' currency.
    currency: CurrencyCode = "DZD"
    console_host: str = "127.0.0.1"
    console_port: int = Field(8082, ge=1, le=65535)
    #: Comma-separated name:token, one for each person. A viewer sees everything but the bodies of messages; an
    #: operator decides, too.
    console_viewer_tokens: SecretStr = SecretStr("")
    console_operator_tokens: SecretStr = SecretStr("")
    #: The same as NOUBA_HTTPS, for the console alone.
    console_https: bool = False
    #: Proxies on the way to it that name the client; wrong tokens are counted for that address.
    console_proxies: int = Field(0, ge=0, le=10)
    #: RabbitMQ's management API, which knows rates; the user and the password are those of NOUBA_RABBITMQ_URL.
    rabbitmq_management_url: str | None = None
    #: For the player on a lesson's page, the same as the gateway's; without them the console plays nothing.
    playback_secrets: PlaybackSecrets = SecretStr("")
    playback_url: Annotated[str, AfterValidator(_require_address)] = ""

    @model_validator(mode="after")
    def _somebody_may_enter(self) -> "ConsoleSettings":
        if not any(credential.role is Role.OPERATOR for credential in self.credentials):
            raise ValueError("NOUBA_CONSOLE_OPERATOR_TOKENS is empty: set it to a token, nobody could enter otherwise")
        return self

    @property
    def is_https(self) -> bool:
        """Whether browsers reach it by HTTPS."""
        return self.https or self.console_https

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """Of operators first. Raises ValueError where a token is short or a name is given twice."""
        operators = self._parse("console_operator_tokens", self.console_operator_tokens, Role.OPERATOR)
        return (*operators, *self._parse("console_viewer_tokens", self.console_viewer_tokens, Role.VIEWER))

    def _parse(self, name: str, setting: SecretStr, role: Role) -> tuple[Credential, ...]:
        try:
            return parse_credentials(setting.get_secret_value(), role)
        except ValueError as error:
            raise ValueError(f"NOUBA_{name.upper()} {error}") from None
