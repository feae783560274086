"""Presigned uploads to S3, through boto3."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from services.webhook_gateway.errors import ObjectStoreUnavailableError, UploadMissingError
from services.webhook_gateway.school_api.uploads.uploads import VALID_SECONDS, Part

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedMultipartUploadTypeDef

#: What S3 answers where the parts are not what was said, or are not there.
_NOT_THERE = {"NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall", "NoSuchKey", "404"}

ATTEMPTS = 2
#: The longest that boto3 waits before the second attempt.
BACKOFF_SECONDS = 1.0
#: The object's own metadata that says how many bytes the ticket was for.
_ANNOUNCED = "announced-bytes"

T = TypeVar("T")


class S3Objects:
    """Implements `Objects`. Addresses are signed for `public_url`, which is where the browsers find S3."""

    def __init__(
        self, bucket: str, endpoint_url: str | None, public_url: str | None, within_seconds: float = 12.0
    ) -> None:
        """No call takes longer than `within_seconds`: the caller has a request to answer."""
        self._bucket = bucket
        self._client = _client(endpoint_url, within_seconds)
        self._signer = _client(public_url or endpoint_url, within_seconds)

    def put_address(self, key: str, size: int, content_type: str) -> str:
        # all are signed, so that the address takes nothing else, and nothing twice
        return self._sign("put_object", Key=key, ContentLength=size, ContentType=content_type, IfNoneMatch="*")

    def begin_parts(self, key: str, size: int, content_type: str) -> str:
        begun = _asked(
            lambda: self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, ContentType=content_type, Metadata={_ANNOUNCED: str(size)}
            )
        )
        return begun["UploadId"]

    def part_address(self, key: str, upload_id: str, part_number: int, size: int) -> str:
        return self._sign("upload_part", Key=key, UploadId=upload_id, PartNumber=part_number, ContentLength=size)

    def received_parts(self, key: str, upload_id: str) -> Sequence[Part]:
        found: list[Part] = []
        marker = 0
        while True:
            listed = _asked(
                lambda marker=marker: self._client.list_parts(  # type: ignore[misc]
                    Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumberMarker=marker
                )
            )
            page = [Part(part["PartNumber"], part["ETag"]) for part in listed.get("Parts", ())]
            found += page
            if not page or not listed.get("IsTruncated"):
                return found
            marker = page[-1].part_number

    def join_parts(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        listed: CompletedMultipartUploadTypeDef = {
            "Parts": [
                {"PartNumber": part.part_number, "ETag": part.etag}
                for part in sorted(parts, key=lambda part: part.part_number)
            ]
        }
        try:
            _asked(
                lambda: self._client.complete_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=upload_id, MultipartUpload=listed
                )
            )
        except UploadMissingError:
            if not self.exists(key):
                raise UploadMissingError(key) from None
        self._require_announced(key)

    def _require_announced(self, key: str) -> None:
        """Remove an object that is not as large as its ticket said: parts are missing."""
        found = _asked(lambda: self._client.head_object(Bucket=self._bucket, Key=key))
        # uploads that were begun by an earlier release announced nothing
        announced = found["Metadata"].get(_ANNOUNCED, str(found["ContentLength"]))
        if announced != str(found["ContentLength"]):
            _asked(lambda: self._client.delete_object(Bucket=self._bucket, Key=key))
            raise UploadMissingError(key)

    def exists(self, key: str) -> bool:
        try:
            found = _asked(lambda: self._client.head_object(Bucket=self._bucket, Key=key))
        except UploadMissingError:
            return False
        return found["ContentLength"] > 0

    def _sign(self, operation: str, **parameters: object) -> str:
        return self._signer.generate_presigned_url(
            operation, Params={"Bucket": self._bucket, **parameters}, ExpiresIn=VALID_SECONDS
        )


def _client(endpoint_url: str | None, within_seconds: float) -> "S3Client":
    # boto3 has no limit for a call: it is that of one attempt, to connect and to read, times the attempts
    seconds = (within_seconds - BACKOFF_SECONDS) / ATTEMPTS
    config = Config(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=seconds / 3,
        read_timeout=seconds * 2 / 3,
        s3={"addressing_style": "path"} if endpoint_url else {},
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return boto3.client("s3", endpoint_url=endpoint_url, region_name=region, config=config)


def _asked(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _NOT_THERE:
            raise UploadMissingError(code) from None
        raise ObjectStoreUnavailableError(f"S3 refused: {code}") from error
    except BotoCoreError as error:
        raise ObjectStoreUnavailableError(f"S3 did not answer: {type(error).__name__}") from error
