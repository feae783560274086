"""What all tests of the transcoder share."""

import pytest

from local.s3 import S3
from tests.transcoder.films import ffmpeg, film, lesson_of

__all__ = ["ffmpeg", "film", "lesson_of"]


@pytest.fixture
def s3_keys(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The S3 server, with its keys where boto3 searches for them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
    return s3_server
