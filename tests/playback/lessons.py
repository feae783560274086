"""Two courses with files in S3 and the key of one, as far as serving needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from local.postgres import Postgres
from local.s3 import BUCKET, S3
from services.transcoder.storage.s3 import Storage
from tests.webhook_gateway.processes import new_database

MASTER: Final = "hls/7/abc123/master.m3u8"
PLAYLIST: Final = b"#EXTM3U\n360p/media.m3u8\n"
SEGMENT: Final = bytes(range(256)) * 40
KEY_ID, KEY = "0f" * 16, bytes(range(16))

_FILES = {
    MASTER: PLAYLIST,
    "hls/7/abc123/360p/media.m3u8": b"#EXTM3U\n00000.m4s\n",
    "hls/7/abc123/360p/00000.m4s": SEGMENT,
    "hls/7/abc123/storyboard.vtt": b"WEBVTT\n",
    "hls/7/other/360p/00000.m4s": b"another content of the same course",
    "hls/8/abc123/master.m3u8": b"#EXTM3U\n# of course 8\n",
    "hls/8/abc123/360p/00000.m4s": b"another course",
}


@contextmanager
def lessons(migrated_server: Postgres, s3: S3) -> Iterator[str]:
    """The address of the database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", s3.access_key_id)
        patch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_access_key)
        storage = Storage(BUCKET, s3.url)
    for key, data in _FILES.items():
        storage.put(key, data)
    storage.client.put_object(Bucket=BUCKET, Key="uploads/7/secret.mp4", Body=b"an upload")
    with new_database(migrated_server) as database:
        database.execute("INSERT INTO courses (id, title) VALUES (7, 'Optics'), (8, 'Waves')")
        database.execute(
            "INSERT INTO course_keys (id, course_id, content_key, secret) VALUES (%s, 7, 'abc123', %s)", KEY_ID, KEY
        )
        yield database.url
    storage.remove("")
