"""Settings of the playback service."""

from pydantic import Field

from shared.runtime.playback_links import PlaybackSecrets
from shared.runtime.settings import ProcessSettings


class PlaybackSettings(ProcessSettings):
    """The playback service: an S3 key that reads, the secrets of addresses, a role for keys and views, and the zone."""

    playback_host: str = "127.0.0.1"
    playback_port: int = Field(8083, ge=1, le=65535)
    #: Requests at once; each holds a thread while its bytes go to the player.
    playback_threads: int = Field(64, ge=1, le=1024)
    #: How long one answer may take: a segment on a slow line.
    playback_request_seconds: float = Field(120.0, gt=0)
    #: Comma-separated: the first one signs addresses, each of them verifies.
    playback_secrets: PlaybackSecrets
    #: Proxies in front that each add to `X-Forwarded-For`, for addresses that are bound to a viewer's IP address.
    playback_proxies: int = Field(0, ge=0, le=10)
    s3_bucket: str
    s3_endpoint_url: str | None = None
