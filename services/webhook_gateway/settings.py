"""Settings of the gateway."""

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from services.webhook_gateway.providers.base import Mode
from shared.operations.retention.settings import RetentionSettings
from shared.runtime.api_tokens import ApiToken, parse_tokens
from shared.runtime.playback_links import PlaybackSecrets
from shared.runtime.settings import ApiTokens, CurrencyCode, DatabaseSettings, DatabaseUrl, Settings


class AnchorSettings(DatabaseSettings):
    """Where heads of the chain are kept beyond the database."""

    #: file:///path or s3://bucket/prefix; unset, nowhere.
    ledger_anchor: str | None = None
    ledger_anchor_seconds: float = Field(3600.0, gt=0)
    #: How long the bucket's object lock keeps an anchor; 0 for a bucket without one.
    ledger_anchor_lock_days: int = Field(0, ge=0)
    #: Where that bucket is; unset, Amazon's. Not the school's own S3: a thief of one must not have the other.
    ledger_anchor_endpoint_url: str | None = None


class Serves(StrEnum):
    """Which routes a web process has: those of strangers, those that ask for a token, or both."""

    ALL = "all"
    WEBHOOKS = "webhooks"
    SCHOOL = "school"


class GatewaySettings(AnchorSettings, RetentionSettings, Settings):
    """The web process and the payments worker; the providers' own settings are in `providers.settings`."""

    #: The role that keeps webhooks: it adds to inbox and outbox, and changes no payment. Unset, that of the rest.
    intake_database_url: DatabaseUrl | None = None
    #: A process that serves webhooks alone holds no secret of the school's API, and its database address is the role
    #: nouba_intake's.
    gateway_serves: Serves = Serves.ALL
    gateway_host: str = "127.0.0.1"
    gateway_port: int = 8080
    #: Processes of the web server, and the requests that each of them can have under way. Threads are made when they
    #: are needed; a slow sender holds one for seconds, so there are far more of them than work needs.
    gateway_processes: int = Field(2, ge=1, le=64)
    gateway_threads: int = Field(512, ge=1, le=4096)
    #: Database connections of each process, for the milliseconds that keeping a webhook takes.
    gateway_connections: int = Field(8, ge=1, le=256)
    #: Providers send a few KiB; what is larger is no webhook.
    gateway_body_bytes: int = Field(256 * 1024, ge=1024)
    #: A body has to arrive within this, however slowly it drips.
    gateway_body_seconds: float = Field(5.0, gt=0)
    #: Head, body and answer of one request: longer than the body's limit and the database's together.
    gateway_request_seconds: float = Field(15.0, gt=0)
    #: Requests that prove nothing, a second and a process, before the rest of them is answered 429.
    gateway_unverified_per_second: int = Field(200, ge=1)
    #: Hints that nobody signed (SATIM), likewise: each is kept, and makes us ask the bank.
    gateway_unsigned_per_second: int = Field(10, ge=1)
    #: Proxies in front of the gateway that each add to `X-Forwarded-For`: clients have budgets of their own by it.
    gateway_proxies: int = Field(0, ge=0, le=10)
    #: Where the processes of one gateway add up their metrics; emptied at every start.
    gateway_metrics_dir: Path | None = None
    #: Where webhooks are kept while the database is away: a folder of this gateway alone, on a disk of this machine.
    #: Without one they are refused with 503 then.
    gateway_spool_dir: Path | None = None
    #: What the spool's file may grow to: ten minutes of 200 webhooks a second, of 4 KiB each.
    gateway_spool_max_bytes: int = Field(512 * 1024 * 1024, ge=1024 * 1024)
    gateway_spool_max_events: int = Field(500_000, ge=1)

    #: The school's bearer tokens, comma-separated: each a token with every scope, or name:scopes:token.
    api_tokens: ApiTokens = SecretStr("")
    #: API requests (version 1) a minute, token and process, before the rest is answered 429.
    gateway_api_requests_per_minute: int = Field(600, ge=1)
    #: Where uploads go; without a bucket none are taken. The public address is the one that browsers reach S3 by.
    s3_bucket: str | None = None
    s3_endpoint_url: str | None = None
    s3_public_url: str | None = None
    #: The largest video that is taken: twice its size has to fit on the transcoders' scratch disks.
    gateway_upload_max_bytes: int = Field(50 * 1024**3, ge=1)
    #: Where payers may come back to from a checkout, comma-separated: the beginnings of addresses, such as
    #: https://school.example/orders. Without one the API makes no checkouts.
    checkout_return_urls: str = Field("", pattern=r"^((https?://[^\s,?#@]+)(,https?://[^\s,?#@]+)*)?$")
    #: Lessons' addresses: signed with the first secret, and below the address by which players reach
    #: `nouba playback serve`, nginx or a CDN. Without them no lesson can be played.
    playback_secrets: PlaybackSecrets = SecretStr("")
    playback_url: str = Field("", pattern=r"^(https?://[^\s?#]+)?$")

    #: Whether endpoints of events may have private addresses, and http ones; the events worker reads it too.
    events_allow_private: bool = False

    worker_threads: int = Field(16, ge=1, le=64)
    #: How often the worker on watch checks the invariants, and how old an event may be before a worker has tried it.
    integrity_check_seconds: float = Field(60.0, gt=0)
    integrity_settle_seconds: float = Field(300.0, gt=0)
    #: Whether real money moves here: an event of the other mode is quarantined, whatever key signed it.
    payments_mode: Mode = Mode.LIVE
    #: The currency of the school's wallets (ISO 4217): a payment in another one is put aside for an operator.
    currency: CurrencyCode = "DZD"
    #: How long a subscription runs that has no end of its own.
    subscription_days: int = Field(30, ge=1)

    @model_validator(mode="after")
    def _strangers_reach_no_other_secret(self) -> Self:
        if self.gateway_serves is Serves.WEBHOOKS:
            held = {
                "NOUBA_API_TOKENS": self.api_tokens.get_secret_value(),
                "NOUBA_PLAYBACK_SECRETS": self.playback_secrets.get_secret_value(),
                "NOUBA_S3_BUCKET": self.s3_bucket,
                "NOUBA_INTAKE_DATABASE_URL beside NOUBA_DATABASE_URL": self.intake_database_url,
            }
            if others := [name for name, value in held.items() if value]:
                raise ValueError(
                    f"NOUBA_GATEWAY_SERVES=webhooks faces strangers: take {', '.join(others)} away from this process; "
                    "its NOUBA_DATABASE_URL is that of the role nouba_intake"
                )
        return self

    @property
    def tokens(self) -> tuple[ApiToken, ...]:
        """The API tokens, in the order of the setting."""
        return parse_tokens(self.api_tokens.get_secret_value())

    @property
    def intake_url(self) -> str:
        """The database as whatever serves strangers uses it."""
        return (self.intake_database_url or self.database_url).get_secret_value()

    @property
    def subscription_period(self) -> timedelta:
        return timedelta(days=self.subscription_days)
