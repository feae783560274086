"""API tokens: their form, their scopes, and the limit on guessing."""

import hashlib

import pytest

from shared.runtime.api_tokens import (
    FAILURES_PER_MINUTE,
    MAX_CLIENTS,
    InsufficientScopeError,
    InvalidTokenError,
    Scope,
    TokenVerifier,
    TooManyFailuresError,
    bearer_of,
    parse_tokens,
    stored_id,
)

TOKEN, OTHER = "token-of-the-tests", "another-token-of-the-tests"


def test_a_plain_token_has_every_scope_and_is_kept_as_a_digest() -> None:
    (token,) = parse_tokens(TOKEN)

    assert token.scopes == frozenset(Scope)
    assert token.digest == hashlib.sha256(TOKEN.encode()).digest()
    assert TOKEN not in repr(token)


def test_an_id_is_never_another_tokens_and_opens_nothing() -> None:
    # Given one token, a rotated one and another one
    (one,) = parse_tokens(f"board:read:{TOKEN}")
    (rotated,) = parse_tokens(f"board:read:{OTHER}")
    (by_digest,) = parse_tokens(f"board:payments:sha256={one.digest.hex()}")

    # Then an id changes with the secret alone, and has neither the secret nor the start of its digest
    assert one.id == by_digest.id != rotated.id
    assert one.id.startswith("board#")
    assert one.id.partition("#")[2] not in one.digest.hex()
    assert len({stored_id("board", 1), stored_id("board", 2), one.id}) == 3


def test_an_entry_may_name_scopes_and_hold_a_digest() -> None:
    setting = f"board:read:{TOKEN}, back-end:payments+uploads:sha256={hashlib.sha256(OTHER.encode()).hexdigest()}"

    board, back_end = parse_tokens(setting)

    assert (board.name, board.scopes) == ("board", frozenset({Scope.READ}))
    assert (back_end.name, back_end.scopes) == ("back-end", frozenset({Scope.PAYMENTS, Scope.UPLOADS}))
    assert TokenVerifier([back_end]).verify(OTHER.encode(), Scope.UPLOADS, "a") is back_end


@pytest.mark.parametrize(
    "setting",
    [
        "x",
        "fifteen-bytes-x",
        "board:read:short",
        f"{TOKEN},,{OTHER}",
        f"{TOKEN},",
        f"board:everything:{TOKEN}",
        f"board::{TOKEN}",
        f":read:{TOKEN}",
        f"board:read:{TOKEN}:more",
        f"Board Room:read:{TOKEN}",
        "board:read:sha256=beef",
        "sha256=beefbeefbeefbeef",
        f"board:read:{TOKEN},board:read:{OTHER}",
    ],
)
def test_what_is_no_token_is_refused_and_not_repeated(setting: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is what is checked
        parse_tokens(setting)

    assert TOKEN not in str(refused.value)
    assert OTHER not in str(refused.value)


def test_without_tokens_nothing_opens() -> None:
    assert parse_tokens(" ") == ()
    with pytest.raises(InvalidTokenError):
        TokenVerifier(()).verify(b"", Scope.READ, "a")


@pytest.mark.parametrize("scope", Scope)
def test_a_token_opens_its_own_scopes_alone(scope: Scope) -> None:
    verifier = TokenVerifier(parse_tokens(f"one:{scope}:{TOKEN}"))

    assert verifier.verify(TOKEN.encode(), scope, "a").name == "one"
    for other in set(Scope) - {scope}:
        with pytest.raises(InsufficientScopeError):
            verifier.verify(TOKEN.encode(), other, "a")
        assert verifier.find(TOKEN.encode(), other, "a") is None


def test_guessing_ends_after_twenty_failures_and_begins_again_a_minute_later() -> None:
    # Given a client that has guessed as often as it may
    now = 0.0
    verifier = TokenVerifier(parse_tokens(TOKEN), clock=lambda: now)
    for number in range(FAILURES_PER_MINUTE):
        with pytest.raises(InvalidTokenError):
            verifier.verify(b"guess-%d" % number, Scope.READ, "guesser")

    # Then it is refused, whatever it shows, and others are not
    with pytest.raises(TooManyFailuresError):
        verifier.verify(TOKEN.encode(), Scope.READ, "guesser")
    assert verifier.find(TOKEN.encode(), Scope.READ, "guesser") is None
    assert verifier.find(TOKEN.encode(), Scope.READ, "other") is not None

    # And a minute later it may try again
    now = 60.0
    assert verifier.verify(TOKEN.encode(), Scope.READ, "guesser")


def test_a_request_without_a_token_is_no_guess() -> None:
    verifier = TokenVerifier(parse_tokens(TOKEN))

    for _ in range(FAILURES_PER_MINUTE + 1):
        with pytest.raises(InvalidTokenError):
            verifier.verify(b"", Scope.READ, "browser")

    assert verifier.find(TOKEN.encode(), Scope.READ, "browser") is not None


def test_many_clients_take_bounded_memory() -> None:
    verifier = TokenVerifier(parse_tokens(TOKEN))

    for number in range(MAX_CLIENTS + 5):
        with pytest.raises(InvalidTokenError):
            verifier.verify(b"guess", Scope.READ, str(number))

    assert len(verifier._failures) == MAX_CLIENTS


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", b"abc"), ("bearer  abc ", b"abc"), ("Basic abc", b""), ("", b""), ("Bearer", b""), ("é", b"")],
)
def test_the_bearer_token_of_a_header(header: str, token: bytes) -> None:
    assert bearer_of(header) == token
