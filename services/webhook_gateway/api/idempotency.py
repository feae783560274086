"""Idempotency keys: the first request of a key acts, and its answer is kept for those that repeat it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from sqlalchemy import Engine, text

from services.webhook_gateway.errors import KeyInProgressError, ReusedKeyError

#: How long an answer is kept.
KEPT_FOR: Final = timedelta(days=1)
#: A request that has not ended by then was lost with its process; its key may begin again.
LEASE: Final = timedelta(minutes=2)

# the column token_name holds the token's id: a namesake of a revoked token must not get its answers
# each key that begins takes a few old ones away, so the table stays as large as a day's requests
_BEGIN = text("""
WITH old AS (
    DELETE FROM api_idempotency_keys WHERE ctid IN (
        SELECT ctid FROM api_idempotency_keys WHERE begun_at < now() - :kept_for
            AND (token_name, key) <> (:token_id, :key)
        ORDER BY begun_at LIMIT 10 FOR UPDATE SKIP LOCKED)
)
INSERT INTO api_idempotency_keys AS known (token_name, key, request_sha256) VALUES (:token_id, :key, :digest)
ON CONFLICT (token_name, key) DO UPDATE
    SET request_sha256 = EXCLUDED.request_sha256, begun_at = now(), status = NULL, body = NULL
    WHERE known.begun_at < now() - :kept_for OR known.status IS NULL AND known.begun_at < now() - :lease
RETURNING 1
""")
_READ = text(
    "SELECT request_sha256, status, body FROM api_idempotency_keys WHERE token_name = :token_id AND key = :key"
)
_FINISH = text("""
UPDATE api_idempotency_keys SET status = :status, body = :body WHERE token_name = :token_id AND key = :key
""")
_FORGET = text("DELETE FROM api_idempotency_keys WHERE token_name = :token_id AND key = :key AND status IS NULL")


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer to the first request of a key."""

    status: int
    body: bytes


class IdempotencyKeys(Protocol):
    """The keys of every token."""

    def begin(self, token_id: str, key: str, digest: bytes) -> StoredAnswer | None:
        """None where the caller is the first and has to act; else the first one's answer.

        Raises ReusedKeyError where the key was for another request, and KeyInProgressError while the first one is
        under way.
        """
        ...

    def finish(self, token_id: str, key: str, answer: StoredAnswer) -> None:
        """Keep the answer."""
        ...

    def forget(self, token_id: str, key: str) -> None:
        """The first request did nothing: the next one is the first."""
        ...


class PostgresIdempotencyKeys:
    """Implements `IdempotencyKeys`. `engine` has to commit by itself (isolation level AUTOCOMMIT)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, token_id: str, key: str, digest: bytes) -> StoredAnswer | None:
        values = {"token_id": token_id, "key": key}
        times = {"digest": digest, "kept_for": KEPT_FOR, "lease": LEASE}
        with self._engine.connect() as connection:
            if connection.scalar(_BEGIN, values | times):
                return None
            known = connection.execute(_READ, values).one_or_none()
        if known is None or (known.status is None and bytes(known.request_sha256) == digest):
            raise KeyInProgressError
        if bytes(known.request_sha256) != digest:
            raise ReusedKeyError
        return StoredAnswer(known.status, bytes(known.body))

    def finish(self, token_id: str, key: str, answer: StoredAnswer) -> None:
        values = {"token_id": token_id, "key": key, "status": answer.status, "body": answer.body}
        with self._engine.connect() as connection:
            connection.execute(_FINISH, values)

    def forget(self, token_id: str, key: str) -> None:
        with self._engine.connect() as connection:
            connection.execute(_FORGET, {"token_id": token_id, "key": key})
