"""Secrets and paths of playback addresses."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from services.transcoder.worker_settings import WorkerSettings
from services.webhook_gateway.settings import GatewaySettings
from shared.runtime.playback_links import PlaybackSecrets, sign_path, split_secrets

LONG = "x" * 32


def test_a_short_secret_is_refused_wherever_it_stands() -> None:
    secrets = TypeAdapter(PlaybackSecrets)

    assert split_secrets(secrets.validate_python(f"{LONG}, {LONG}y")) == (LONG.encode(), f"{LONG}y".encode())
    for short in ("short", f"{LONG},short", "x" * 31):
        with pytest.raises(ValidationError, match="at least 32 bytes"):
            secrets.validate_python(short)
    with pytest.raises(ValidationError, match="at least 32 bytes"):
        GatewaySettings(database_url="postgresql://a/b", rabbitmq_url="amqp://a/b", playback_secrets="short")


@pytest.mark.parametrize(
    "key", ["uploads/7/x.mp4", "hls/7/../8/master.m3u8", "hls/7/a/360p/media.m3u8", "hls/7/a/master.m3u8\n"]
)
def test_only_a_master_playlist_is_signed(key: str) -> None:
    with pytest.raises(ValueError, match="no master playlist"):
        sign_path(key, LONG.encode(), "u-17", 1)


def test_encrypted_lessons_have_their_keys_below_the_signed_path_unless_the_school_names_an_address() -> None:
    servers: dict[str, Any] = {"database_url": "postgresql://a/b", "rabbitmq_url": "amqp://a/b", "s3_bucket": "nouba"}

    assert WorkerSettings(**servers, transcoder_encrypt="paid").transcoder_key_url == "../{key_id}.key"
    with pytest.raises(ValidationError):
        WorkerSettings(**servers, transcoder_encrypt="paid", transcoder_key_url="keys/{key_id}")
