"""API tokens in PostgreSQL: created and revoked by an operator, found by their SHA-256.

A token is shown once, where it is created. It has 256 random bits, so its digest needs no salt.
"""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from shared.operations import audit_log
from shared.runtime.api_tokens import STORED_PREFIX, TOKEN_NAME, ApiToken, Scope, stored_id

_FIND = text("""
SELECT id, name, scopes, last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS is_unseen
FROM api_tokens WHERE digest = :digest AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
""")
_SEEN = text("UPDATE api_tokens SET last_used_at = now() WHERE id = :id")
_CREATE = text("""
INSERT INTO api_tokens (name, scopes, digest, created_by, expires_at)
VALUES (:name, :scopes, :digest, :created_by, :expires_at)
""")
_LIST = text("""
SELECT name, scopes, created_by, created_at, expires_at, revoked_at, last_used_at FROM api_tokens
WHERE :with_revoked OR revoked_at IS NULL ORDER BY id
""")
_REVOKE = text("UPDATE api_tokens SET revoked_at = now() WHERE name = :name AND revoked_at IS NULL RETURNING id")
_NAMED = text("""
SELECT id, name FROM api_tokens
WHERE name = ANY(:names) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) ORDER BY name
""")


class TokenError(Exception):
    """What was asked for cannot be; the message says why."""


@dataclass(frozen=True, slots=True)
class TokenLine:
    """A token without anything that opens something."""

    name: str
    scopes: Sequence[str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }


def create_token(
    engine: Engine,
    name: str,
    scopes: Collection[Scope],
    *,
    created_by: str,
    expires_at: datetime | None = None,
    configured: Collection[str] = (),
) -> str:
    """The new token, which is kept nowhere; `configured` are the names of NOUBA_API_TOKENS. Raises TokenError."""
    if not TOKEN_NAME.fullmatch(name):
        raise TokenError(f"The name {name!r} has to be of lower-case letters, digits, _ . and -, 40 at most.")
    if name in configured:
        raise TokenError(f"NOUBA_API_TOKENS has a token {name!r}; choose another name, so that the audit log has one.")
    token = f"{STORED_PREFIX}{secrets.token_urlsafe(32)}"
    values = {
        "name": name,
        "scopes": sorted(scopes),
        "digest": hashlib.sha256(token.encode()).digest(),
        "created_by": created_by,
        "expires_at": expires_at,
    }
    try:
        with engine.begin() as connection:
            connection.execute(_CREATE, values)
            chosen = {"scopes": sorted(scopes), "expires_at": expires_at.isoformat() if expires_at else None}
            audit_log.record(connection, who=created_by, what="token.create", why=None, ids=[name], chosen_by=chosen)
    except IntegrityError:
        raise TokenError(f"There is a token {name!r}; revoke it first: nouba api-tokens revoke {name}") from None
    return token


def list_tokens(connection: Connection, *, with_revoked: bool = False) -> list[TokenLine]:
    """The oldest first."""
    return [TokenLine(*row) for row in connection.execute(_LIST, {"with_revoked": with_revoked})]


def revoke_token(engine: Engine, name: str, *, who: str, why: str | None) -> None:
    """From the next request on it opens nothing. Raises TokenError where there is none of that name."""
    with engine.begin() as connection:
        if connection.scalar(_REVOKE, {"name": name}) is None:
            raise TokenError(f"There is no token {name!r}; `nouba api-tokens list` shows them.")
        audit_log.record(connection, who=who, what="token.revoke", why=why, ids=[name])


def ids_of_names(connection: Connection, names: Collection[str]) -> dict[str, str]:
    """The ids of the tokens that are valid and have one of the names, by name."""
    return {row.name: stored_id(row.name, row.id) for row in connection.execute(_NAMED, {"names": list(names)})}


class StoredTokens:
    """Finds tokens by their digest. `engine` has to commit by itself (isolation level AUTOCOMMIT)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, digest: bytes) -> ApiToken | None:
        """The token, unless it is revoked or has expired."""
        with self._engine.connect() as connection:
            row = connection.execute(_FIND, {"digest": digest}).one_or_none()
            if row is None:
                return None
            if row.is_unseen:
                connection.execute(_SEEN, {"id": row.id})
        # a later release may know more scopes
        scopes = frozenset(Scope(one) for one in row.scopes if one in set(Scope))
        return ApiToken(stored_id(row.name, row.id), row.name, scopes, digest)
