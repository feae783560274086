"""Sign-in by OpenID Connect, at a certified provider: who enters with which role, and what is refused."""

import random
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import httpx
import pytest
import structlog
import time_machine
from flask import Flask
from pydantic import ValidationError
from structlog.testing import LogCapture
from structlog.typing import EventDict

from services.console.auth import WRONG_TOKENS_PER_MINUTE
from services.console.credentials import Role
from services.console.doctor_checks import CHECKS
from services.console.oidc_attempts import ATTEMPT_SECONDS, MAX_ATTEMPTS
from services.console.oidc_provider import MAX_CALLS
from services.console.server import THREADS
from services.console.sessions import SESSION_HOURS
from services.console.settings import ConsoleSettings
from shared.operations.doctor.findings import CheckResult, Finding, examine
from tests.console.clients import OPERATOR, Person, console_of
from tests.console.oidc_server import CLIENT_SECRET, CONSOLE, Account, OidcServer
from tests.console.oidc_visits import begin, leads_to, path_of, refused, sign_in
from tests.webhook_gateway.processes import NO_RABBITMQ, Database

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def app(provider: OidcServer, database_url: str) -> Flask:
    return console_of(database_url, NO_RABBITMQ, **provider.settings())


@pytest.fixture
def closed_app(provider: OidcServer) -> Flask:
    """A console that could open no session: it has no database."""
    return console_of(NOWHERE, NO_RABBITMQ, **provider.settings())


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> list[EventDict]:
    """What the console logs about sign-ins, whatever this process has done to the loggers."""
    capture = LogCapture()
    for module in ("auth", "oidc_routes"):
        monkeypatch.setattr(f"services.console.{module}.log", structlog.wrap_logger(None, processors=[capture]))
    return capture.entries


def test_the_page_of_sign_in_offers_it_only_where_it_is_set(app: Flask, database_url: str) -> None:
    # Given a console with a provider, and one without
    with_provider = Person(app).read("/enter?to=/dead")
    without = Person(console_of(database_url, NO_RABBITMQ))

    # Then the one has a link that keeps the page asked for, and the other no route for it
    assert "Sign in with School ID" in with_provider
    assert 'href="/enter/oidc?to=/dead"' in with_provider
    assert "/enter/oidc" not in without.read("/enter")
    for path in ("/enter/oidc", "/enter/oidc/callback", "/enter/refused/group"):
        assert without.get(path).status_code == 404


def test_an_operator_signs_in_and_the_audit_has_the_name_and_an_id(
    app: Flask, database_url: str, logs: list[EventDict]
) -> None:
    # Given an operator of the provider
    person = Person(app)
    entered = sign_in(person, "amina", to="/queues")

    # Then the page that was asked for is there, and she decides
    assert leads_to(entered) == "/queues"
    assert "Amina B." in person.read("/audit")
    person.send("/audit", "/queues/videos/pause", why="S3 moves", who="Karim")

    # And the audit has her name and an id that is the same next time, and no part of her account
    again = Person(app)
    sign_in(again, "amina")
    again.send("/audit", "/queues/videos/resume")
    rows = Database(database_url).rows("SELECT who, credential FROM operator_acts ORDER BY id")
    assert [name for name, _ in rows] == ["Amina B."] * 2
    assert len({credential for _, credential in rows}) == 1
    assert re.fullmatch(r"oidc:[0-9a-f]{16}", rows[0][1])
    assert "amina" not in str(logs).lower()
    assert rows[0][1] in str(logs)


def test_a_viewer_signs_in_and_decides_nothing(app: Flask, database_url: str) -> None:
    person = Person(app)
    assert leads_to(sign_in(person, "samir")) == "/"
    assert "Samir" in person.read("/audit")

    assert person.send("/audit", "/queues/videos/pause", why="because").status_code == 403
    assert Database(database_url).rows("SELECT count(*) FROM operator_acts") == [(0,)]


