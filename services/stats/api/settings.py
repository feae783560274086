"""Settings of the statistics API."""

import ipaddress
from pathlib import Path

from pydantic import Field, SecretStr

from services.stats.settings import CountSettings
from shared.runtime.settings import SettingsError


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
    #: Comma-separated; asked for where others than this machine can reach the API.
    api_tokens: SecretStr = SecretStr("")

    def required_tokens(self) -> tuple[bytes, ...]:
        """The tokens of which a reader needs one; none on an address that only this machine reaches.

        Raises SettingsError where the address is open to others and there is no token.
        """
        if is_loopback(self.stats_host):
            return ()
        given = [token.strip() for token in self.api_tokens.get_secret_value().split(",")]
        if not all(given):
            raise SettingsError(
                f"NOUBA_STATS_HOST is {self.stats_host}, which others can reach: set NOUBA_API_TOKENS to one or more "
                "tokens, separated by commas and none of them empty, or listen on 127.0.0.1."
            )
        return tuple(token.encode() for token in given)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
