"""Settings of the statistics API."""

import ipaddress
from pathlib import Path

from pydantic import Field, SecretStr

from services.stats.settings import CountSettings
from shared.runtime.api_tokens import ApiToken, parse_tokens
from shared.runtime.settings import ApiTokens, SettingsError

#: The names by which only this machine reaches itself.
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class ApiSettings(CountSettings):
    """The read API and its page."""

    stats_host: str = "127.0.0.1"
    stats_port: int = Field(8081, ge=1, le=65535)
    #: Processes of the web server, and the requests that each of them answers at once.
    stats_processes: int = Field(2, ge=1, le=64)
    stats_threads: int = Field(16, ge=1, le=1024)
    #: The newest day may be so old, counted from its end: a day, and two hours to compute the next one.
    stats_ready_hours: float = Field(26, gt=0)
    #: Where the processes of one API add up their metrics; emptied at every start.
    stats_metrics_dir: Path | None = None
    #: Comma-separated names in the Host header that are served; unset, any name where a token is asked for, and only
    #: this machine's own names where none is.
    stats_allowed_hosts: str = ""
    #: Proxies in front of the API that each add to `X-Forwarded-For`: wrong tokens are counted by client.
    stats_proxies: int = Field(0, ge=0, le=10)
    #: Comma-separated; where they are set, a reader needs one with the scope `read`.
    api_tokens: ApiTokens = SecretStr("")

    def required_tokens(self) -> tuple[ApiToken, ...]:
        """The tokens of which a reader needs one; empty where none is set and only this machine reaches the address.

        Raises SettingsError where the address is open to others and there is no token.
        """
        tokens = parse_tokens(self.api_tokens.get_secret_value())
        if not tokens and not is_loopback(self.stats_host):
            raise SettingsError(
                f"NOUBA_STATS_HOST is {self.stats_host}, which others can reach: set NOUBA_API_TOKENS to one or more "
                "tokens, separated by commas and none of them empty, or listen on 127.0.0.1."
            )
        return tokens

    def allowed_hosts(self) -> frozenset[str]:
        """The names that the API is served by, empty for every name."""
        named = frozenset(name.strip().lower() for name in self.stats_allowed_hosts.split(",") if name.strip())
        if named or self.api_tokens.get_secret_value().strip():
            return named
        return LOOPBACK_HOSTS | {self.stats_host.strip("[]").lower()}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
