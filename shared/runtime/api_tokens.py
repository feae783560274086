"""API tokens: parses `NOUBA_API_TOKENS`, checks bearer tokens and their scopes, and limits guessing.

Only the SHA-256 of a token is kept in memory, and every comparison takes the same time. A token has at least 16 bytes,
so a digest without salt cannot be reversed. Failures are counted per client in each process alone.
"""

import hashlib
import hmac
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import structlog

log = structlog.get_logger(__name__)

#: Shorter tokens can be guessed.
MIN_TOKEN_BYTES = 16
#: Wrong tokens a minute and client, before even the right one is refused.
FAILURES_PER_MINUTE = 20
#: Clients whose failures are remembered; past it the one that failed longest ago is forgotten.
MAX_CLIENTS = 10_000
#: How a token begins that `nouba api-tokens` created; one of the setting may be any text.
STORED_PREFIX = "nouba_"
_WINDOW_SECONDS = 60.0
TOKEN_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")
_HASH = re.compile(r"sha256=([0-9a-f]{64})")


class Scope(StrEnum):
    """What a token opens."""

    READ = "read"
    PAYMENTS = "payments"
    UPLOADS = "uploads"
    OPERATE = "operate"


class InvalidTokenError(Exception):
    """The request carries none of the tokens."""


class InsufficientScopeError(Exception):
    """The token is valid and does not have the scope."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(f"This token lacks the scope {scope}.")
        self.scope = scope


class TooManyFailuresError(Exception):
    """The client has sent too many wrong tokens; it may try again in a minute."""


@dataclass(frozen=True, slots=True)
class ApiToken:
    """One token: who it was given to, what it opens, and its SHA-256.

    `id` is never another token's: a revoked token's namesake, or an entry whose secret was rotated, has another one.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    digest: bytes


def parse_tokens(setting: str) -> tuple[ApiToken, ...]:
    """The tokens of a comma-separated setting. Raises ValueError, which names the place and never the token.

    An entry is a token with every scope, or `name:scopes:token` with scopes joined by `+`. In place of a token an entry
    may hold its digest, `sha256=` and 64 hex digits.
    """
    entries = [entry.strip() for entry in setting.split(",")]
    if entries == [""]:
        return ()
    tokens = [_parse(entry, number) for number, entry in enumerate(entries, 1)]
    for name in (token.name for token in tokens):
        if sum(token.name == name for token in tokens) > 1:
            raise ValueError(f"names two tokens {name!r}; give each its own name")
    return tuple(tokens)


def _parse(entry: str, number: int) -> ApiToken:
    if not entry:
        raise ValueError(f"entry {number} is empty; separate tokens by one comma")
    name, scopes, secret = f"token-{number}", frozenset(Scope), entry
    if ":" in entry:
        name, _, rest = entry.partition(":")
        words, _, secret = rest.partition(":")
        unknown = [word for word in words.split("+") if word not in set(Scope)]
        if not TOKEN_NAME.fullmatch(name) or unknown or not secret or ":" in secret:
            raise ValueError(
                f"entry {number} has to be a token, or name:scopes:token with scopes of {', '.join(Scope)} joined by +"
            )
        scopes = frozenset(Scope(word) for word in words.split("+"))
    if hashed := _HASH.fullmatch(secret):
        return _configured(name, scopes, bytes.fromhex(hashed[1]))
    if secret.startswith("sha256="):
        raise ValueError(f"entry {number}: sha256= has to be followed by 64 hex digits")
    if len(secret.encode()) < MIN_TOKEN_BYTES:
        raise ValueError(
            f"entry {number} is shorter than {MIN_TOKEN_BYTES} bytes; make one with `openssl rand -hex 32`"
        )
    return _configured(name, scopes, _digest(secret.encode()))


def _configured(name: str, scopes: frozenset[Scope], digest: bytes) -> ApiToken:
    """A token of the setting. Its id has a short hash of its digest, which opens nothing where a digest is accepted."""
    return ApiToken(f"{name}#{hashlib.sha256(digest).hexdigest()[:12]}", name, scopes, digest)


def stored_id(name: str, row_id: int) -> str:
    """The id of a token of `nouba api-tokens`."""
    return f"{name}/{row_id}"


class TokenVerifier:
    """Finds the token that a request carries. Several threads may use it.

    `stored` finds a token by its SHA-256 where the setting has none such.
    """

    def __init__(
        self,
        tokens: Sequence[ApiToken],
        clock: Callable[[], float] = time.monotonic,
        stored: Callable[[bytes], ApiToken | None] = lambda _digest: None,
    ) -> None:
        self._tokens = tuple(tokens)
        self._stored = stored
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def find(self, secret: bytes, scope: Scope, client: str) -> ApiToken | None:
        """The token where it opens `scope` and the client may still try; counts nothing."""
        found = self._match(secret)
        return found if found and scope in found.scopes and not self._is_limited(client) else None

    def verify(self, secret: bytes, scope: Scope, client: str) -> ApiToken:
        """The token. Raises InvalidTokenError, InsufficientScopeError or TooManyFailuresError."""
        if self._is_limited(client):
            raise TooManyFailuresError
        found = self._match(secret)
        if found is None:
            # a request without a token guesses nothing
            if secret:
                self._count(client)
                log.warning("wrong API token", client=client)
            raise InvalidTokenError
        if scope not in found.scopes:
            log.warning("an API token lacks the scope", token=found.name, scope=scope)
            raise InsufficientScopeError(scope)
        return found

    def _match(self, secret: bytes) -> ApiToken | None:
        digest = _digest(secret)
        # every token is compared, so that the time does not depend on which one matches
        matching = [token for token in self._tokens if hmac.compare_digest(token.digest, digest)]
        if matching:
            return matching[0]
        # found by an index: a digest of 256 random bits cannot be approached by timing
        return self._stored(digest) if secret.startswith(STORED_PREFIX.encode()) else None

    def _is_limited(self, client: str) -> bool:
        if client not in self._failures:
            return False
        with self._lock:
            return len(self._recent(client)) >= FAILURES_PER_MINUTE

    def _count(self, client: str) -> None:
        with self._lock:
            recent = self._recent(client)
            recent.append(self._clock())
            # the newest failure stands last
            self._failures.pop(client, None)
            self._failures[client] = recent
            if len(self._failures) > MAX_CLIENTS:
                del self._failures[next(iter(self._failures))]

    def _recent(self, client: str) -> deque[float]:
        recent = self._failures.get(client, deque(maxlen=FAILURES_PER_MINUTE))
        while recent and self._clock() - recent[0] >= _WINDOW_SECONDS:
            recent.popleft()
        return recent


def bearer_of(authorization: str) -> bytes:
    """The token of an `Authorization: Bearer` header, empty where there is none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
