"""The page of a lesson: what it is, and what operators ask of it, with a reason that the audit keeps."""

import re
import time

import pytest
from pydantic import ValidationError

from shared.runtime.playback_links import parse_path, verify
from tests.console.clients import VIEWER, WHO, Person, console_of
from tests.console.factories import acts
from tests.webhook_gateway.processes import Database


def lesson(database: Database, state: str) -> int:
    database.execute(
        "WITH course AS (INSERT INTO courses (title) VALUES ('Optics <1>') RETURNING id)"
        " INSERT INTO transcode_jobs (course_id, source_key, source_etag, source_bytes, uploaded_at, state, chapters)"
        " SELECT id, 'uploads/1', 'e', 1000000, now(), %s, %s FROM course",
        state,
        '[{"start_seconds": 0, "title": "Snell"}]',
    )
    database.execute("INSERT INTO captions (course_id, language, body) SELECT max(id), 'ar', 'WEBVTT' FROM courses")
    return int(database.rows("SELECT max(id) FROM transcode_jobs")[0][0])


def ask(person: Person, job: int, what: str, why: str = "the teacher asked") -> int:
    page = f"/lessons/{job}"
    # a deletion is confirmed on a page of its own, which sends this again
    return person.send(page, f"{page}/ask", what=what, why=why, confirmed="yes").status_code


def requested(database: Database, job: int) -> object:
    return database.rows("SELECT requested FROM transcode_jobs WHERE id = %s", job)[0][0]


@pytest.mark.parametrize(
    ("state", "what", "refused"),
    [("encoding", "cancel", "retry"), ("failed", "retry", "cancel"), ("completed", "delete", "retry")],
)
def test_what_its_state_allows_is_asked_once_and_audited(
    operator: Person, database: Database, state: str, what: str, refused: str
) -> None:
    job = lesson(database, state)
    page = operator.read(f"/lessons/{job}")
    for text in ("Optics &lt;1&gt;", "Snell", f'value="{what}"'):
        assert text in page
    assert f'value="{refused}"' not in page

    ask(operator, job, refused)
    assert requested(database, job) is None
    ask(operator, job, what)
    ask(operator, job, what)

    assert requested(database, job) == what
    assert acts(database) == [(WHO, f"lesson.{what}", "the teacher asked", [job])]
    # deleted captions are not given to the next upload
    kept = database.rows("SELECT count(*) FROM captions")
    assert kept == [(0 if what == "delete" else 1,)]


def test_a_deletion_is_confirmed_first(operator: Person, database: Database) -> None:
    job = lesson(database, "completed")
    page = f"/lessons/{job}"

    answer = operator.send(page, f"{page}/ask", what="delete", why="the teacher asked")

    assert answer.status_code == 200
    for text in (
        "Nothing has been deleted yet",
        "Optics &lt;1&gt;",
        'name="confirmed" value="yes"',
        "the teacher asked",
    ):
        assert text in answer.text
    assert requested(database, job) is None
    assert acts(database) == []
    assert database.rows("SELECT count(*) FROM captions") == [(1,)]


def test_the_page_has_a_player_for_what_the_course_shows_and_its_policy_allows_that_origin_alone(
    database_url: str, rabbitmq_url: str, database: Database
) -> None:
    job = lesson(database, "completed")
    secret = "the-secret-that-signs-addresses-0123456789"
    settings = {"playback_url": "https://video.school.example/lessons", "playback_secrets": secret}
    person = Person(console_of(database_url, rabbitmq_url, **settings))
    person.enter()

    # nothing is shown yet, and the policy is that of every page
    answer = person.get(f"/lessons/{job}")
    assert 'id="player"' not in answer.text
    assert "media-src" not in answer.headers["Content-Security-Policy"]

    master = "hls/7/abc123/master-0123456789abcdef.m3u8"
    database.execute("UPDATE courses SET video_ref = %s", master)
    answer = person.get(f"/lessons/{job}")

    (address,) = re.findall(r'<div id="player"[^>]* data-master="([^"]+)"', answer.text)
    prefix = "https://video.school.example/lessons"
    assert address.startswith(f"{prefix}/play/")
    path = parse_path(address.removeprefix(prefix))
    assert path.object_key == master
    assert verify(path, [secret.encode()], time.time(), "192.0.2.1").viewer == f"console {WHO}"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.endswith("; media-src blob: https://video.school.example")
    assert "script-src 'self'; img-src 'self' https://video.school.example data:;" in policy
    assert "connect-src 'self' https://video.school.example;" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "media-src" not in person.get("/lessons").headers["Content-Security-Policy"]

    # without the secrets there is no player
    other = Person(console_of(database_url, rabbitmq_url))
    other.enter()
    assert 'id="player"' not in other.read(f"/lessons/{job}")


