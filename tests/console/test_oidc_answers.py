"""What the console believes of a provider: forged and wrong ID tokens, discovery documents and keys are refused."""

import contextlib
import hmac
import json
import socket
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from services.console.oidc_provider import LIMIT_BYTES, Provider, ProviderUnavailableError
from services.console.settings import ConsoleSettings
from tests.console.clients import OPERATOR, Person, console_of
from tests.console.oidc_server import CLIENT_ID, CLIENT_SECRET, OidcServer, claims_of
from tests.console.oidc_visits import leads_to, refused, sign_in
from tests.webhook_gateway.processes import NO_RABBITMQ

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
DISCOVERY, KEYS, TOKEN, USERINFO = "/.well-known/openid-configuration", "/jwks", "/token", "/me"
#: A key that the console takes for the provider's where a test adds it to the provider's keys.
KEY = RSAKey.generate_key(2048, {"kid": "of the test", "use": "sig"})

Answer = dict[str, Any]


@pytest.fixture
def closed_app(provider: OidcServer) -> Flask:
    """A console that could open no session: it has no database."""
    return console_of(NOWHERE, NO_RABBITMQ, **provider.settings())


def trust_our_key(provider: OidcServer) -> None:
    ours = KEY.as_dict(private=False)
    provider.wire.changes[KEYS] = lambda found: {"keys": [*found["keys"], ours]}


def signed(claims: Answer) -> str:
    return jwt.encode({"alg": "RS256", "kid": "of the test"}, claims, KEY)


def with_claims(**changed: Any) -> Callable[[Answer], Answer]:
    """The answer with an ID token of ours; a claim that is None is left out."""

    def change(answer: Answer) -> Answer:
        claims = {**claims_of(answer["id_token"]), **changed}
        return answer | {"id_token": signed({name: value for name, value in claims.items() if value is not None})}

    return change


def test_a_token_of_a_key_that_the_provider_lists_signs_in(provider: OidcServer, database_url: str) -> None:
    """So that those below are refused for what is wrong with them."""
    trust_our_key(provider)
    provider.wire.changes[TOKEN] = with_claims()
    person = Person(console_of(database_url, NO_RABBITMQ, **provider.settings()))

    assert leads_to(sign_in(person, "amina")) == "/"


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"nonce": "another"}, id="another nonce"),
        pytest.param({"nonce": None}, id="no nonce"),
        pytest.param({"aud": "another-client"}, id="another audience"),
        pytest.param({"aud": [CLIENT_ID, "another-client"]}, id="two audiences and no party"),
        pytest.param({"aud": None}, id="no audience"),
        pytest.param({"azp": "another-client"}, id="another party"),
        pytest.param({"iss": "https://elsewhere.example"}, id="another issuer"),
        pytest.param({"iss": None}, id="no issuer"),
        pytest.param({"exp": 1_000_000_000}, id="expired"),
        pytest.param({"exp": None}, id="no expiry"),
        pytest.param({"exp": "tomorrow"}, id="expiry as text"),
        pytest.param({"iat": 4_000_000_000}, id="issued in the future"),
        pytest.param({"iat": None}, id="no time of issue"),
        pytest.param({"nbf": 4_000_000_000}, id="not valid yet"),
        pytest.param({"sub": None}, id="no subject"),
        pytest.param({"sub": 7}, id="subject as number"),
        pytest.param({"sub": ""}, id="empty subject"),
        pytest.param({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, id="another access token"),
    ],
)
def test_a_wrong_claim_signs_nobody_in(closed_app: Flask, provider: OidcServer, changed: Answer) -> None:
    trust_our_key(provider)
    provider.wire.changes[TOKEN] = with_claims(**changed)

    assert refused(sign_in(Person(closed_app), "amina")) == "invalid"


@pytest.mark.parametrize("late_seconds", [30, 90], ids=["within the leeway", "beyond it"])
def test_clocks_may_differ_by_a_minute(provider: OidcServer, database_url: str, late_seconds: int) -> None:
    trust_our_key(provider)
    provider.wire.changes[TOKEN] = with_claims(exp=int(time.time()) - late_seconds)
    answer = sign_in(Person(console_of(database_url, NO_RABBITMQ, **provider.settings())), "amina")

    assert (answer.status_code == 200) is (late_seconds < 60)


def encoded(part: Answer) -> str:
    return urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def by_hmac(secret: bytes, claims: Answer, **header: str) -> str:
    text = f"{encoded({'alg': 'HS256', **header})}.{encoded(claims)}"
    return f"{text}.{urlsafe_b64encode(hmac.digest(secret, text.encode(), 'sha256')).rstrip(b'=').decode()}"


def altered(token: str) -> str:
    """With other claims under the signature that it has."""
    head, _, signature = token.split(".")
    return f"{head}.{encoded(claims_of(token) | {'groups': ['console-operators']})}.{signature}"


#: Each makes an ID token of a real one whose key the console knows.
FORGERIES: dict[str, Callable[[str], str]] = {
    "altered claims": altered,
    "no signature": lambda token: f"{token.rpartition('.')[0]}.",
    "alg none": lambda token: f"{encoded({'alg': 'none'})}.{encoded(claims_of(token))}.",
    "alg None": lambda token: f"{encoded({'alg': 'None', 'kid': 'RS256'})}.{encoded(claims_of(token))}.",
    "the public key as secret": lambda token: by_hmac(KEY.as_pem(private=False), claims_of(token), kid="of the test"),
    "the client's secret": lambda token: by_hmac(CLIENT_SECRET.encode(), claims_of(token)),
    "another key under a known name": lambda token: jwt.encode(
        {"alg": "RS256", "kid": "of the test"}, claims_of(token), RSAKey.generate_key(2048)
    ),
    "a key in the token": lambda token: jwt.encode(
        {"alg": "RS256", "kid": "mine", "jwk": KEY.as_dict(private=False)}, claims_of(token), KEY
    ),
    "an elliptic key under the name of RSA": lambda token: jwt.encode(
        {"alg": "ES256", "kid": "of the test"}, claims_of(token), ECKey.generate_key("P-256")
    ),
    "a critical header": lambda token: (
        f"{encoded({'alg': 'RS256', 'kid': 'of the test', 'crit': ['b64'], 'b64': 0})}." + token.partition(".")[2]
    ),
    "no token": lambda _: "",
    "no dots": lambda _: "abc",
    "claims that are no object": lambda token: f"{token.partition('.')[0]}.W10.{token.rpartition('.')[2]}",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_token_signs_nobody_in(closed_app: Flask, provider: OidcServer, forgery: str) -> None:
    trust_our_key(provider)
    forge = FORGERIES[forgery]
    provider.wire.changes[TOKEN] = lambda answer: answer | {"id_token": forge(signed(claims_of(answer["id_token"])))}

    assert refused(sign_in(Person(closed_app), "samir")) == "invalid"


def test_an_answer_without_an_id_token_signs_nobody_in(closed_app: Flask, provider: OidcServer) -> None:
    provider.wire.changes[TOKEN] = lambda answer: {"access_token": answer["access_token"]}

    assert refused(sign_in(Person(closed_app), "amina")) == "invalid"


def test_userinfo_of_somebody_else_signs_nobody_in(closed_app: Flask, provider: OidcServer) -> None:
    # Given an ID token without groups, and a userinfo endpoint that describes another subject
    trust_our_key(provider)
    provider.wire.changes[TOKEN] = with_claims(groups=None)
    provider.wire.changes[USERINFO] = lambda found: found | {"sub": "amina", "groups": ["console-operators"]}

    assert refused(sign_in(Person(closed_app), "samir")) == "invalid"


@pytest.mark.parametrize(
    ("changed", "roles_claim"),
    [
        ({"name": ..., "preferred_username": ...}, "groups"),
        ({"groups": None, "name": None}, "groups"),
        ({"realm_access": {}}, "realm_access.roles"),
    ],
    ids=["no name", "null", "no roles within"],
)
def test_userinfo_has_what_the_id_token_lacks(
    provider: OidcServer, database_url: str, changed: Answer, roles_claim: str
) -> None:
    # Given an ID token without a name or roles (`...` leaves a claim out), and a userinfo endpoint that has them
    def change(answer: Answer) -> Answer:
        claims = {**claims_of(answer["id_token"]), **changed}
        return answer | {"id_token": signed({name: value for name, value in claims.items() if value is not ...})}

    trust_our_key(provider)
    provider.wire.changes[TOKEN] = change
    provider.wire.changes[USERINFO] = lambda found: found | {"realm_access": {"roles": ["console-operators"]}}
    settings = provider.settings(console_oidc_roles_claim=roles_claim)
    person = Person(console_of(database_url, NO_RABBITMQ, **settings))

    # When they sign in, then both are known
    assert leads_to(sign_in(person, "amina")) == "/"
    assert "Amina B." in person.read("/audit")


def test_new_keys_are_read_when_a_token_names_one(
    provider: OidcServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a console that knows the provider's keys of yesterday
    monkeypatch.setattr("services.console.oidc_provider.NEW_KEYS_SECONDS", 0)
    provider.wire.changes[KEYS] = lambda _: {"keys": [KEY.as_dict(private=False)]}
    app = console_of(database_url, NO_RABBITMQ, **provider.settings())
    assert refused(sign_in(Person(app), "amina")) == "invalid"

    # When the provider lists its new ones, then the next sign-in has them read
    provider.wire.restore()
    assert leads_to(sign_in(Person(app), "amina")) == "/"


def of(provider: OidcServer, **more: Any) -> Provider:
    settings = ConsoleSettings(
        database_url=NOWHERE,
        rabbitmq_url=NO_RABBITMQ,
        console_operator_tokens=OPERATOR,
        **provider.settings(**more),
    ).oidc
    assert settings
    return Provider(settings)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"issuer": "https://elsewhere.example"}, "the issuer there is https://elsewhere.example"),
        ({"token_endpoint": None}, "lacks or misuses token_endpoint"),
        ({"jwks_uri": 7}, "lacks or misuses jwks_uri"),
        ({"token_endpoint": "http://elsewhere.example/token"}, "http://elsewhere.example/token is not https"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "is not https"),
        ({"jwks_uri": "https://user:password@elsewhere.example/"}, "is not https"),
        ({"jwks_uri": "file:///etc/passwd"}, "is not https"),
    ],
    ids=["issuer", "no token endpoint", "number", "plain", "script", "user", "file"],
)
def test_a_discovery_document_that_cannot_be_used_is_named(provider: OidcServer, changed: Answer, says: str) -> None:
    provider.wire.changes[DISCOVERY] = lambda found: found | changed

    with pytest.raises(ProviderUnavailableError, match="discovery") as failed:
        of(provider).metadata()

    assert says in str(failed.value)


