"""A copy of a bucket in a folder: what a school has in a second bucket, with its own tool."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from local.s3 import BUCKET, S3

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class MirroredBucket:
    """The bucket of `server`, and its copy in `folder`."""

    def __init__(self, server: S3, folder: Path) -> None:
        self._server, self._folder = server, folder

    def put(self, key: str, body: bytes) -> None:
        """Add an object."""
        self._client().put_object(Bucket=BUCKET, Key=key, Body=body)

    def mirror(self) -> int:
        """Copy what is not copied yet; names are never used again, so a name that is there is done."""
        client, copied = self._client(), 0
        for key in self._keys():
            path = self._folder / key
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())
                copied += 1
        return copied

    def lose(self) -> None:
        """Kill the server and remove its data."""
        self._server.kill()
        shutil.rmtree(self._server.folder / "data")

    def restore(self) -> int:
        """Start an empty server and put everything back; how many objects that were."""
        self._server.start()
        client, paths = self._client(), [path for path in self._folder.rglob("*") if path.is_file()]
        for path in paths:
            client.put_object(Bucket=BUCKET, Key=str(path.relative_to(self._folder)), Body=path.read_bytes())
        return len(paths)

    def is_whole(self, expected: dict[str, bytes]) -> bool:
        """Whether the bucket has these objects, byte for byte."""
        client = self._client()
        return sorted(expected) == sorted(self._keys()) and all(
            client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body for key, body in expected.items()
        )

    def _keys(self) -> list[str]:
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def _client(self) -> "S3Client":
        return boto3.client(
            "s3",
            endpoint_url=self._server.url,
            aws_access_key_id=self._server.access_key_id,
            aws_secret_access_key=self._server.secret_access_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )
