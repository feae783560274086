"""Makes a bucket on any S3 server where it is missing, and probes it."""

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

_PROBE = ".probe"


class Bucket:
    """The bucket `name` of the server at `endpoint_url`, whether it exists yet or not."""

    def __init__(self, endpoint_url: str, name: str, access_key_id: str, secret_access_key: str) -> None:
        self._name = name
        self._client = boto3.client(
            "s3",
            endpoint_url=endpoint_url,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            region_name="us-east-1",
            config=Config(
                # the caller retries; a client that retries, too, would only be slower
                retries={"total_max_attempts": 1},
                connect_timeout=5,
                read_timeout=10,
                s3={"addressing_style": "path"},
            ),
        )

    def make(self) -> None:
        """Make the bucket, unless it is there."""
        try:
            self._client.create_bucket(Bucket=self._name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def probe(self) -> None:
        """Keep an object, have it back and remove it. Raises what boto3 raises where that does not work."""
        self._client.put_object(Bucket=self._name, Key=_PROBE, Body=b"kept")
        self._client.get_object(Bucket=self._name, Key=_PROBE)["Body"].read()
        self._client.delete_object(Bucket=self._name, Key=_PROBE)