@pytest.mark.parametrize(
    ("status", "headers", "body", "says"),
    [
        (302, {"Location": "/elsewhere"}, b"", "answered 302"),
        (404, {}, b"{}", "answered 404"),
        (429, {}, b"{}", "answered 429"),
        (503, {}, b"{}", "answered 503"),
        (200, {}, b"<html>", "no JSON object"),
        (200, {}, b"[" * 100_000, "no JSON object"),
        (200, {}, b"[]", "no JSON object"),
        (200, {}, b" " * (LIMIT_BYTES + 1), "more than"),
        (200, {"Content-Encoding": "br"}, b"{}", "ContentCodingError"),
    ],
    ids=["redirect", "404", "429", "503", "html", "nested", "list", "large", "coding"],
)
def test_an_answer_that_cannot_be_used_is_named(
    provider: OidcServer, status: int, headers: dict[str, str], body: bytes, says: str
) -> None:
    provider.wire.answers[DISCOVERY] = (status, headers, body)

    with pytest.raises(ProviderUnavailableError, match=says):
        of(provider).metadata()

    assert "/elsewhere" not in provider.wire.asked


def test_an_answer_that_drips_ends_at_the_deadline(provider: OidcServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server that sends a byte of its head now and then, so that no read times out
    monkeypatch.setattr("services.console.oidc_provider.WITHIN_SECONDS", 0.5)
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not done.wait(0.05):
                connection.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        # When it is asked, then the call ends all the same
        with pytest.raises(ProviderUnavailableError, match="no answer"):
            of(provider, console_oidc_issuer=f"http://127.0.0.1:{listener.getsockname()[1]}").metadata()
    finally:
        done.set()
        thread.join()
        listener.close()


def test_a_failure_is_not_repeated_at_once(provider: OidcServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a provider that is away, and somebody who asks again and again
    provider.wire.is_away = True
    found = of(provider)
    for _ in range(5):
        with pytest.raises(ProviderUnavailableError):
            found.metadata()

    # Then it was asked once, and again when the time is over
    assert provider.wire.asked == [DISCOVERY]
    provider.wire.restore()
    monkeypatch.setattr("services.console.oidc_provider.FAILED_SECONDS", 0)
    assert found.metadata().issuer == provider.issuer
    found.metadata()
    assert provider.wire.asked == [DISCOVERY]


def _answering(document: Answer) -> Callable[[Answer], Answer]:
    return lambda _: document


def test_keys_that_verify_nothing_are_named(provider: OidcServer) -> None:
    # Given keys of which none is a public one for signatures
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "RS256"}
    listed: tuple[Any, ...] = (
        None,
        7,
        [],
        ["RSA"],
        [{"kty": "unheard of"}],
        [{"kty": []}],
        [{"kty": "RSA", "n": 7}],
        [secret],
    )
    for keys in listed:
        provider.wire.changes[KEYS] = _answering({"keys": keys})
        with pytest.raises(ProviderUnavailableError, match="jwks: no key there can verify"):
            of(provider).keys()


def test_keys_of_other_kinds_stand_beside_ours(provider: OidcServer) -> None:
    other = [{"kty": "OKP", "crv": "X9999", "x": "AA"}, {"kty": "EC", "crv": "P-9999"}, {"kty": "oct", "k": "AA"}]
    provider.wire.changes[KEYS] = lambda found: {"keys": [*other, *found["keys"]]}

    assert {key.kid for key in of(provider).keys().keys} == {"RS256", "ES256"}