@pytest.mark.parametrize(
    ("language", "title"),
    [("en", "No access to the console"), ("fr", "Pas d’accès à la console"), ("ar", "لا صلاحية لدخول لوحة التحكم")],
    ids=["en", "fr", "ar"],
)
def test_whom_no_group_lets_in_reads_why(closed_app: Flask, language: str, title: str) -> None:
    # Given somebody whose groups are in neither list
    person = Person(closed_app, headers={"Accept-Language": language})

    # When they sign in, then the page says why, and offers another account
    answer = sign_in(person, "nadia")
    page = person.get(f"/enter/refused/{refused(answer)}")
    assert page.status_code == 403
    assert f"<h1>{title}</h1>" in page.text
    assert "prompt=login" in begin(person, again="yes")
    assert "/enter/oidc?again=yes" in page.text
    assert person.get("/").status_code == 302


def test_groups_of_the_userinfo_endpoint_count_where_the_id_token_has_none(
    provider: OidcServer, database_url: str
) -> None:
    # Given a provider whose ID tokens hold the subject alone and are signed by ES256
    settings = provider.settings(console_oidc_issuer=provider.thin_issuer)
    person = Person(console_of(database_url, NO_RABBITMQ, **settings))

    # When an operator signs in, then her groups and her name are found
    sign_in(person, "amina")
    assert "Amina B." in person.read("/audit")
    assert person.send("/audit", "/queues/videos/pause", why="because").status_code == 302


def test_another_browsers_sign_in_is_refused(closed_app: Flask) -> None:
    # Given the end of somebody else's sign-in, which a link leads a victim to
    address = Account("samir").sign_in(begin(Person(closed_app)))
    victim = Person(closed_app)

    # When the victim's browser follows it, also after it has begun one of its own, then nobody enters
    assert refused(victim.get(path_of(address))) == "expired"
    begin(victim)
    assert refused(victim.get(path_of(address))) == "expired"


def test_another_persons_code_is_refused_by_the_provider(closed_app: Flask) -> None:
    # Given a code of somebody else's sign-in, with the victim's own state
    code = parse_qs(urlsplit(Account("samir").sign_in(begin(Person(closed_app)))).query)["code"][0]
    victim = Person(closed_app)
    (state,) = parse_qs(urlsplit(begin(victim)).query)["state"]
    (issuer,) = parse_qs(urlsplit(Account("samir").sign_in(begin(Person(closed_app)))).query)["iss"]

    # Then the verifier of PKCE is another one
    answer = victim.get(f"/enter/oidc/callback?{urlencode({'code': code, 'state': state, 'iss': issuer})}")
    assert refused(answer) == "invalid"


def test_a_code_is_used_once(app: Flask, database_url: str) -> None:
    # Given a sign-in that has ended, and a copy of the cookie that it began with
    person, thief = Person(app), Person(app)
    address = path_of(Account("amina").sign_in(begin(person)))
    thief.take_cookies(person.cookies())
    leads_to(person.get(address))

    # When the same address is opened once more, in this browser and with the copy, then nobody enters
    assert refused(person.get(address)) == "expired"
    assert refused(thief.get(address)) == "invalid"
    assert Database(database_url).rows("SELECT count(*) FROM console_sessions") == [(1,)]


def test_a_sign_in_may_take_ten_minutes(closed_app: Flask) -> None:
    person = Person(closed_app)
    address = path_of(Account("amina").sign_in(begin(person)))

    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=ATTEMPT_SECONDS + 2)):
        # a browser has removed the cookie by then; this is one that has not
        assert refused(person.get(address)) == "expired"


def test_two_tabs_sign_in_at_once(app: Flask) -> None:
    # Given two tabs of a browser that both begin
    person, account = Person(app), Account("amina")
    first, second = begin(person, "/dead"), begin(person, "/lessons")

    # When both come back, the second first, then each leads to its own page
    assert leads_to(person.get(path_of(account.sign_in(second)))) == "/lessons"
    assert leads_to(person.get(path_of(account.sign_in(first)))) == "/dead"


def test_sign_ins_that_never_end_fill_no_header(closed_app: Flask) -> None:
    person = Person(closed_app)

    for _ in range(3 * MAX_ATTEMPTS):
        begin(person)

    assert len(person.cookies()) <= MAX_ATTEMPTS + 1


@pytest.mark.parametrize("letters", [range(33, 92), range(0x4E00, 0x9FFF)], ids=["ascii", "chinese"])
def test_the_longest_paths_fill_no_header(closed_app: Flask, letters: range) -> None:
    # Given a browser with as many sign-ins as it may have, each for a page with a long address
    person, some = Person(closed_app), random.Random(7)
    for _ in range(MAX_ATTEMPTS):
        begin(person, "/" + "".join(map(chr, some.choices(letters, k=499))))

    # Then the web server, whose limit is 8,190 bytes, takes the header, with room for the cookies of others
    header = "; ".join(f"{name}={value}" for name, value in person.cookies().items())
    assert len(person.cookies()) == MAX_ATTEMPTS
    assert len(header) < 6000


@pytest.mark.parametrize(
    ("site", "begins"),
    [("cross-site", False), ("same-site", False), ("same-origin", True), ("none", True)],
)
def test_no_other_site_begins_a_sign_in(closed_app: Flask, site: str, begins: bool) -> None:
    # When a page of `site` sends the browser to the beginning of a sign-in
    person = Person(closed_app, headers={"Sec-Fetch-Site": site})
    answer = person.get("/enter/oidc?to=/dead")

    # Then another site's leads to the page of sign-in, which keeps the page asked for
    assert (answer.location == "/enter?to=/dead") is not begins
    assert len(person.cookies()) == begins


@pytest.mark.parametrize("to", ["https://elsewhere.example/", "//elsewhere.example/", "/\\elsewhere.example", ""])
def test_a_sign_in_leads_nowhere_else(app: Flask, to: str) -> None:
    assert leads_to(sign_in(Person(app), "samir", to)) == "/"


def test_the_cookies_go_where_they_have_to(app: Flask, provider: OidcServer) -> None:
    # Given a sign-in, and one at a console by HTTPS
    person = Person(app)
    begun = person.get("/enter/oidc")
    entered = person.get(path_of(Account("samir").sign_in(begun.location)))
    site = "https://console.school.example"
    by_https = console_of(NOWHERE, NO_RABBITMQ, **provider.settings(console_url=f"{site}/"), https=True)
    protected = Person(by_https, site=site).get("/enter/oidc")

    # Then the attempt's comes along from the provider, for ten minutes, and the session's never from elsewhere
    (attempt,) = begun.headers.getlist("Set-Cookie")
    assert {"HttpOnly", "SameSite=Lax", "Max-Age=600", "Path=/"} <= set(attempt.split("; "))
    session, ended = sorted(entered.headers.getlist("Set-Cookie"), key=lambda cookie: "Max-Age=0" in cookie)
    assert "SameSite=Strict" in session
    assert ended.startswith(attempt.partition("=")[0])
    (attempt,) = protected.headers.getlist("Set-Cookie")
    assert attempt.startswith("__Host-nouba_sign_in_")
    assert "Secure" in attempt
    assert parse_qs(urlsplit(protected.location).query)["redirect_uri"] == [f"{site}/enter/oidc/callback"]


def test_the_request_has_state_nonce_and_the_challenge_of_pkce(closed_app: Flask) -> None:
    person = Person(closed_app, headers={"Accept-Language": "fr"})
    first, second = (parse_qs(urlsplit(begin(person)).query) for _ in range(2))

    assert first["response_type"] == ["code"]
    assert first["code_challenge_method"] == ["S256"]
    assert first["ui_locales"] == ["fr"]
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name][0]) == 43
        assert first[name] != second[name]


def test_a_sign_in_begins_a_new_session(app: Flask, database_url: str) -> None:
    # Given a session that somebody planted in another's browser
    thief, person = Person(app), Person(app)
    thief.enter()
    person.take_cookie_of(thief)

    # When that person signs in, and comes back from the provider without the session's cookie, as browsers do
    address = path_of(Account("samir").sign_in(begin(person)))
    person.forget("nouba_console")
    person.get(address)

    # Then the session is another one, and the earlier one has ended
    assert "Samir" in person.read("/audit")
    assert thief.get("/audit").status_code == 302
    assert Database(database_url).rows("SELECT count(*) FROM console_sessions") == [(1,)]


def test_signing_out_ends_the_session_here_and_at_the_provider(app: Flask, database_url: str) -> None:
    # Given somebody who signed in, and would be signed in again without a question
    person, account = Person(app), Account("samir")
    person.get(path_of(account.sign_in(begin(person))))

    # When they sign out, then the session is over, and the page goes on to the provider
    left = person.send("/audit", "/leave")
    assert Database(database_url).rows("SELECT count(*) FROM console_sessions") == [(0,)]
    assert person.get("/audit").status_code == 302
    assert "Sign out of School ID too" in left.text

    # And the provider ends its own and leads back to the page of sign-in
    assert account.sign_out(leads_to(left)).partition("?")[0] == f"{CONSOLE}/enter"


