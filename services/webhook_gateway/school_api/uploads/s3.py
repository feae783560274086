"""The bucket that teachers upload to, through boto3."""

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

T = TypeVar("T")


class S3Objects:
    """Implements `Objects`. Addresses are signed for `public_url`, which is where the browsers find S3."""

    def __init__(self, bucket: str, endpoint_url: str | None, public_url: str | None) -> None:
        self._bucket = bucket
        self._client = _client(endpoint_url)
        self._signer = _client(public_url or endpoint_url)

    def put_address(self, key: str, size: int, content_type: str) -> str:
        # both are signed, so that the address takes nothing else
        return self._sign("put_object", Key=key, ContentLength=size, ContentType=content_type)

    def begin_parts(self, key: str, content_type: str) -> str:
        begun = _asked(
            lambda: self._client.create_multipart_upload(Bucket=self._bucket, Key=key, ContentType=content_type)
        )
        return begun["UploadId"]

    def part_address(self, key: str, upload_id: str, part_number: int) -> str:
        return self._sign("upload_part", Key=key, UploadId=upload_id, PartNumber=part_number)

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


def _client(endpoint_url: str | None) -> "S3Client":
    config = Config(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": 3},
        connect_timeout=3,
        read_timeout=10,
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