@pytest.mark.parametrize(
    "address",
    [
        "https://*",
        "https://*.school.example",
        "https://user@school.example",
        "http://h\\y",
        "https://élève.example",
        "https://[x",
        "https://[::1",
        "https://school.example:port",
        "https://school.example/a b",
        "school.example",
    ],
)
def test_a_playback_address_that_the_policy_cannot_name_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="no address of a playback server"):
        console_of("postgresql://nobody@127.0.0.1:1/nothing", "amqp://nobody@127.0.0.1:1", playback_url=address)


@pytest.mark.parametrize("address", ["", "http://127.0.0.1:8084", "https://[2001:db8::1]:443/lessons"])
def test_a_playback_address_may_have_a_port_and_a_path(address: str) -> None:
    console_of("postgresql://nobody@127.0.0.1:1/nothing", "amqp://nobody@127.0.0.1:1", playback_url=address)


def test_a_reason_and_a_known_word_are_needed(operator: Person, database: Database) -> None:
    job = lesson(database, "failed")

    assert ask(operator, job, "retry", why="") == 400
    assert ask(operator, job, "explode") == 400
    assert operator.get("/lessons/999999").status_code == 404
    assert requested(database, job) is None
    assert acts(database) == []


def test_what_the_school_has_changed_since_is_named(operator: Person, database: Database) -> None:
    # Given a lesson whose captions or chapters the school's API has changed, which a worker publishes next
    job = lesson(database, "completed")
    database.execute("UPDATE transcode_jobs SET requested = 'captions' WHERE id = %s", job)

    # Then the page names both: the table does not say which of them it was
    assert "publishing of captions and chapter marks requested" in operator.read(f"/lessons/{job}")


def test_a_viewer_asks_nothing(database_url: str, rabbitmq_url: str, database: Database) -> None:
    job = lesson(database, "failed")
    viewer = Person(console_of(database_url, rabbitmq_url))
    viewer.enter(VIEWER)

    assert 'name="what"' not in viewer.read(f"/lessons/{job}")
    assert ask(viewer, job, "retry") == 403
    assert requested(database, job) is None


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_title_stays_in_its_place_whatever_is_in_it(operator: Person, database: Database, language: str) -> None:
    # Given titles that the school's own application and a film wrote: in Arabic, and with what ends an isolate
    job = lesson(database, "completed")
    database.execute(
        "UPDATE courses SET title = %s WHERE id = (SELECT max(id) FROM courses)", "\u200fشرح\u2069\u202eevil"
    )
    database.execute(
        "UPDATE transcode_jobs SET chapters = %s WHERE id = %s",
        '[{"start_seconds": 0, "title": "انكسار"}, {"start_seconds": 9, "title": "gpj\u2069\u202e"}]',
        job,
    )
    operator.get(f"/language/{language}")

    page = operator.read(f"/lessons/{job}")

    # Then each stands isolated, and what would break out of that is written as an escape
    assert "<bdi>\u200fشرح\\u2069\\u202eevil</bdi>" in page
    assert "<bdi>انكسار</bdi>" in page
    assert "<bdi>gpj\\u2069\\u202e</bdi>" in page
    assert "\u202e" not in page
