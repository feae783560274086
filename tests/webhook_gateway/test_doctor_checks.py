"""What `nouba doctor` says of the gateway's API tokens."""

import pytest
from sqlalchemy import text

from services.webhook_gateway.doctor_checks import CHECKS
from shared.operations.api_tokens.tokens import create_token, revoke_token
from shared.runtime.api_tokens import Scope
from shared.runtime.database import build_engine


def test_the_doctor_lists_tokens_of_settings_and_stored_ones(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOUBA_DATABASE_URL", database_url)
    monkeypatch.setenv("NOUBA_RABBITMQ_URL", "amqp://nobody@127.0.0.1:1")
    monkeypatch.delenv("NOUBA_API_TOKENS", raising=False)
    (check,) = [one for one in CHECKS if one.__name__ == "_tokens"]

    # When there is none, then that is a note with its fix
    (found,) = check()
    assert (found.verdict.value, found.subject) == ("note", "API tokens")
    assert "nouba api-tokens create" in found.fix

    # Given one of the settings, and stored ones: in use, new, revoked, expired
    monkeypatch.setenv("NOUBA_API_TOKENS", "old-site:read:a-token-of-the-settings")
    engine = build_engine(database_url, pool_size=1, application="a test")
    for name in ("website", "mobile", "gone", "past"):
        create_token(engine, name, [Scope.READ], created_by="a test")
    revoke_token(engine, "gone", who="a test", why="a test")
    with engine.begin() as connection:
        connection.execute(text("UPDATE api_tokens SET last_used_at = '2026-11-20 12:00+00' WHERE name = 'website'"))
        connection.execute(text("UPDATE api_tokens SET expires_at = created_at + interval '1 us' WHERE name = 'past'"))
    engine.dispose()

    # Then the valid ones are named, with their scopes and their last use
    (found,) = check()
    assert found.verdict.value == "fine"
    assert "old-site (read)" in found.says
    assert "website (read, last used 2026-11-20), mobile (read, never used)" in found.says
    assert "gone" not in found.says
    assert "past" not in found.says
