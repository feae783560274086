"""Reads a lesson's files from S3: whole, or one range of bytes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from services.playback.errors import InvalidRangeError, StorageUnavailableError, UnknownFileError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import GetObjectRequestTypeDef

_MISSING = {"NoSuchKey", "NotFound", "404"}


class Body(Protocol):
    """The bytes of a file on their way from S3."""

    def iter_chunks(self, chunk_size: int) -> Iterator[bytes]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class File:
    """One file, or a range of it; `content_range` where it is one. `body` has to be closed."""

    size_bytes: int
    etag: str
    encoding: str | None
    content_range: str | None
    body: Body


class Files(Protocol):
    """The lessons' files. Raises UnknownFileError, InvalidRangeError or StorageUnavailableError."""

    def open(self, key: str, wanted: str | None) -> File:
        """The file `key`, or the range of it that a header `Range` asks for."""
        ...

    def answers(self) -> bool:
        """Whether S3 answers at all."""
        ...


class S3Files:
    """Implements `Files`. It reads below `hls/` and does nothing else. Safe to share between threads."""

    def __init__(self, bucket: str, endpoint_url: str | None, connections: int) -> None:
        self._bucket = bucket
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 2},
            connect_timeout=3,
            read_timeout=20,
            max_pool_connections=connections,
            s3={"addressing_style": "path"} if endpoint_url else {},
        )
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        self._client: S3Client = boto3.client("s3", endpoint_url=endpoint_url, region_name=region, config=config)

    def open(self, key: str, wanted: str | None) -> File:
        request: GetObjectRequestTypeDef = {"Bucket": self._bucket, "Key": key}
        if wanted is not None:
            request["Range"] = wanted
        try:
            answer = self._client.get_object(**request)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("InvalidRange", "416"):
                raise InvalidRangeError(self._size(key)) from None
            raise _fault(code) from error
        except BotoCoreError as error:
            raise StorageUnavailableError(f"S3 did not answer: {type(error).__name__}") from error
        return File(
            answer["ContentLength"],
            answer["ETag"],
            answer.get("ContentEncoding") or None,
            answer.get("ContentRange") or None,
            answer["Body"],
        )

    def answers(self) -> bool:
        try:
            self._client.head_object(Bucket=self._bucket, Key="hls/ready")
        except ClientError as error:
            return error.response.get("Error", {}).get("Code", "") in _MISSING
        except BotoCoreError:
            return False
        return True

    def _size(self, key: str) -> int:
        try:
            return self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"]
        except ClientError as error:
            raise _fault(error.response.get("Error", {}).get("Code", "")) from error
        except BotoCoreError as error:
            raise StorageUnavailableError(f"S3 did not answer: {type(error).__name__}") from error


def _fault(code: str) -> UnknownFileError | StorageUnavailableError:
    if code in _MISSING:
        return UnknownFileError()
    return StorageUnavailableError(f"S3 refused: {code}; check NOUBA_S3_* and the rights of the key")
