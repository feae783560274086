"""S3: uploads in pieces, downloads in ranges, and what is swept away; on a real server."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local.s3 import S3
from services.transcoder.errors import JobCancelledError, NoSuchObjectError, ObjectStoreUnavailableError
from services.transcoder.storage.multipart_upload import PIECE_BYTES, abort_old, send_file
from services.transcoder.storage.s3 import Storage
from tests.transcoder.jobs.flaky_s3 import FlakyS3
from tests.transcoder.jobs.harness import BUCKET


@pytest.fixture
def storage(s3_keys: S3) -> Iterator[Storage]:
    storage = Storage(BUCKET, s3_keys.url)
    yield storage
    storage.remove("")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Three pieces, of which the last is short; no two places are alike."""
    path = tmp_path / "large"
    path.write_bytes(b"".join(number.to_bytes(8, "big") for number in range(PIECE_BYTES // 4 + 1000)))
    return path


def unfinished(storage: Storage) -> list[str]:
    # other tests of this process have uploads of other courses in the bucket
    answer = storage.client.list_multipart_uploads(Bucket=BUCKET)
    return [one["Key"] for one in answer.get("Uploads", ()) if one["Key"].startswith("uploads/1/")]


def test_a_large_file_goes_there_and_comes_back_through_a_network_that_fails(
    s3_keys: S3, storage: Storage, large: Path, tmp_path: Path
) -> None:
    reported: list[int] = []
    with FlakyS3(s3_keys.url, share=0.2) as flaky:
        shaky = Storage(BUCKET, flaky.url)
        send_file(shaky, large, "uploads/1/a", reported.append)
        stored = shaky.head("uploads/1/a")
        shaky.download("uploads/1/a", stored.etag, stored.size_bytes, tmp_path / "back")
        assert sum(flaky.spoilt.values()) > 0
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assert sum(reported) == large.stat().st_size
    assert unfinished(storage) == []


def test_an_upload_that_is_interrupted_leaves_no_pieces(storage: Storage, large: Path) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send_file(storage, large, "uploads/1/a", interrupt)
    assert unfinished(storage) == []
    assert storage.list("uploads/") == {}


def test_pieces_of_old_uploads_are_removed_and_new_ones_are_not(storage: Storage) -> None:
    made = storage.client.create_multipart_upload(Bucket=BUCKET, Key="uploads/1/a")
    storage.client.upload_part(Bucket=BUCKET, Key="uploads/1/a", UploadId=made["UploadId"], PartNumber=1, Body=b"piece")
    now = datetime.now(UTC)
    assert abort_old(storage, "uploads/1/", now - timedelta(hours=1)) == 0
    assert unfinished(storage) == ["uploads/1/a"]
    assert abort_old(storage, "uploads/1/", now + timedelta(hours=1)) == 1
    assert unfinished(storage) == []


def test_an_object_that_was_replaced_is_not_taken_for_the_one_that_was_wanted(storage: Storage, tmp_path: Path) -> None:
    storage.client.put_object(Bucket=BUCKET, Key="uploads/1/a", Body=b"one")
    before = storage.head("uploads/1/a")
    storage.client.put_object(Bucket=BUCKET, Key="uploads/1/a", Body=b"two")
    with pytest.raises(NoSuchObjectError):
        storage.download("uploads/1/a", before.etag, 3, tmp_path / "a")


def test_a_download_stops_when_it_is_asked_to(storage: Storage, large: Path, tmp_path: Path) -> None:
    send_file(storage, large, "uploads/1/a")
    stored = storage.head("uploads/1/a")
    with pytest.raises(JobCancelledError):
        storage.download("uploads/1/a", stored.etag, stored.size_bytes, tmp_path / "back", lambda: True)


def test_s3_that_is_away_is_a_passing_fault(s3_keys: S3) -> None:
    with FlakyS3(s3_keys.url, share=1.0) as broken, pytest.raises(ObjectStoreUnavailableError):
        Storage(BUCKET, broken.url).head("uploads/1/a")


def test_all_objects_are_listed_and_removed_however_many(storage: Storage) -> None:
    for number in range(12):
        storage.put(f"hls/1/key/240p/{number:05d}.m4s", b"x" * number)
    storage.put("hls/2/key/master.m3u8", b"#EXTM3U\n")
    assert {"hls/1/", "hls/2/"} <= set(storage.folders("hls/")), "this server also lists folders that are empty"
    assert storage.list("hls/1/")["hls/1/key/240p/00011.m4s"].size_bytes == 11
    assert storage.remove("hls/1/") == 12
    assert list(storage.list("")) == ["hls/2/key/master.m3u8"]


@pytest.fixture
def page() -> Iterator[str]:
    """A proxy that has lost S3: its page of 404 answers everything."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(b"<html><body>No such site</body></html>")

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Nothing: a test has no use for it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_no_such_key_is_distinguished_from_no_such_bucket_and_from_a_proxys_page(
    s3_keys: S3, storage: Storage, page: str, tmp_path: Path
) -> None:
    with pytest.raises(NoSuchObjectError):
        storage.head("uploads/1/missing")
    with pytest.raises(NoSuchObjectError):
        storage.download("uploads/1/missing", '"any"', 3, tmp_path / "a")

    for other in (Storage("no-such-bucket", s3_keys.url), Storage(BUCKET, page)):
        with pytest.raises(ObjectStoreUnavailableError):
            other.head("uploads/1/missing")
        with pytest.raises(ObjectStoreUnavailableError):
            other.download("uploads/1/missing", '"any"', 3, tmp_path / "a")
