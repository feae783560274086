"""Doctor check of S3: the bucket exists and accepts an object."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from shared.operations.doctor.findings import Finding, fault, fine

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

SUBJECT = "S3"
#: Not among uploads or lessons; the gateway's and the transcoder's identities may both write here.
PROBE_PREFIX = "uploads/nouba-doctor-"


def check_bucket(bucket: str, endpoint_url: str | None) -> Iterator[Finding]:
    """Put, read and remove one small object."""
    try:
        client = _client(endpoint_url)
    except ValueError:
        yield fault(
            SUBJECT,
            "NOUBA_S3_ENDPOINT_URL is no address.",
            "Write it as http://host:port or https://host, or leave it out for Amazon's own.",
        )
        return
    key = f"{PROBE_PREFIX}{uuid4().hex}"
    try:
        client.put_object(Bucket=bucket, Key=key, Body=b"nouba doctor")
    except NoCredentialsError:
        yield fault(SUBJECT, "There are no keys for S3.", "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    except ClientError as error:
        yield _refusal(bucket, error.response.get("Error", {}).get("Code", "?"))
    except BotoCoreError:
        yield fault(
            SUBJECT,
            "Nobody answers at the address of NOUBA_S3_ENDPOINT_URL.",
            "Start the S3 server (`make up`), or correct the address.",
        )
    else:
        # who may only write leaves the object to the sweep of abandoned uploads
        with contextlib.suppress(ClientError):
            client.delete_object(Bucket=bucket, Key=key)
        yield fine(SUBJECT, f"The bucket {bucket} takes objects.")


def _client(endpoint_url: str | None) -> "S3Client":
    """Raises ValueError where `endpoint_url` cannot be an address."""
    # a session of its own: the default one keeps the first keys it saw
    return boto3.Session().client(
        "s3",
        endpoint_url=endpoint_url or None,
        region_name="us-east-1" if endpoint_url else None,
        config=Config(
            retries={"total_max_attempts": 1},
            connect_timeout=3,
            read_timeout=5,
            s3={"addressing_style": "path"} if endpoint_url else {},
        ),
    )


def _refusal(bucket: str, code: str) -> Finding:
    if code in ("NoSuchBucket", "404"):
        return fault(SUBJECT, f"There is no bucket {bucket}.", "Create it, or correct NOUBA_S3_BUCKET.")
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return fault(SUBJECT, f"S3 refuses the keys ({code}).", "Correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    if code == "AccessDenied":
        return fault(SUBJECT, f"The keys may not write to the bucket {bucket}.", "Allow s3:PutObject on it.")
    return fault(SUBJECT, f"S3 does not take objects ({code}).", "Read the log of the S3 server.")
