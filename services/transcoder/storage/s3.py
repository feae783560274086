"""The object store on S3: ranged downloads, uploads, retries."""

import gzip
import hashlib
import os
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from services.transcoder.errors import (
    JobCancelledError,
    NoSuchObjectError,
    ObjectStoreUnavailableError,
    OutOfSpaceError,
)
from services.transcoder.ffmpeg.process import never
from services.transcoder.metrics import STORAGE_BYTES
from services.transcoder.storage.object_store import ObjectInfo

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import PutObjectRequestTypeDef

#: Names are derived from the content, so what once was there never changes.
IMMUTABLE = "public, max-age=31536000, immutable"
CONTENT_TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".m4s": "video/iso.segment",
    ".mp4": "video/mp4",
    ".jpg": "image/jpeg",
    ".vtt": "text/vtt; charset=utf-8",
    ".json": "application/json",
    ".mpd": "application/dash+xml",
}
#: Text is kept compressed, as Apple demands of playlists.
COMPRESSED = (".m3u8", ".vtt", ".json", ".mpd")

RANGE_BYTES = 16 << 20
_PARALLEL_RANGES = 4
#: After botocore's own tries.
_ATTEMPTS = 4
_PAUSE_SECONDS = 0.3
_GONE = {"404", "NoSuchKey", "NotFound", "412", "PreconditionFailed", "NoSuchUpload"}
_OURS = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket"}

T = TypeVar("T")


