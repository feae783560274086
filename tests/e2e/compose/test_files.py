"""What the containers read says the same as the code; no engine is needed for these."""

import hashlib
import json
import re
from base64 import b64decode

import pytest

from deploy import healthcheck, make_secrets
from shared.contracts.routes import QUEUES, ROUTES
from shared.messaging.topology import dead_queue, declarations
from tests.e2e.compose.containers import PROJECT

DEFINITIONS = json.loads((PROJECT / "deploy/rabbitmq/definitions.json").read_text())
OWNERS = {"webhooks": "gateway", "events": "gateway", "videos": "transcoder", "default": "stats"}


def test_the_queues_are_defined_as_the_code_declares_them() -> None:
    defined = {queue["name"]: queue["arguments"] for queue in DEFINITIONS["queues"]}

    assert defined == {one.name: dict(one.arguments) for queue in QUEUES for one in declarations(queue)}


def test_the_policy_against_lost_dead_letters_is_for_all_of_them_and_for_nothing_else() -> None:
    (policy,) = DEFINITIONS["policies"]

    found = {one.name for queue in QUEUES for one in declarations(queue) if re.search(policy["pattern"], one.name)}

    assert found == {dead_queue(queue) for queue in QUEUES}


def test_each_user_of_rabbitmq_has_the_rights_of_its_rows_in_the_routes() -> None:
    for permission in DEFINITIONS["permissions"]:
        user = permission["user"]
        own = {queue for queue, owner in OWNERS.items() if owner == user}
        others = {route.queue for route in ROUTES if route.publisher == user}
        for queue in QUEUES:
            for name in (one.name for one in declarations(queue)):
                assert bool(re.search(permission["read"], name)) == (queue in own), (user, name)
                assert bool(re.search(permission["configure"], name)) == (queue in own | others), (user, name)
        # the default exchange, for those who publish to any queue; and that of events, whose rows are the gateway's
        write = r"^(amq\.default|nouba\.events)$" if user == "gateway" else r"^amq\.default$" if own | others else "^$"
        assert permission["write"] == write


def test_a_password_is_hashed_as_rabbitmq_does_it() -> None:
    hashed = b64decode(make_secrets.rabbitmq_hash("secret", "00112233aabb"))

    assert hashed[:4] == bytes.fromhex("00112233")
    assert hashed[4:] == hashlib.sha256(hashed[:4] + b"secret").digest()


def test_the_demonstrations_providers_are_on_only_in_test_mode_and_where_the_school_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gateway() -> dict[str, str]:
        folders: dict[str, dict[str, str]] = {reader: {} for reader in make_secrets.READERS}
        make_secrets.add_providers(folders, make_secrets.Made(PROJECT / "there-is-none"))
        return folders["gateway"]

    assert list(gateway()) == ["NOUBA_API_TOKENS"]
    monkeypatch.setenv("NOUBA_PAYMENTS_MODE", "live")
    assert list(gateway()) == ["NOUBA_API_TOKENS"]
    monkeypatch.setenv("NOUBA_PAYMENTS_MODE", "test")
    assert "NOUBA_PSP_STRIPE_SECRETS" in gateway()
    monkeypatch.setenv("NOUBA_PSP_CHARGILY_SECRETS", "live_sk_x")
    assert list(gateway()) == ["NOUBA_API_TOKENS"]


def test_the_roles_of_the_database_are_those_that_get_a_password() -> None:
    roles = (PROJECT / "deploy/postgres/roles.sql").read_text()

    assert set(re.findall(r"ALTER ROLE nouba_(\w+) PASSWORD", roles)) == set(make_secrets.ROLES)


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:238C 00000000:0000 0A 00000000:00000000
   1: 030018AC:9EAC 020018AC:1628 01 00000000:00000000
   2: 030018AC:9EAE 020018AC:1628 06 00000000:00000000
   3: 030018AC:1628 020018AC:9EB0 01 00000000:00000000
"""


def test_only_open_connections_to_the_port_count() -> None:
    assert healthcheck.open_connections(TCP, 5672) == 1
    assert healthcheck.open_connections(TCP, 5432) == 0


def test_the_oldest_outbox_row_of_all_services_is_found() -> None:
    metrics = 'nouba_outbox_oldest_age_seconds{service="a"} 1.5\nnouba_outbox_oldest_age_seconds{service="b"} 61\n'

    assert healthcheck.oldest_unpublished_seconds(metrics) == 61
    assert healthcheck.oldest_unpublished_seconds("other 3\n") == 0