def test_signing_out_stays_here_where_the_provider_announces_nothing(app: Flask, provider: OidcServer) -> None:
    provider.wire.changes["/.well-known/openid-configuration"] = lambda found: found | {"end_session_endpoint": None}
    person = Person(app)
    sign_in(person, "samir")

    answer = person.send("/audit", "/leave")

    assert answer.location == "/enter"
    assert person.get("/audit").status_code == 302


def test_a_session_ends_when_its_hours_are_over(app: Flask) -> None:
    person = Person(app)
    sign_in(person, "samir")

    with time_machine.travel(datetime.now(UTC) + timedelta(hours=SESSION_HOURS - 1)):
        assert person.get("/audit").status_code == 200
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=SESSION_HOURS + 1)):
        assert person.get("/audit").status_code == 302


@pytest.mark.parametrize(
    "change",
    [
        {"console_oidc_operators": "admins"},
        {"console_oidc_client_secret": "another secret"},
        {"console_oidc_issuer": ""},
    ],
    ids=["groups", "secret", "off"],
)
def test_a_change_of_the_settings_ends_the_sessions(
    app: Flask, provider: OidcServer, database_url: str, change: dict[str, str]
) -> None:
    # Given an operator who signed in
    person = Person(app)
    sign_in(person, "amina")

    # When the console is started again with other settings, then the session opens nothing
    other = Person(console_of(database_url, NO_RABBITMQ, **provider.settings(**change)))
    other.take_cookie_of(person)
    assert other.get("/audit").status_code == 302

    # And where only the label is another, it goes on
    same = Person(console_of(database_url, NO_RABBITMQ, **provider.settings(console_oidc_label="Another")))
    same.take_cookie_of(person)
    assert same.get("/audit").status_code == 200


def test_while_the_provider_is_away_tokens_open_the_console(app: Flask, provider: OidcServer) -> None:
    # Given a provider that gives no answer, at the beginning or at the end of a sign-in
    provider.wire.is_away = True
    person = Person(app)
    assert refused(person.get("/enter/oidc")) == "unavailable"
    page = person.get("/enter/refused/unavailable")

    # Then the page says what to do, and a token opens the console
    assert page.status_code == 503
    assert "Sign in with a token, or try again in a minute." in page.text
    assert person.enter(OPERATOR).status_code == 302
    assert person.get("/audit").status_code == 200

    # And a sign-in that cannot begin does not end that session
    assert refused(person.get("/enter/oidc")) == "unavailable"
    assert person.get("/audit").status_code == 200