class Storage:
    """One bucket. Safe to share between threads."""

    def __init__(self, bucket: str, endpoint_url: str | None = None) -> None:
        self.bucket = bucket
        self.client: S3Client = boto3.client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
            config=Config(
                retries={"mode": "standard", "total_max_attempts": 3},
                connect_timeout=5,
                read_timeout=30,
                max_pool_connections=16,
                s3={"addressing_style": "path"} if endpoint_url else {},
            ),
        )

    def head(self, key: str) -> ObjectInfo:
        """What is known of an object. Raises NoSuchObjectError."""
        try:
            answer = retrying(lambda: self.client.head_object(Bucket=self.bucket, Key=key))
        except NoSuchObjectError:
            self._require_gone(key)
            raise
        return ObjectInfo(answer["ContentLength"], answer["ETag"], answer["LastModified"])

    def download(self, key: str, etag: str, size_bytes: int, path: Path, cancelled: Callable[[], bool] = never) -> None:
        """Fetch an object to `path`, in ranges side by side.

        Raises NoSuchObjectError where its bytes are others by now.
        """
        starts = range(0, size_bytes, RANGE_BYTES)
        with path.open("wb") as file, ThreadPoolExecutor(_PARALLEL_RANGES, thread_name_prefix="download") as pool:
            _reserve(file.fileno(), size_bytes)
            ranges = [
                pool.submit(self._fetch, key, etag, start, size_bytes, file.fileno(), cancelled) for start in starts
            ]
            try:
                for future in as_completed(ranges):
                    future.result()
            except BaseException as error:
                pool.shutdown(cancel_futures=True)
                if isinstance(error, NoSuchObjectError):
                    self._require_gone(key, etag)
                raise

    def put(self, key: str, data: bytes) -> int:
        """Keep `data` under an immutable name; the number of bytes that S3 has now."""
        ending = Path(key).suffix
        compressed = ending in COMPRESSED
        # no time in it, so that the same text is always the same bytes
        body = gzip.compress(data, mtime=0) if compressed else data
        request: PutObjectRequestTypeDef = {
            "Bucket": self.bucket,
            "Key": key,
            "Body": body,
            "ContentMD5": b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode(),
            "ContentType": CONTENT_TYPES[ending],
            "CacheControl": IMMUTABLE,
        }
        if compressed:
            request["ContentEncoding"] = "gzip"
        retrying(lambda: self.client.put_object(**request))
        STORAGE_BYTES.labels("up").inc(len(body))
        return len(body)

    def text(self, key: str) -> str:
        """A playlist as it was put. Raises NoSuchObjectError."""
        return self.read(key).decode()

    def read(self, key: str) -> bytes:
        """A small object as it was put. Raises NoSuchObjectError."""

        def fetch() -> bytes:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
            body = answer["Body"].read()
            return gzip.decompress(body) if answer.get("ContentEncoding") == "gzip" else body

        return retrying(fetch)

    def list(self, prefix: str) -> dict[str, ObjectInfo]:
        """All objects whose key begins with `prefix`."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        found = {}
        for page in _pages(pages):
            for one in page.get("Contents", ()):
                found[one["Key"]] = ObjectInfo(one["Size"], one["ETag"], one["LastModified"])
        return found

    def folders(self, prefix: str) -> Iterator[str]:
        """The folders directly below `prefix`, each with a slash at its end."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
        for page in _pages(pages):
            for one in page.get("CommonPrefixes", ()):
                yield one["Prefix"]

    def remove(self, prefix: str, *, kept: str | None = None) -> int:
        """Remove all objects below `prefix`, but those below `kept`; how many they were."""
        keys = [key for key in self.list(prefix) if kept is None or not key.startswith(kept)]
        for start in range(0, len(keys), 1000):
            batch = keys[start : start + 1000]
            answer = retrying(
                lambda batch=batch: self.client.delete_objects(  # type: ignore[misc]
                    Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
                )
            )
            if answer.get("Errors"):
                raise ObjectStoreUnavailableError(
                    f"S3 did not remove {len(answer['Errors'])} of {len(batch)} objects; it is tried again."
                )
        return len(keys)

    def remove_one(self, key: str) -> None:
        """Remove one object; one that is not there is removed already."""
        retrying(lambda: self.client.delete_object(Bucket=self.bucket, Key=key))

    def _require_gone(self, key: str, etag: str | None = None) -> None:
        """Raises ObjectStoreUnavailableError unless S3's own list has no such object either.

        A 404 may come from a proxy's page, or because the bucket is missing: neither may fail an upload for ever.
        """
        found = self.list(key).get(key)
        if found is not None and etag in (None, found.etag):
            raise ObjectStoreUnavailableError("S3 says that there is no such object, and lists it.")

    def _fetch(
        self, key: str, etag: str, start: int, size_bytes: int, file: int, cancelled: Callable[[], bool]
    ) -> None:
        end = min(start + RANGE_BYTES, size_bytes)

        def fetch() -> None:
            wanted = f"bytes={start}-{end - 1}"
            body = self.client.get_object(Bucket=self.bucket, Key=key, Range=wanted, IfMatch=etag)["Body"]
            at = start
            for block in body.iter_chunks(1 << 20):
                if cancelled():
                    raise JobCancelledError("The work was cancelled.")
                os.pwrite(file, block, at)
                at += len(block)
            if at != end:
                raise ObjectStoreUnavailableError(f"S3 sent {at - start} of {end - start} bytes.")
            STORAGE_BYTES.labels("down").inc(end - start)

        retrying(fetch)


def retrying(call: Callable[[], T]) -> T:
    """What `call` returns, after a few tries. Raises NoSuchObjectError or ObjectStoreUnavailableError."""
    for attempt in range(_ATTEMPTS):
        try:
            return call()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _GONE:
                raise NoSuchObjectError(f"S3 has no such object ({code}).") from error
            if code in _OURS or attempt + 1 == _ATTEMPTS:
                raise ObjectStoreUnavailableError(
                    f"S3 refused the request ({code}): check NOUBA_S3_* and the key's rights."
                ) from error
        except (BotoCoreError, HTTPClientError, ObjectStoreUnavailableError) as error:
            if attempt + 1 == _ATTEMPTS:
                raise ObjectStoreUnavailableError(f"S3 does not answer: {error}") from error
        time.sleep(_PAUSE_SECONDS * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _pages(pages: Iterable[T]) -> Iterator[T]:
    """The same pages; a page that fails is a passing fault, because a half list must not be taken for the whole."""
    try:
        yield from pages
    except (ClientError, BotoCoreError) as error:
        raise ObjectStoreUnavailableError(f"S3 did not list its objects: {error}") from error


def _reserve(file: int, size_bytes: int) -> None:
    try:
        if size_bytes:
            os.posix_fallocate(file, 0, size_bytes)
    except OSError as error:
        raise OutOfSpaceError from error
