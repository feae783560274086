"""Who may see the console, and who may decide."""

import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
import time_machine
from flask import Flask

from services.console.auth import WRONG_TOKENS_PER_MINUTE
from services.console.credentials import Role, parse_credentials
from services.console.sessions import SESSION_HOURS
from services.console.settings import ConsoleSettings
from shared.runtime.settings import SettingsError, read_settings
from tests.console.clients import OPERATOR, VIEWER, Person, console_of
from tests.webhook_gateway.processes import Database

PAGES = ("/", "/queues", "/dead", "/webhooks", "/lessons", "/days", "/audit")
SITE = "https://console.school.example"
ACTIONS = (
    "/queues/videos/pause",
    "/queues/videos/resume",
    "/dead/replay",
    "/dead/discard",
    "/dead/preview",
    "/webhooks/1/replay",
)


@pytest.fixture
def app(database_url: str, rabbitmq_url: str) -> Flask:
    return console_of(database_url, rabbitmq_url)


@pytest.mark.parametrize("path", [*PAGES, "/dead/1", "/webhooks/1"])
def test_nobody_sees_a_page_without_a_token(app: Flask, path: str) -> None:
    # When a stranger asks for a page
    answer = Person(app).get(path)

    # Then it is the door that is shown
    assert answer.status_code == 302
    assert answer.location.startswith("/enter?to=")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("token", [VIEWER, OPERATOR])
def test_a_token_opens_every_page(app: Flask, path: str, token: str) -> None:
    # Given somebody with a token
    person = Person(app)
    assert person.enter(token).status_code == 302

    # When a page is asked for, then it is there, and may load nothing of elsewhere
    answer = person.get(path)
    assert answer.status_code == 200, answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ACTIONS)
def test_a_viewer_decides_nothing(app: Flask, path: str, database_url: str) -> None:
    # Given a viewer
    person = Person(app)
    person.enter(VIEWER)

    # When he sends an operator's form, with a valid token against forgery
    answer = person.send("/", path, why="because", which="all")

    # Then he is refused, and nothing is written down as done
    assert answer.status_code == 403
    assert Database(database_url).rows("SELECT count(*) FROM operator_acts") == [(0,)]


@pytest.mark.parametrize("path", ACTIONS)
def test_no_other_site_can_have_an_operator_decide(app: Flask, path: str, database_url: str) -> None:
    # Given an operator whose browser another site makes send a form
    person = Person(app)
    person.enter(OPERATOR)

    # When the form has no token against forgery, or a wrong one
    answers = [person.post(path, why="because"), person.post(path, why="because", csrf_token="guessed")]

    # Then both are refused
    assert [answer.status_code for answer in answers] == [400, 400]
    assert Database(database_url).rows("SELECT count(*) FROM queue_pauses") == [(0,)]


def test_the_session_is_kept_from_scripts_and_other_sites(app: Flask) -> None:
    cookie = Person(app).enter().headers["Set-Cookie"]

    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_behind_https_the_session_never_travels_without(database_url: str, rabbitmq_url: str) -> None:
    cookie = Person(console_of(database_url, rabbitmq_url, console_https=True)).get("/enter").headers["Set-Cookie"]

    assert "Secure" in cookie
    assert cookie.startswith("__Host-")


def test_one_setting_is_for_https_everywhere(database_url: str, rabbitmq_url: str) -> None:
    answer = Person(console_of(database_url, rabbitmq_url, https=True)).get("/enter")
    plain = Person(console_of(database_url, rabbitmq_url)).get("/enter")

    assert "Secure" in answer.headers["Set-Cookie"]
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert "Strict-Transport-Security" not in plain.headers


def test_behind_https_a_browser_enters_and_decides(database_url: str, rabbitmq_url: str) -> None:
    # Given a console behind a proxy with TLS
    person = Person(console_of(database_url, rabbitmq_url, console_https=True), site=SITE)

    # When somebody enters, and lets a queue rest
    entered = person.enter(OPERATOR)
    paused = person.send("/queues", "/queues/videos/pause")

    # Then both forms are taken
    assert (entered.status_code, entered.location) == (302, "/")
    assert paused.location == "/queues"
    assert Database(database_url).rows("SELECT queue FROM queue_pauses") == [("videos",)]


@pytest.mark.parametrize("referer", [None, "https://elsewhere.example/enter"])
def test_behind_https_a_form_of_nowhere_is_refused_and_the_reason_reported(
    database_url: str, rabbitmq_url: str, referer: str | None
) -> None:
    # Given a form whose page is not named, or one of another host
    person = Person(console_of(database_url, rabbitmq_url, console_https=True), site=SITE)
    fields = person.hidden("/enter")
    person._referer = {"Referer": referer} if referer else {}

    # When it is sent
    answer = person.post("/enter", **fields, token=OPERATOR)

    # Then it is refused, and not for its age
    assert answer.status_code == 400
    assert "expired" not in answer.text
    assert "Referer" in answer.text


def test_a_withdrawn_token_closes_the_sessions_it_opened(app: Flask, database_url: str, rabbitmq_url: str) -> None:
    # Given an operator who has entered
    person = Person(app)
    person.enter(OPERATOR)

    # When the console is started again with other tokens
    other = console_of(database_url, rabbitmq_url, console_operator_tokens="another-token-of-the-tests")
    cookie = person._client.get_cookie("nouba_console")
    assert cookie is not None
    stranger = other.test_client()
    stranger.set_cookie("nouba_console", cookie.value)

    # Then the old session opens nothing
    assert stranger.get("/").status_code == 302


def test_a_wrong_token_opens_nothing_and_nobody_tries_for_long(app: Flask) -> None:
    # Given somebody who tries tokens
    person = Person(app)

    # When he has tried as often as one may
    answers = {person.enter(f"wrong-{number}").status_code for number in range(WRONG_TOKENS_PER_MINUTE)}

    # Then the next is not even checked, right as it may be
    assert answers == {401}
    assert person.enter(OPERATOR).status_code == 429
    assert person.get("/").status_code == 302

    # And somebody at another address enters all the same
    assert Person(app, address="192.0.2.7").enter(OPERATOR).status_code == 302


def test_behind_a_proxy_who_tries_tokens_locks_out_nobody_else(database_url: str, rabbitmq_url: str) -> None:
    # Given a console behind one proxy, and somebody who tries tokens, with a new forged address each time
    app = console_of(database_url, rabbitmq_url, console_proxies=1)
    stranger = Person(app)

    # When he has tried as often as one may
    for number in range(WRONG_TOKENS_PER_MINUTE):
        stranger.headers = {"X-Forwarded-For": f"203.0.113.{number}, 198.51.100.9"}
        assert stranger.enter(f"wrong-{number}").status_code == 401

    # Then he may not try on, and somebody whom the proxy reports from him enters
    assert stranger.enter(OPERATOR).status_code == 429
    assert Person(app, headers={"X-Forwarded-For": "192.0.2.7"}).enter(OPERATOR).status_code == 302


def test_without_a_proxy_no_visitor_says_his_own_address(app: Flask) -> None:
    # Given a console that browsers reach themselves, and somebody who reports another address each time
    stranger = Person(app)

    # When he has tried as often as one may
    for number in range(WRONG_TOKENS_PER_MINUTE):
        stranger.headers = {"X-Forwarded-For": f"203.0.113.{number}"}
        stranger.enter(f"wrong-{number}")

    # Then he may not try on
    stranger.headers = {"X-Forwarded-For": "192.0.2.7"}
    assert stranger.enter(OPERATOR).status_code == 429


