"""Settings of the console."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from services.console.credentials import Credential, Role, parse_credentials
from services.console.oidc_settings import OidcSettings, is_protected
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
    #: The address at which browsers find it; sign-in by OpenID Connect returns there.
    console_url: str = ""
    #: The provider's issuer, which switches OpenID Connect on, and what it knows this console by.
    console_oidc_issuer: str = ""
    console_oidc_client_id: str = ""
    console_oidc_client_secret: SecretStr = SecretStr("")
    console_oidc_scopes: str = "openid profile"
    #: The claim of groups or roles, and its comma-separated values that open the console.
    console_oidc_roles_claim: str = "groups"
    console_oidc_operators: str = ""
    console_oidc_viewers: str = ""
    #: The claim that names the person, and what the page of sign-in calls the provider.
    console_oidc_name_claim: str = "name"
    console_oidc_label: str = Field("", max_length=60)
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

    @model_validator(mode="after")
    def _oidc_is_whole(self) -> "ConsoleSettings":
        if not self.console_oidc_issuer:
            return self
        secret = self.console_oidc_client_secret.get_secret_value()
        for name, value in (("CLIENT_ID", self.console_oidc_client_id), ("CLIENT_SECRET", secret)):
            if not value:
                raise ValueError(f"NOUBA_CONSOLE_OIDC_{name} is empty: set what the provider gave this console")
        if not is_protected(self.console_oidc_issuer) or urlsplit(self.console_oidc_issuer).query:
            raise ValueError(
                "NOUBA_CONSOLE_OIDC_ISSUER has to be an https:// address without a query; http:// only on this machine"
            )
        parts = urlsplit(self.console_url)
        if not is_protected(self.console_url) or parts.path.strip("/") or parts.query:
            raise ValueError(
                "NOUBA_CONSOLE_URL has to be the address of the console in browsers, such as "
                "https://console.school.example, for sign-in by OpenID Connect; http:// only on this machine"
            )
        if (parts.scheme == "https") is not self.is_https:
            raise ValueError("NOUBA_CONSOLE_URL and NOUBA_HTTPS differ: set NOUBA_HTTPS=true where it is https")
        if "openid" not in self.console_oidc_scopes.split():
            raise ValueError("NOUBA_CONSOLE_OIDC_SCOPES has to name the scope openid")
        if not (_values(self.console_oidc_operators) or _values(self.console_oidc_viewers)):
            raise ValueError(
                "NOUBA_CONSOLE_OIDC_OPERATORS and NOUBA_CONSOLE_OIDC_VIEWERS are empty: set the groups that may enter"
            )
        return self

    @property
    def oidc(self) -> OidcSettings | None:
        """The provider; None where people sign in by tokens alone."""
        if not self.console_oidc_issuer:
            return None
        return OidcSettings(
            issuer=self.console_oidc_issuer,
            client_id=self.console_oidc_client_id,
            client_secret=self.console_oidc_client_secret.get_secret_value(),
            scopes=" ".join(self.console_oidc_scopes.split()),
            roles_claim=self.console_oidc_roles_claim,
            name_claim=self.console_oidc_name_claim,
            operators=_values(self.console_oidc_operators),
            viewers=_values(self.console_oidc_viewers),
            console_url=self.console_url.rstrip("/"),
            label=self.console_oidc_label or urlsplit(self.console_oidc_issuer).hostname or "",
        )

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


def _values(setting: str) -> frozenset[str]:
    return frozenset(value.strip() for value in setting.split(",") if value.strip())
