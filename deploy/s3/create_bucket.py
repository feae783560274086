"""Creates Compose's bucket with its CORS rule for uploads, and probes it; sets no lifecycle rules and no policy."""

import os
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

#: The server says that it is healthy a little before its inner servers have found each other.
MAX_WAIT_SECONDS = 60


def main() -> None:
    """Try until it works; end the process with the reason where it does not."""
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while True:
        try:
            prepare(os.environ["NOUBA_S3_ENDPOINT_URL"], os.environ["NOUBA_S3_BUCKET"])
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                sys.exit(f"The bucket cannot be made: {error}")
            time.sleep(1)
        else:
            return


def prepare(endpoint_url: str, bucket: str) -> None:
    """Make what is missing, and keep and remove one object."""
    config = Config(
        retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10, s3={"addressing_style": "path"}
    )
    client = boto3.client("s3", endpoint_url=endpoint_url, region_name="us-east-1", config=config)
    if bucket not in {found["Name"] for found in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=bucket)
    client.put_bucket_cors(
        Bucket=bucket,
        CORSConfiguration={
            "CORSRules": [
                {
                    # the signature in its address allows an upload: the page that it comes from need not be known
                    "AllowedOrigins": ["*"],
                    "AllowedMethods": ["GET", "HEAD", "PUT"],
                    "AllowedHeaders": ["*"],
                    "ExposeHeaders": ["ETag"],
                    "MaxAgeSeconds": 3600,
                }
            ]
        },
    )
    client.put_object(Bucket=bucket, Key=".probe", Body=b"kept")
    client.get_object(Bucket=bucket, Key=".probe")["Body"].read()
    client.delete_object(Bucket=bucket, Key=".probe")
    print(f"The bucket {bucket} is there.")


if __name__ == "__main__":
    main()