def test_a_proxy_on_another_machine_says_that_it_was_https(database_url: str, rabbitmq_url: str) -> None:
    # Given a proxy that the web server does not know, and a form whose page is not named
    app = console_of(database_url, rabbitmq_url, console_proxies=1, console_https=True)
    person = Person(app, address="192.0.2.1", headers={"X-Forwarded-Proto": "https"})
    fields = person.hidden("/enter")
    person._referer = {}

    # When it is sent, then it is refused as one by HTTPS is
    assert person.post("/enter", **fields, token=OPERATOR).status_code == 400


def test_a_session_ends_when_its_hours_are_over_however_busy_it_is(app: Flask) -> None:
    # Given an operator who has entered
    person = Person(app)
    person.enter(OPERATOR)

    # When pages are read all day
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=SESSION_HOURS - 1)):
        assert person.get("/").status_code == 200

    # Then the door is shown again when the hours since the entry are over
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=SESSION_HOURS + 1)):
        assert person.get("/").status_code == 302


@pytest.mark.parametrize("to", ["https://elsewhere.example/", "//elsewhere.example/", "/\\elsewhere.example", ""])
def test_the_door_leads_nowhere_else(app: Flask, to: str) -> None:
    assert Person(app).enter(to=to).location == "/"


def test_the_door_leads_to_the_page_that_was_asked_for(app: Flask) -> None:
    assert Person(app).enter(to="/dead?queue=videos").location == "/dead?queue=videos"


def test_who_leaves_is_a_stranger_again(app: Flask) -> None:
    # Given an operator
    person = Person(app)
    person.enter()

    # When he leaves
    person.send("/", "/leave")

    # Then the pages are closed to him
    assert person.get("/").status_code == 302


