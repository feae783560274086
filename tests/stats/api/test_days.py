"""Days, as programs read them."""

import gzip
import hashlib
from datetime import timedelta

import pytest

from services.stats.snapshots.compute import canonical
from tests.stats.api.conftest import FAILED, FIRST, GAP, LAST, Library, Start
from tests.stats.api.processes import PLAIN, ZIPPED
from tests.stats.api.snapshots import payload_of


def test_the_latest_day_is_the_last_complete_one(library: Library) -> None:
    answer = library.client.get("/api/stats/latest", headers=PLAIN)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.content == canonical(payload_of(LAST))
    assert answer.headers["ETag"] == f'"{library.etags[LAST]}"' == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert answer.headers["Nouba-Day"] == LAST.isoformat()
    assert answer.headers["Nouba-Version"] == "1"


@pytest.mark.parametrize("day", [FIRST, LAST - timedelta(days=7), LAST])
def test_any_kept_day_is_its_canonical_json(library: Library, day: object) -> None:
    answer = library.client.get(f"/api/stats/{day}", headers=PLAIN)

    assert (answer.status_code, answer.json()["day"]) == (200, str(day))
    assert answer.headers["Cache-Control"] == "private, max-age=60, stale-while-revalidate=86400"
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_the_zipped_bytes_are_the_kept_ones_and_have_a_tag_of_their_own(library: Library) -> None:
    with library.client.stream("GET", "/api/stats/latest", headers=ZIPPED) as answer:
        sent = b"".join(answer.iter_raw())

    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Content-Length"] == str(len(sent))
    assert answer.headers["ETag"] == f'"{library.etags[LAST]}-gzip"'
    assert gzip.decompress(sent) == canonical(payload_of(LAST))


@pytest.mark.parametrize("accepts", ["gzip;q=0", "br", "identity", "", "gzip;q=0, *;q=0.5"])
def test_who_does_not_accept_gzip_gets_plain_bytes(library: Library, accepts: str) -> None:
    answer = library.client.get("/api/stats/latest", headers={"Accept-Encoding": accepts})

    assert "Content-Encoding" not in answer.headers
    assert answer.content == canonical(payload_of(LAST))


@pytest.mark.parametrize("day", [GAP, FAILED, FIRST - timedelta(days=1), LAST + timedelta(days=1)])
def test_a_day_that_is_not_kept_is_404_and_says_which_are(library: Library, day: object) -> None:
    answer = library.client.get(f"/api/stats/{day}")

    assert answer.status_code == 404
    assert answer.json()["error"] == "day_not_kept"
    for word in (day, FIRST, LAST):
        assert str(word) in answer.json()["message"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-1-1", "20261122", "2026-W47-1", "2026-02-30", "2026-11-22T00", "0"]
)
def test_what_is_no_day_is_400(library: Library, text: str) -> None:
    answer = library.client.get(f"/api/stats/{text}")

    assert answer.status_code == 400
    assert answer.json()["error"] == "malformed"
    assert "YYYY-MM-DD" in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/api/stats/latest", 405),
        ("DELETE", "/", 405),
        ("GET", "/api/stats/a/b", 404),
    ],
)
def test_every_refusal_is_json(library: Library, method: str, path: str, status: int) -> None:
    answer = library.client.request(method, path)

    assert answer.status_code == status
    assert set(answer.json()) == {"error", "message"}


def test_what_is_not_http_is_answered_in_json_too(library: Library) -> None:
    answer = library.client.get("/api/stats/latest", params={"x": "y" * 5000})

    assert answer.status_code in (400, 414)
    assert set(answer.json()) == {"error", "message"}


@pytest.mark.parametrize(
    "path", ["/api/stats/latest", f"/api/stats/{FIRST}", f"/api/stats?from={FIRST}&to={LAST}", "/"]
)
@pytest.mark.parametrize("headers", [PLAIN, ZIPPED])
def test_head_is_get_without_a_body(library: Library, path: str, headers: dict[str, str]) -> None:
    whole, head = library.client.get(path, headers=headers), library.client.head(path, headers=headers)

    assert (head.status_code, head.content) == (200, b"")
    for name in ("ETag", "Content-Length", "Content-Type", "Cache-Control", "Vary"):
        assert head.headers[name] == whole.headers[name]


def test_nothing_kept_is_404_with_a_reason(start: Start, database_url: str) -> None:
    api = start(database_url)

    answer = api.get("/api/stats/latest")

    assert answer.status_code == 404
    assert "No day is kept yet" in answer.json()["message"]
    assert api.get("/?lang=en").status_code == 404
    assert "No statistics yet" in api.get("/?lang=en").text
    assert api.get("/readyz").json()["reason"] == "No day has been computed yet."
