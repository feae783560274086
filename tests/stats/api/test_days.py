"""Days, as programs read them."""

import csv
import gzip
import hashlib
import io
from datetime import timedelta

import pytest

from services.stats.sections import SECTIONS
from services.stats.snapshots.compute import canonical
from tests.stats.api.conftest import FAILED, FIRST, GAP, LAST, Library, Start
from tests.stats.api.processes import PLAIN, ZIPPED
from tests.stats.api.snapshots import REASON, payload_of


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


@pytest.mark.parametrize("day", [GAP, FIRST - timedelta(days=1), LAST + timedelta(days=1)])
def test_a_day_that_is_not_kept_is_404_and_says_which_are(library: Library, day: object) -> None:
    answer = library.client.get(f"/api/stats/{day}")

    assert answer.status_code == 404
    assert answer.json()["error"] == "day_not_kept"
    for word in (day, FIRST, LAST):
        assert str(word) in answer.json()["message"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


def test_a_day_of_which_a_section_failed_shows_the_others_and_the_reason(library: Library) -> None:
    found = library.client.get(f"/api/stats/{FAILED}").json()

    assert found["complete"] is False
    assert found["sections"].pop("users") == {"failed": REASON}
    assert len(found["sections"]) == len(SECTIONS) - 1
    assert all(section["numbers"] for section in found["sections"].values())


def test_every_number_has_a_definition_over_http(library: Library) -> None:
    answer = library.client.get("/api/stats/definitions", headers=PLAIN)

    found = {one["id"]: one for one in answer.json()["numbers"]}
    assert set(found) == {f"{section.name}.{number.name}" for section in SECTIONS for number in section.numbers}
    assert all(one["definition"] and one["unit"] and one["source"] for one in found.values())
    assert answer.headers["ETag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'


def test_a_day_and_a_range_are_there_as_csv(library: Library) -> None:
    answer = library.client.get(f"/api/stats/{LAST}?format=csv", headers=PLAIN)
    lines = list(csv.DictReader(io.StringIO(answer.text)))

    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    numbers = payload_of(LAST)["sections"]["revenue"]["numbers"]
    (net,) = (line for line in lines if line["number"] == "revenue.net")
    assert (net["value"], net["unit"], net["currency"], net["key"]) == (str(numbers["net"]), "minor", "DZD", "")
    by_teacher = {line["key"]: int(line["value"]) for line in lines if line["number"] == "revenue.by_teacher"}
    assert by_teacher == numbers["by_teacher"]

    both = library.client.get(f"/api/stats?from={LAST - timedelta(days=1)}&to={LAST}&format=csv").text
    assert {line["day"] for line in csv.DictReader(io.StringIO(both))} == {str(LAST - timedelta(days=1)), str(LAST)}


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("/api/stats/latest?compare=1&comparison=1", "'comparison'; this address knows: compare, format"),
        (f"/api/stats/{LAST}?days=3", "'days'"),
        (f"/api/stats?from={LAST}&until={LAST}", "'until'; this address knows: format, from, step, to"),
        ("/api/stats/definitions?lang=fr", "this address knows: none"),
        ("/?date=2026-01-01", "'date'"),
        ("/api/stats/latest?format=xml", "json or csv"),
        ("/api/stats/latest?format=csv&compare=1", "A comparison is JSON"),
    ],
)
def test_a_parameter_that_is_not_known_is_refused(library: Library, address: str, word: str) -> None:
    answer = library.client.get(address)

    assert (answer.status_code, answer.json()["error"]) == (400, "malformed")
    assert word in answer.json()["message"]


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
    assert "nouba stats compute" in answer.json()["message"]
    assert api.get("/?lang=en").status_code == 404
    assert "No statistics yet" in api.get("/?lang=en").text
    assert api.get("/readyz").json()["reason"] == "No day has been computed yet."
