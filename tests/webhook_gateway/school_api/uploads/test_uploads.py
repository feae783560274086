"""A teacher's video goes straight into S3 with a ticket, and its completion is enqueued for the transcoder."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import psycopg2
import pytest

from local.postgres import Postgres
from local.s3 import BUCKET, S3
from services.webhook_gateway.errors import ObjectStoreUnavailableError
from services.webhook_gateway.school_api.uploads.s3 import S3Objects
from services.webhook_gateway.school_api.uploads.uploads import MULTIPART_FROM_BYTES
from shared.contracts.videos import TranscodeVideo
from tests.webhook_gateway.processes import RunningGateway, new_database

TOKEN = "first-token-of-the-school"
COURSE = 7


@pytest.fixture(scope="module")
def database(migrated_server: Postgres) -> Iterator[str]:
    with new_database(migrated_server) as database:
        execute(database.url, "INSERT INTO courses (id, title) VALUES (7, 'Optics'), (8, 'Waves')")
        yield database.url


@pytest.fixture(scope="module")
def gateway(database: str, s3_server: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    settings = {
        "NOUBA_API_TOKENS": f"{TOKEN}, second-token-of-the-school",
        "NOUBA_S3_ENDPOINT_URL": s3_server.url,
        "NOUBA_S3_BUCKET": BUCKET,
        "AWS_ACCESS_KEY_ID": s3_server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_access_key,
    }
    with RunningGateway(tmp_path_factory.mktemp("uploads") / "log", database, **settings) as gateway:
        yield gateway
        assert "Traceback" not in gateway.log
        assert TOKEN not in gateway.log


@pytest.fixture
def teacher(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as client:
        yield client


def execute(database_url: str, statement: str) -> list[Any]:
    connection = psycopg2.connect(database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows


def enqueued(database_url: str) -> list[TranscodeVideo]:
    """The messages for the transcoder; RabbitMQ is away in these tests, so that it stays in the outbox."""
    rows = execute(database_url, "DELETE FROM outbox RETURNING message")
    return [TranscodeVideo.load(row[0]["kwargs"]) for row in rows]


def wish(size: int, **others: object) -> dict[str, object]:
    return {"filename": "leçon 1.MP4", "size": size, "content_type": "video/mp4", **others}


def test_a_small_video_is_put_in_one_piece_and_its_transcoding_enqueued(teacher: httpx.Client, database: str) -> None:
    video = os.urandom(300_000)

    ticket = teacher.post(f"/api/courses/{COURSE}/video", json=wish(len(video)))
    assert ticket.status_code == 201
    upload = ticket.json()
    assert "parts" not in upload
    assert upload["key"].endswith(".mp4")
    assert httpx.put(upload["url"], content=video, headers=upload["headers"]).status_code == 200
    done = teacher.post(
        f"/api/courses/{COURSE}/video/complete", json={"upload_id": upload["upload_id"], "key": upload["key"]}
    )

    assert done.status_code == 202
    assert enqueued(database) == [TranscodeVideo(course_id=COURSE, source_key=upload["key"])]


def test_a_complete_upload_is_pending_at_once_and_one_with_a_job_stays_as_it_is(
    teacher: httpx.Client, database: str
) -> None:
    # Given a course whose first lesson is ready
    execute(database, "INSERT INTO courses (id, title) VALUES (9, 'Sound')")
    upload = teacher.post("/api/v1/courses/9/video", json=wish(1000)).json()
    httpx.put(upload["url"], content=bytes(1000), headers=upload["headers"]).raise_for_status()
    body = {"upload_id": upload["upload_id"], "key": upload["key"]}

    def status() -> tuple[str, float, str | None]:
        found = teacher.get("/api/v1/courses/9/video").json()
        return found["status"], found["percent"], found["reason"]

    assert status() == ("none", 0.0, None)
    # When it is complete, and no worker runs, then it is pending
    assert teacher.post("/api/v1/courses/9/video/complete", json=body).status_code == 202
    assert status() == ("pending", 0.0, None)

    # When a worker has ended its job, and its completion is repeated, then its end stays
    ended = "INSERT INTO transcode_jobs (course_id, source_key, source_etag, source_bytes, uploaded_at, state, reason)"
    execute(database, f"{ended} VALUES (9, '{upload['key']}', 'e', 1000, now(), 'failed', 'The file is no video.')")
    execute(database, "UPDATE courses SET transcoding_status = 'failed' WHERE id = 9")
    assert teacher.post("/api/v1/courses/9/video/complete", json=body).status_code == 202
    assert status() == ("failed", 0.0, "The file is no video.")

    # When a second upload is complete, then the course is pending again, without the first one's reason
    upload = teacher.post("/api/v1/courses/9/video", json=wish(2000)).json()
    httpx.put(upload["url"], content=bytes(2000), headers=upload["headers"]).raise_for_status()
    body = {"upload_id": upload["upload_id"], "key": upload["key"]}
    # also while the school's application has the course locked, though its status is then as it was
    with closing(psycopg2.connect(database)) as school, school, school.cursor() as cursor:
        cursor.execute("UPDATE courses SET title = 'Sound and light' WHERE id = 9")
        assert teacher.post("/api/v1/courses/9/video/complete", json=body).status_code == 202
        assert status()[0] == "failed"
    assert teacher.post("/api/v1/courses/9/video/complete", json=body).status_code == 202
    assert status() == ("pending", 0.0, None)
    assert len(enqueued(database)) == 4

    # also while the first one's job is at work; then there is nothing to cancel yet
    execute(database, "UPDATE transcode_jobs SET state = 'encoding', reason = NULL WHERE course_id = 9")
    assert status() == ("pending", 0.0, None)
    refused = teacher.post("/api/v1/courses/9/video/cancel")
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "No worker has opened the upload of course 9 yet: repeat this in a moment.",
    )


def test_a_large_video_is_put_in_parts_and_completing_twice_is_harmless(teacher: httpx.Client, database: str) -> None:
    size = MULTIPART_FROM_BYTES + 1000

    upload = teacher.post(f"/api/courses/{COURSE}/video", json=wish(size)).json()
    assert "url" not in upload
    assert [part["part_number"] for part in upload["parts"]] == [1, 2, 3, 4, 5]
    parts = []
    for part in upload["parts"]:
        length = min(upload["part_size"], size - upload["part_size"] * (part["part_number"] - 1))
        answer = httpx.put(part["url"], content=bytes(length), timeout=60)
        parts.append({"part_number": part["part_number"], "etag": answer.headers["etag"]})
    body = {"upload_id": upload["upload_id"], "key": upload["key"], "parts": parts[::-1]}
    answers = [teacher.post(f"/api/courses/{COURSE}/video/complete", json=body).status_code for _ in range(2)]

    assert answers == [202, 202]
    assert set(enqueued(database)) == {TranscodeVideo(course_id=COURSE, source_key=upload["key"])}


def test_an_upload_that_outlived_its_addresses_goes_on_where_it_was(teacher: httpx.Client, database: str) -> None:
    # Given an upload of five parts, of which S3 has two, and a teacher who has lost everything but its name
    size = MULTIPART_FROM_BYTES + 1000
    upload = teacher.post(f"/api/courses/{COURSE}/video", json=wish(size)).json()
    for part in (upload["parts"][0], upload["parts"][2]):
        assert httpx.put(part["url"], content=bytes(upload["part_size"]), timeout=60).status_code == 200

    # When it is to go on
    name = {"upload_id": upload["upload_id"], "key": upload["key"], "size": size}
    rest = teacher.post(f"/api/v1/courses/{COURSE}/video/parts", json=name)

    # Then there are addresses for what is missing, and the names of what is there
    assert rest.status_code == 200, rest.text
    assert rest.json()["part_size"] == upload["part_size"]
    assert [part["part_number"] for part in rest.json()["parts"]] == [2, 4, 5]
    parts = rest.json()["received"]
    assert [part["part_number"] for part in parts] == [1, 3]
    for part in rest.json()["parts"]:
        length = min(upload["part_size"], size - upload["part_size"] * (part["part_number"] - 1))
        answer = httpx.put(part["url"], content=bytes(length), timeout=60)
        parts.append({"part_number": part["part_number"], "etag": answer.headers["etag"]})
    body = {"upload_id": upload["upload_id"], "key": upload["key"], "parts": parts}
    assert teacher.post(f"/api/courses/{COURSE}/video/complete", json=body).status_code == 202
    assert enqueued(database) == [TranscodeVideo(course_id=COURSE, source_key=upload["key"])]

    # And one that is completed, of another course or unknown does not go on
    for other, course_id in ((name, COURSE), (name, 8), ({**name, "upload_id": "unknown"}, COURSE)):
        refused = teacher.post(f"/api/v1/courses/{course_id}/video/parts", json=other)
        assert (refused.status_code, refused.json()["code"]) == (409, "upload_missing")


def test_an_address_takes_neither_another_size_nor_another_type(teacher: httpx.Client) -> None:
    upload = teacher.post(f"/api/courses/{COURSE}/video", json=wish(1000)).json()

    assert httpx.put(upload["url"], content=bytes(2000), headers=upload["headers"]).status_code == 403
    assert httpx.put(upload["url"], content=bytes(1000), headers={"Content-Type": "text/html"}).status_code == 403


def test_an_address_takes_one_upload(teacher: httpx.Client, database: str) -> None:
    # Given a video that was put and completed
    upload = teacher.post(f"/api/courses/{COURSE}/video", json=wish(1000)).json()
    assert httpx.put(upload["url"], content=bytes(1000), headers=upload["headers"]).status_code == 200
    complete = {"upload_id": upload["upload_id"], "key": upload["key"]}
    assert teacher.post(f"/api/courses/{COURSE}/video/complete", json=complete).status_code == 202

    # When the address is used once more, with the condition or without it
    again = httpx.put(upload["url"], content=b"x" * 1000, headers=upload["headers"])
    without = httpx.put(upload["url"], content=b"x" * 1000, headers={"Content-Type": "video/mp4"})

    # Then neither replaces the video
    assert (again.status_code, without.status_code) == (412, 403)
    enqueued(database)


def test_parts_have_to_be_what_the_ticket_was_for(teacher: httpx.Client, database: str) -> None:
    # Given a ticket of several parts
    size = MULTIPART_FROM_BYTES + 1000
    upload = teacher.post(f"/api/courses/{COURSE}/video", json=wish(size)).json()
    first, second, *_, last = upload["parts"]

    # When a part is larger or smaller than it was announced, then it is not taken
    for content in (bytes(upload["part_size"] + 1), bytes(1000)):
        assert httpx.put(first["url"], content=content, timeout=60).status_code == 403
    assert httpx.put(last["url"], content=bytes(upload["part_size"]), timeout=60).status_code == 403

    # When one of five parts is there, and completed as if it were all
    put = httpx.put(second["url"], content=bytes(upload["part_size"]), timeout=60)
    parts = [{"part_number": 2, "etag": put.headers["etag"]}]
    body = {"upload_id": upload["upload_id"], "key": upload["key"], "parts": parts}
    answers = [teacher.post(f"/api/courses/{COURSE}/video/complete", json=body) for _ in range(2)]

    # Then it is refused, is not transcoded, and stays refused
    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(409, "upload_missing")] * 2
    assert enqueued(database) == []


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer first-token-of-the-schoo", "Bearer \xff"]
)
def test_without_a_token_of_the_school_nothing_is_given(
    gateway: RunningGateway, database: str, authorization: str
) -> None:
    headers = {b"Authorization": authorization.encode("latin-1")} if authorization else {}

    answers = [
        httpx.post(f"{gateway.url}/api/courses/{COURSE}/video", json=wish(1000), headers=headers),
        httpx.post(
            f"{gateway.url}/api/courses/{COURSE}/video/complete", json={"upload_id": "u", "key": "k"}, headers=headers
        ),
    ]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].headers["WWW-Authenticate"] == "Bearer"
    assert enqueued(database) == []


def test_the_second_token_is_as_good_as_the_first(gateway: RunningGateway) -> None:
    headers = {"Authorization": "Bearer second-token-of-the-school"}
    answer = httpx.post(f"{gateway.url}/api/courses/{COURSE}/video", json=wish(1000), headers=headers)

    assert answer.status_code == 201


def test_what_was_not_uploaded_is_not_transcoded(teacher: httpx.Client, database: str) -> None:
    upload = teacher.post(f"/api/courses/{COURSE}/video", json=wish(1000)).json()
    large = teacher.post(f"/api/courses/{COURSE}/video", json=wish(MULTIPART_FROM_BYTES)).json()
    missing_part = {"part_number": 1, "etag": '"0123"'}

    answers = [
        teacher.post(f"/api/courses/{COURSE}/video/complete", json=body)
        for body in (
            {"upload_id": upload["upload_id"], "key": upload["key"]},
            {"upload_id": large["upload_id"], "key": large["key"], "parts": [missing_part]},
            {"upload_id": large["upload_id"], "key": large["key"]},
        )
    ]

    assert [answer.status_code for answer in answers] == [409, 409, 409]
    assert enqueued(database) == []


def test_a_ticket_of_one_course_does_not_start_another(teacher: httpx.Client, database: str) -> None:
    upload = teacher.post(f"/api/courses/{COURSE}/video", json=wish(1000)).json()
    httpx.put(upload["url"], content=bytes(1000), headers=upload["headers"])

    answer = teacher.post(
        "/api/courses/8/video/complete", json={"upload_id": upload["upload_id"], "key": upload["key"]}
    )

    assert answer.status_code == 409
    assert enqueued(database) == []


@pytest.mark.parametrize("key", ["uploads/7/../7/x", "uploads/7/", "uploads/7/" + "A" * 32, "hls/7/master.m3u8"])
def test_a_key_that_no_ticket_gave_is_not_searched_for(teacher: httpx.Client, key: str) -> None:
    answer = teacher.post(f"/api/courses/{COURSE}/video/complete", json={"upload_id": "u", "key": key})

    assert (answer.status_code, answer.json()["error"]) == (409, "upload_missing")


def test_a_compressed_request_is_refused(teacher: httpx.Client) -> None:
    answer = teacher.post(f"/api/courses/{COURSE}/video", json=wish(1000), headers={"Content-Encoding": "gzip"})

    assert (answer.status_code, answer.json()["error"]) == (415, "encoded_body")


def test_an_unknown_course_is_reported(teacher: httpx.Client) -> None:
    answers = [
        teacher.post("/api/courses/999/video", json=wish(1000)),
        teacher.post("/api/courses/999/video/complete", json={"upload_id": "u", "key": "uploads/999/x"}),
    ]

    assert [answer.json()["error"] for answer in answers] == ["unknown_course", "unknown_course"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        wish(0),
        wish(-1),
        {**wish(1), "size": "1"},
        wish(1, content_type="video"),
        wish(1, filename=""),
        [],
    ],
)
def test_a_malformed_wish_is_explained(teacher: httpx.Client, body: Any) -> None:
    answer = teacher.post(f"/api/courses/{COURSE}/video", json=body)

    assert (answer.status_code, answer.json()["error"]) == (400, "bad_upload")
    assert answer.json()["message"]


def test_without_a_bucket_uploads_are_off_and_webhooks_are_not(
    database: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("off") / "log"
    with RunningGateway(log, database, NOUBA_API_TOKENS=TOKEN) as gateway:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = httpx.post(f"{gateway.url}/api/courses/{COURSE}/video", json=wish(1000), headers=headers)

        assert answer.status_code == 503
        assert "NOUBA_S3_BUCKET" in answer.json()["message"]
        assert httpx.get(f"{gateway.url}/healthz").status_code == 200


def test_a_video_that_is_too_large_is_refused_with_both_sizes(teacher: httpx.Client, database: str) -> None:
    answer = teacher.post(f"/api/courses/{COURSE}/video", json=wish(50 * 1024**3 + 1))

    assert answer.status_code == 413
    assert answer.json()["error"] == "upload_too_large"
    assert "53687091201 bytes" in answer.text
    assert "at most 53687091200" in answer.text
    assert enqueued(database) == []


def test_an_s3_that_does_not_answer_is_given_up_before_the_request_is(
    s3_server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        objects = S3Objects(BUCKET, f"http://127.0.0.1:{silent.getsockname()[1]}", None, within_seconds=4)
        began = time.monotonic()

        with pytest.raises(ObjectStoreUnavailableError):
            objects.exists("uploads/7/any")

    assert time.monotonic() - began < 4