def test_a_provider_that_hangs_leaves_threads_for_the_console(
    provider: OidcServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a token endpoint that takes calls and does not answer, and strangers who make codes up
    monkeypatch.setattr("services.console.oidc_provider.TIMEOUT", httpx.Timeout(60))
    monkeypatch.setattr("services.console.oidc_provider.WITHIN_SECONDS", 60)
    app = console_of(database_url, NO_RABBITMQ, **provider.settings())
    person, begun = Person(app), Person(app)
    person.enter()
    (state,) = parse_qs(urlsplit(begin(begun)).query)["state"]
    answered = provider.wire.gates["/token"] = Event()

    def guess() -> str:
        stranger = Person(app, address="192.0.2.7")
        stranger.take_cookies(begun.cookies())
        return refused(stranger.get(f"/enter/oidc/callback?code=guess&state={state}&iss={quote(provider.issuer)}"))

    # When they come in crowds, then a page of a signed-in person is there, though no call has ended
    with ThreadPoolExecutor(THREADS) as threads:
        try:
            guesses = [threads.submit(guess) for _ in range(20 * THREADS)]
            page = threads.submit(person.get, "/audit").result(timeout=15)
        finally:
            answered.set()
    assert page.status_code == 200
    assert sorted(guess.result() for guess in guesses).count("invalid") == MAX_CALLS


def test_a_provider_that_goes_away_meanwhile_is_named(
    closed_app: Flask, provider: OidcServer, logs: list[EventDict]
) -> None:
    person = Person(closed_app)
    address = path_of(Account("amina").sign_in(begin(person)))
    provider.wire.is_away = True

    assert refused(person.get(address)) == "unavailable"
    assert "the token endpoint: no answer" in str(logs)


def test_a_wrong_secret_is_a_matter_of_the_settings(provider: OidcServer, logs: list[EventDict]) -> None:
    app = console_of(NOWHERE, NO_RABBITMQ, **provider.settings(console_oidc_client_secret="a wrong one of the tests"))

    assert refused(sign_in(Person(app), "amina")) == "settings"
    assert "invalid_client" in str(logs)
    assert "a wrong one" not in str(logs)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("access_denied", "denied"),
        ("temporarily_unavailable", "unavailable"),
        ("invalid_scope", "settings"),
        ("<script>", "settings"),
    ],
    ids=["denied", "away", "scope", "markup"],
)
def test_an_error_of_the_provider_is_shown_in_our_words(
    closed_app: Flask, provider: OidcServer, error: str, reason: str
) -> None:
    person = Person(closed_app)
    (state,) = parse_qs(urlsplit(begin(person)).query)["state"]
    given = {"error": error, "error_description": "call 0555", "state": state, "iss": provider.issuer}

    answer = person.get(f"/enter/oidc/callback?{urlencode(given)}")

    assert refused(answer) == reason
    assert "0555" not in person.get(answer.location).text


@pytest.mark.parametrize("issuer", ["https://elsewhere.example", None], ids=["another", "none"])
def test_an_answer_in_another_providers_name_is_refused(closed_app: Flask, issuer: str | None) -> None:
    # Given an answer whose `iss` (RFC 9207) is another's, or is missing though the provider announces it
    person = Person(closed_app)
    address = path_of(Account("amina").sign_in(begin(person)))
    given = parse_qs(urlsplit(address).query)
    query = {"code": given["code"][0], "state": given["state"][0]} | ({"iss": issuer} if issuer else {})

    assert refused(person.get(f"/enter/oidc/callback?{urlencode(query)}")) == "invalid"


def test_who_tries_codes_is_stopped_and_nobody_else(closed_app: Flask, provider: OidcServer) -> None:
    # Given somebody who makes codes up
    person = Person(closed_app)

    def attempt(who: Person) -> str:
        (state,) = parse_qs(urlsplit(begin(who)).query)["state"]
        return refused(who.get(f"/enter/oidc/callback?code=guess&state={state}&iss={quote(provider.issuer)}"))

    # When they have tried as often as one may, then the provider is not asked again
    assert {attempt(person) for _ in range(WRONG_TOKENS_PER_MINUTE)} == {"invalid"}
    asked = len(provider.wire.asked)
    assert attempt(person) == "busy"
    assert len(provider.wire.asked) == asked
    assert person.get("/enter/refused/busy").status_code == 429
    assert attempt(Person(closed_app, address="192.0.2.7")) == "invalid"


def test_every_process_finishes_what_another_began(provider: OidcServer, database_url: str) -> None:
    # Given two processes of one console
    one, other = (Person(console_of(database_url, NO_RABBITMQ, **provider.settings())) for _ in range(2))
    address = path_of(Account("amina").sign_in(begin(one)))

    # When the other gets the answer, then it opens the session, which both know
    other.take_cookies(one.cookies())
    leads_to(other.get(address))
    one.take_cookie_of(other)
    assert one.get("/audit").status_code == 200


