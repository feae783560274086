"""Multipart upload to S3, in parallel; an aborted one leaves no part behind."""

import os
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from services.transcoder.errors import NoSuchObjectError
from services.transcoder.metrics import STORAGE_BYTES
from services.transcoder.storage.s3 import Storage, retrying

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef

#: Where uploads are, by course.
UPLOADS = "uploads/"
#: S3 takes at most 10000 pieces of at least 5 MiB.
PIECE_BYTES = 16 << 20
_MAX_PIECES = 10_000
_SENDERS = 4


def upload_key(course_id: int) -> str:
    """A name that no other upload has, and that discloses nothing of the file's own name."""
    return f"{UPLOADS}{course_id}/{uuid.uuid4().hex}"


def send_file(storage: Storage, path: Path, key: str, advance: Callable[[int], None] = lambda _: None) -> None:
    """Make `path` the object `key`; `advance` gets each piece's bytes. Raises ObjectStoreUnavailableError."""
    size = path.stat().st_size
    if size <= PIECE_BYTES:
        data = path.read_bytes()
        retrying(lambda: storage.client.put_object(Bucket=storage.bucket, Key=key, Body=data))
        advance(size)
        return
    made = retrying(lambda: storage.client.create_multipart_upload(Bucket=storage.bucket, Key=key))
    upload_id = made["UploadId"]
    try:
        parts = _send_pieces(storage, path, key, upload_id, size, advance)
        retrying(
            lambda: storage.client.complete_multipart_upload(
                Bucket=storage.bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )
        )
    except BaseException:
        # Ctrl-C too: pieces that nobody completes cost money for ever
        abort(storage, key, upload_id)
        raise


def abort(storage: Storage, key: str, upload_id: str) -> None:
    """Remove the pieces of one upload; one that is gone is fine."""
    try:
        retrying(lambda: storage.client.abort_multipart_upload(Bucket=storage.bucket, Key=key, UploadId=upload_id))
    except NoSuchObjectError:
        return


def abort_old(storage: Storage, prefix: str, begun_before: datetime) -> int:
    """Remove the pieces of all uploads below `prefix` that were begun before then; how many uploads there were."""
    pages = storage.client.get_paginator("list_multipart_uploads").paginate(Bucket=storage.bucket, Prefix=prefix)
    found = retrying(lambda: [one for page in pages for one in page.get("Uploads", ())])
    old = [one for one in found if one["Initiated"] < begun_before]
    for one in old:
        abort(storage, one["Key"], one["UploadId"])
    return len(old)


def _send_pieces(
    storage: Storage, path: Path, key: str, upload_id: str, size: int, advance: Callable[[int], None]
) -> "list[CompletedPartTypeDef]":
    length = max(PIECE_BYTES, -(-size // _MAX_PIECES))
    file = os.open(path, os.O_RDONLY)

    def send(number: int) -> "CompletedPartTypeDef":
        data = os.pread(file, length, (number - 1) * length)
        answer = retrying(
            lambda: storage.client.upload_part(
                Bucket=storage.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=data
            )
        )
        STORAGE_BYTES.labels("up").inc(len(data))
        advance(len(data))
        return {"PartNumber": number, "ETag": answer["ETag"]}

    try:
        with ThreadPoolExecutor(_SENDERS, thread_name_prefix="upload") as pool:
            pieces = [pool.submit(send, number) for number in range(1, -(-size // length) + 1)]
            try:
                for piece in as_completed(pieces):
                    piece.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            return [piece.result() for piece in pieces]
    finally:
        os.close(file)
