"""Anchors: copies of the chain's head where the database's owner cannot change them, and the thread that makes them.

A file on another machine's disk, or objects of an S3 bucket, which may be locked: `file:///path` or `s3://bucket/prefix`.
"""

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Connection

from services.webhook_gateway.errors import NotReadyError
from services.webhook_gateway.integrity.hash_chain import ChainHead, read_head
from services.webhook_gateway.integrity.monitor import ElectedThread

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

log = structlog.get_logger(__name__)

#: Any number that no other lock of ours has.
ANCHOR_LOCK = 0x4E4F554259
#: How often the thread checks whether it is elected and whether an anchor is due.
_POLL_SECONDS = 5.0
_LINE = re.compile(r"\S+ (\d+):([0-9a-f]{64})")


class Anchors(Protocol):
    """Where heads are kept."""

    def write(self, head: ChainHead, at: datetime) -> None:
        """Keep `head` beside those that are there."""
        ...

    def read(self) -> Sequence[ChainHead]:
        """All heads, oldest first."""
        ...


class FileAnchors:
    """Implements `Anchors`: a line for each head, only ever appended. `chattr +a` lets nobody but root change it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, head: ChainHead, at: datetime) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, f"{_line(head, at)}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> Sequence[ChainHead]:
        return [_head(line) for line in self._path.read_text().splitlines()] if self._path.exists() else []


class S3Anchors:
    """Implements `Anchors`: an object for each head. With `lock_days` the bucket's object lock keeps it so long."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str, lock_days: int) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._lock_days = lock_days

    def write(self, head: ChainHead, at: datetime) -> None:
        # the position first, with zeros: the listing is in the order of the chain
        key = f"{self._prefix}{head.position:020d}-{at:%Y%m%dT%H%M%SZ}"
        body = _line(head, at).encode()
        if self._lock_days:
            until = at + timedelta(days=self._lock_days)
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ObjectLockMode="COMPLIANCE",
                ObjectLockRetainUntilDate=until,
            )
        else:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body)

    def read(self) -> Sequence[ChainHead]:
        found = []
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix):
            for listed in page.get("Contents", ()):
                body = self._client.get_object(Bucket=self._bucket, Key=listed["Key"])["Body"].read(1024)
                found.append(_head(body.decode()))
        return found


def open_anchors(url: str, endpoint_url: str | None, lock_days: int) -> Anchors:
    """The anchors at `url`. Raises NotReadyError where it is not one of the two forms."""
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return FileAnchors(Path(parts.path))
    if parts.scheme == "s3" and parts.netloc:
        import boto3

        region = os.environ.get("AWS_REGION") or "us-east-1"
        client = boto3.client("s3", endpoint_url=endpoint_url, region_name=region)
        prefix = parts.path.strip("/")
        return S3Anchors(client, parts.netloc, f"{prefix}/" if prefix else "", lock_days)
    raise NotReadyError("NOUBA_LEDGER_ANCHOR has to be file:///path/of/a/file or s3://bucket/prefix.")


class Anchoring(ElectedThread):
    """Writes the newest head to the anchors, where there is a newer one than the last."""

    def __init__(self, database_url: str, anchors: Anchors, every_seconds: float) -> None:
        super().__init__("anchoring", database_url, ANCHOR_LOCK, min(every_seconds, _POLL_SECONDS))
        self._anchors = anchors
        self._every = timedelta(seconds=every_seconds)
        self._last: ChainHead | None = None
        self._written_at = datetime.min.replace(tzinfo=UTC)

    def begin(self, connection: Connection) -> None:
        self._last = None

    def work(self, connection: Connection) -> bool:
        now = datetime.now(UTC)
        if now - self._written_at >= self._every:
            with connection.begin():
                head = read_head(connection)
            if head.position and head != self._last:
                self._anchors.write(head, now)
                log.info("the chain's head is anchored", position=head.position)
                self._last, self._written_at = head, now
        return False


def _line(head: ChainHead, at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ} {head}"


def _head(line: str) -> ChainHead:
    found = _LINE.fullmatch(line.strip())
    if found is None:
        raise NotReadyError(f"An anchor cannot be read: {line[:80]!r}.")
    return ChainHead(int(found[1]), bytes.fromhex(found[2]))