def test_the_code_stands_in_no_page(app: Flask) -> None:
    # Given the provider's answer, which browsers keep in their history
    person = Person(app)
    address = path_of(Account("amina").sign_in(begin(person)))

    # When it has been used, then no link of the page repeats it, and nothing keeps the page
    answer = person.get(address)
    assert parse_qs(urlsplit(address).query)["code"][0] not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"console_oidc_client_id": ""}, "NOUBA_CONSOLE_OIDC_CLIENT_ID is empty"),
        ({"console_oidc_client_secret": ""}, "NOUBA_CONSOLE_OIDC_CLIENT_SECRET is empty"),
        (
            {"console_oidc_issuer": "http://school.example"},
            "NOUBA_CONSOLE_OIDC_ISSUER has to be an https:// address",
        ),
        ({"console_oidc_issuer": "id.school.example"}, "NOUBA_CONSOLE_OIDC_ISSUER has to be an https:// address"),
        ({"console_url": ""}, "NOUBA_CONSOLE_URL has to be the address"),
        ({"console_url": "http://console.school.example"}, "NOUBA_CONSOLE_URL has to be the address"),
        ({"console_url": "https://school.example/console"}, "NOUBA_CONSOLE_URL has to be the address"),
        ({"console_url": "https://console.school.example"}, "set NOUBA_HTTPS=true"),
        ({"console_oidc_scopes": "profile"}, "has to name the scope openid"),
        ({"console_oidc_operators": " , ", "console_oidc_viewers": ""}, "set the groups that may enter"),
    ],
    ids=["id", "secret", "plain", "no scheme", "no address", "plain address", "path", "https", "scope", "groups"],
)
def test_settings_that_cannot_work_start_no_console(provider: OidcServer, change: dict[str, str], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as failed:
        console_of(NOWHERE, NO_RABBITMQ, **provider.settings(**change))

    assert CLIENT_SECRET not in str(failed.value)


@pytest.mark.parametrize(
    ("claim", "claims", "role"),
    [
        ("groups", {"groups": ["a", "console-operators"]}, Role.OPERATOR),
        ("groups", {"groups": ["auditors", "console-operators"]}, Role.OPERATOR),
        ("groups", {"groups": "auditors"}, Role.VIEWER),
        ("groups", {"groups": "auditors console-operators"}, None),
        ("groups", {"groups": ["Console-Operators", "console-operators "]}, None),
        ("groups", {"groups": {"console-operators": True}}, None),
        ("groups", {"groups": [["console-operators"], None, 7]}, None),
        ("groups", {}, None),
        ("realm_access.roles", {"realm_access": {"roles": ["console-viewers"]}}, Role.VIEWER),
        ("https://school.example/roles", {"https://school.example/roles": ["console-viewers"]}, Role.VIEWER),
        ("realm_access.roles", {"realm_access": ["console-viewers"]}, None),
    ],
    ids=["list", "both", "text", "two in a text", "case", "object", "nested", "none", "path", "address", "wrong path"],
)
def test_only_a_value_of_the_lists_opens_the_console(
    provider: OidcServer, claim: str, claims: dict[str, Any], role: Role | None
) -> None:
    settings = settings_of(provider, console_oidc_roles_claim=claim).oidc

    assert settings
    assert settings.role_of(claims) is role


def settings_of(provider: OidcServer, **more: str) -> ConsoleSettings:
    return ConsoleSettings(
        database_url=NOWHERE,
        rabbitmq_url=NO_RABBITMQ,
        console_operator_tokens=OPERATOR,
        **provider.settings(**more),
    )


def examined(provider: OidcServer, monkeypatch: pytest.MonkeyPatch, **more: str) -> list[Finding]:
    """What `nouba doctor` finds of the console."""
    given = {"database_url": NOWHERE, "rabbitmq_url": NO_RABBITMQ, "console_operator_tokens": OPERATOR}
    for name, value in (given | provider.settings(**more)).items():
        monkeypatch.setenv(f"NOUBA_{name.upper()}", value)
    return list(examine(CHECKS))


def test_the_doctor_shows_the_redirect_uri(provider: OidcServer, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = examined(provider, monkeypatch)

    assert found.verdict is CheckResult.FINE
    assert "http://localhost/enter/oidc/callback" in found.says


def test_the_doctor_names_another_issuer_and_a_provider_that_is_away(
    provider: OidcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (another,) = examined(provider, monkeypatch, console_oidc_issuer=f"{provider.issuer}/")
    provider.wire.is_away = True
    (away,) = examined(provider, monkeypatch)

    assert [another.verdict, away.verdict] == [CheckResult.FAULT] * 2
    assert f"the issuer there is {provider.issuer};" in another.says
    assert "no answer" in away.says


def test_the_doctor_asks_nobody_where_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(examine(CHECKS)) == []
    monkeypatch.setenv("NOUBA_CONSOLE_OIDC_ISSUER", "")
    assert list(examine(CHECKS)) == []