@pytest.mark.parametrize(
    ("tokens", "word"), [("", "CONSOLE_OPERATOR_TOKENS is empty"), ("short", "at least 16 bytes")], ids=str
)
def test_a_console_that_anybody_could_enter_is_not_started(
    tokens: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given settings with an empty or a short token
    monkeypatch.setenv("NOUBA_DATABASE_URL", "postgresql://nobody@127.0.0.1/nothing")
    monkeypatch.setenv("NOUBA_RABBITMQ_URL", "amqp://nobody@127.0.0.1/nothing")
    monkeypatch.setenv("NOUBA_CONSOLE_OPERATOR_TOKENS", tokens)

    # When they are read, then that is said
    with pytest.raises(SettingsError, match=word):
        read_settings(ConsoleSettings)


def test_without_its_database_it_says_so(app: Flask, rabbitmq_url: str) -> None:
    # Given somebody who has entered, and a console whose database is away since
    person = Person(app)
    person.enter()
    away = Person(console_of("postgresql://nobody@127.0.0.1:1/nothing", rabbitmq_url))
    away.take_cookie_of(person)

    # When a page is asked for, or somebody enters: sessions are in the database, so nobody can
    for answer in (away.get("/"), Person(away.app).enter()):
        # Then it says so and when to come back
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert "The database is unavailable" in answer.text


def test_a_copy_of_the_cookie_opens_nothing_after_leave(app: Flask, database_url: str) -> None:
    # Given an operator, and somebody with a copy of his cookie
    person, thief = Person(app), Person(app)
    person.enter(OPERATOR)
    thief.take_cookie_of(person)
    assert thief.get("/").status_code == 200
    form = thief.hidden("/queues")

    # When the operator leaves
    person.send("/", "/leave")

    # Then the copy sees nothing and pauses no queue
    assert thief.get("/").status_code == 302
    assert thief.post("/queues/videos/pause", **form).status_code == 302
    assert Database(database_url).rows("SELECT count(*) FROM queue_pauses") == [(0,)]
    assert Database(database_url).rows("SELECT count(*) FROM console_sessions") == [(0,)]


def test_leaving_ends_no_other_session(app: Flask) -> None:
    one, other = Person(app), Person(app)
    one.enter()
    other.enter()

    one.send("/", "/leave")

    assert other.get("/").status_code == 200


def test_the_session_in_the_database_opens_nothing(app: Flask, database_url: str) -> None:
    # Given a session, and somebody who has read the table
    person = Person(app)
    person.enter()
    ((digest,),) = Database(database_url).rows("SELECT encode(digest, 'hex') FROM console_sessions")

    # Then the cookie does not hold what the table holds
    cookie = person._client.get_cookie("nouba_console")
    assert cookie is not None
    assert digest not in cookie.decoded_value


def test_the_audit_has_the_name_and_the_id_of_the_credential(database_url: str, rabbitmq_url: str) -> None:
    # Given two people with a credential each
    other_token = "another-operator-token-of-the-tests"
    tokens = f"Amina B.:{OPERATOR}, karim@school:{other_token}"
    app = console_of(database_url, rabbitmq_url, console_operator_tokens=tokens)
    amina, karim = Person(app), Person(app)
    amina.enter(OPERATOR, name="Karim")
    karim.enter(other_token)

    # When each decides, whatever name is typed
    amina.send("/queues", "/queues/videos/pause", why="S3 moves", name="Karim", who="Karim")
    karim.send("/queues", "/queues/videos/resume")

    # Then the audit has the credential's name and id
    ids = {credential.name: credential.id for credential in parse_credentials(tokens, Role.OPERATOR)}
    rows = Database(database_url).rows("SELECT who, what, credential FROM operator_acts ORDER BY id")
    assert rows == [
        ("Amina B.", "queue.pause", ids["Amina B."]),
        ("karim@school", "queue.resume", ids["karim@school"]),
    ]
    assert ids["Amina B."] in amina.read("/audit")


def test_a_credential_that_is_withdrawn_closes_its_session(app: Flask, database_url: str, rabbitmq_url: str) -> None:
    # Given an open session in the database whose credential is not configured any more
    person = Person(app)
    person.enter(OPERATOR)
    Database(database_url).execute("UPDATE console_sessions SET credential = 'withdrawn'")

    # Then it opens nothing
    assert person.get("/").status_code == 302


def test_a_credential_may_be_given_as_its_digest(database_url: str, rabbitmq_url: str) -> None:
    digest = hashlib.sha256(OPERATOR.encode()).hexdigest()
    app = console_of(database_url, rabbitmq_url, console_operator_tokens=f"Amina:sha256={digest}")

    assert Person(app).enter(OPERATOR).status_code == 302
    assert Person(app).enter(digest).status_code == 401


FIELDS = ("why", "queue", "error", "reason", "to", "token", "state", "since", "id", "last_at")


@pytest.mark.parametrize("text", ["a\0b", "a\r\nSet-Cookie: b=c", "\x1b[2J"])
def test_a_control_character_is_a_bad_request(app: Flask, database_url: str, text: str) -> None:
    # Given an operator
    person = Person(app)
    person.enter(OPERATOR)
    known = person.hidden("/queues")

    # When a field of a filter or a form holds it
    answers = [
        answer.status_code
        for field in FIELDS
        for answer in (
            *(person.get(f"{page}?{urlencode({field: text})}") for page in ("/dead", "/webhooks", "/lessons")),
            Person(app).send("/enter", "/enter", **{"token": OPERATOR, field: text}),
            *(person.post(path, **{**known, "which": "all", "why": "because", field: text}) for path in ACTIONS),
        )
    ]

    # Then it is refused, and nothing is written down
    assert set(answers) == {400}
    assert Database(database_url).rows("SELECT count(*) FROM operator_acts") == [(0,)]


def test_without_rabbitmq_the_overview_says_so(database_url: str) -> None:
    # Given a RabbitMQ that is away
    person = Person(console_of(database_url, "amqp://nobody:nothing@127.0.0.1:1/"))
    person.enter()

    # When the overview is asked for, then all else is there
    page = person.read("/")
    assert "RabbitMQ is unavailable" in page
    assert "Webhooks in the last hour" in page
