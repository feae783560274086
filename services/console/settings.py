"""Settings of the console."""

from pydantic import Field, SecretStr, field_validator, model_validator

from shared.runtime.settings import CurrencyCode, Settings

#: Shorter ones can be guessed by trying.
SHORTEST_TOKEN_BYTES = 16


class ConsoleSettings(Settings):
    """The console: on this machine alone unless told, and with a token for each of its two kinds of visitor."""

    #: The wallets' currency.
    currency: CurrencyCode = "DZD"
    console_host: str = "127.0.0.1"
    console_port: int = Field(8082, ge=1, le=65535)
    #: Comma-separated. A viewer sees everything but the bodies of messages; an operator decides, too.
    console_viewer_tokens: SecretStr = SecretStr("")
    console_operator_tokens: SecretStr = SecretStr("")
    #: Whether browsers reach it by HTTPS (through a proxy): the session's cookie then never travels otherwise.
    console_https: bool = False
    #: Proxies on the way to it that say whose request it is; whoever tries tokens is told from others by that address.
    console_proxies: int = Field(0, ge=0, le=10)
    #: RabbitMQ's management API, which knows rates; the user and the password are those of NOUBA_RABBITMQ_URL.
    rabbitmq_management_url: str | None = None

    @field_validator("console_viewer_tokens", "console_operator_tokens")
    @classmethod
    def _are_long(cls, tokens: SecretStr) -> SecretStr:
        if any(len(token) < SHORTEST_TOKEN_BYTES for token in _split(tokens)):
            raise ValueError(
                f"has to be tokens of at least {SHORTEST_TOKEN_BYTES} bytes, such as `openssl rand -hex 32`"
            )
        return tokens

    @model_validator(mode="after")
    def _somebody_may_enter(self) -> "ConsoleSettings":
        if not self.operator_tokens:
            raise ValueError("NOUBA_CONSOLE_OPERATOR_TOKENS is empty: set it to a token, nobody could enter otherwise")
        return self

    @property
    def viewer_tokens(self) -> tuple[bytes, ...]:
        return _split(self.console_viewer_tokens)

    @property
    def operator_tokens(self) -> tuple[bytes, ...]:
        return _split(self.console_operator_tokens)


def _split(tokens: SecretStr) -> tuple[bytes, ...]:
    return tuple(token.strip().encode() for token in tokens.get_secret_value().split(",") if token.strip())
