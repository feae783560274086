"""What a request leaves in its thread, which serves the next one."""

from services.webhook_gateway.app import create_app
from services.webhook_gateway.settings import GatewaySettings
from shared.operations.audit_log import acting_credential
from shared.runtime.database import build_engine


def test_a_request_does_not_act_with_the_credential_of_the_one_before(database_url: str) -> None:
    # Given a request with a token, whose credential the audit log would keep
    engine = build_engine(database_url, pool_size=1)
    settings = GatewaySettings(
        database_url=database_url, rabbitmq_url="amqp://127.0.0.1", api_tokens="school:operate:a-token-of-the-school"
    )
    client = create_app(settings, {}, engine, lambda _: None, {}).test_client()
    allowed = {"Authorization": "Bearer a-token-of-the-school"}
    try:
        assert client.get("/api/v1/operator-acts", headers=allowed).status_code == 200
        assert acting_credential.get() is not None

        # When the same thread serves one without
        assert client.get("/api/v1/operator-acts").status_code == 401

        # Then it has none
        assert acting_credential.get() is None
    finally:
        acting_credential.set(None)
        engine.dispose()
