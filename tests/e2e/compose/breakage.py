"""Real faults, each with the alerts that have to report it and with its repair."""

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from local.psp.signed_webhooks import Delivery, Payment, sign, signed, tampered
from tests.e2e.compose.containers import Containers
from tests.e2e.compose.prometheus import Alert
from tests.waiting import wait_until

Act = Callable[[Containers], None]
#: No machine has so much left.
MORE_THAN_ANY_DISK_BYTES = 10**16


def nothing(_: Containers) -> None:
    """What does not have to be done again and again."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is broken, how, and how it is mended; `go_on` is done every few seconds until they report."""

    name: str
    alerts: tuple[Alert, ...]
    begin: Act
    repair: Act
    go_on: Act = nothing


def stopped(service: str, *alerts: Alert) -> Fault:
    """`service` is stopped."""
    return Fault(
        f"{service} is stopped",
        alerts,
        lambda containers: run(containers, "stop", service),
        lambda containers: containers.start(service),
    )


def hanging(service: str, *alerts: Alert) -> Fault:
    """`service` is there and does nothing."""
    return Fault(
        f"{service} hangs",
        alerts,
        lambda containers: run(containers, "pause", service),
        lambda containers: run(containers, "unpause", service),
    )


def run(containers: Containers, *arguments: str) -> None:
    containers.run(*arguments)


def add_a_centime(containers: Containers) -> None:
    """Behind the ledger's back, as only the database's owner can."""
    change(
        containers, "balance_minor = balance_minor + 1 WHERE id = (SELECT min(id) FROM users WHERE balance_minor > 0)"
    )


def take_the_centime_back(containers: Containers) -> None:
    booked = (
        "(SELECT coalesce(sum(e.amount_minor), 0) FROM ledger_accounts a JOIN ledger_entries e ON e.account_id = a.id "
        "WHERE a.kind = 'user_wallet' AND a.user_id = users.id)"
    )
    change(containers, f"balance_minor = balance_minor - 1 WHERE balance_minor = {booked} + 1")


def change(containers: Containers, users: str) -> None:
    def changed() -> bool:
        return containers.sql("nouba", f"UPDATE users SET {users} RETURNING 1").stdout.strip() == "1"  # noqa: S608

    # a payment of that moment changes the balance that the statement has compared
    wait_until(changed, 20, "no balance is changed")


def poison(containers: Containers) -> None:
    """A message that is none, in the queue of the payments."""
    sent = containers.python(
        "gateway",
        "import pika; from pathlib import Path\n"
        "url = Path('/run/secrets/gateway/NOUBA_RABBITMQ_URL').read_text()\n"
        "with pika.BlockingConnection(pika.URLParameters(url)) as connection:\n"
        "    channel = connection.channel(); channel.confirm_delivery()\n"
        "    channel.basic_publish('', 'webhooks', b'poison')",
    )
    assert sent.returncode == 0, sent.stderr


def give_up_what_died(containers: Containers) -> None:
    containers.read(
        "gateway", "nouba", "dead", "discard", "--queue", "webhooks", "--actor-name", "test",
        "--reason", "a test has poisoned the queue",
    )  # fmt: skip


def post(containers: Containers, path: str, headers: dict[str, str], body: bytes) -> int:
    return httpx.post(f"{containers.gateway_url}{path}", headers=headers, content=body, timeout=10).status_code


def sign_wrongly(containers: Containers) -> None:
    delivery = _standard(containers)
    # a counter that Prometheus has not seen before a burst shows none of it: one that is new, and one that is repeated
    for _ in range(2):
        assert post(containers, delivery.path, dict(delivery.headers), delivery.body) == httpx.codes.OK
    for number in range(3):
        broken = tampered(delivery, random.Random(number))
        assert post(containers, broken.path, dict(broken.headers), broken.body) == httpx.codes.UNAUTHORIZED


def sign_rightly(containers: Containers) -> None:
    """So often that the wrong ones are few."""
    delivery = _standard(containers)
    for _ in range(400):
        assert post(containers, delivery.path, dict(delivery.headers), delivery.body) == httpx.codes.OK


def _standard(containers: Containers) -> Delivery:
    secret = containers.secret("gateway", "NOUBA_PSP_STANDARD_WEBHOOKS_SECRETS")
    return signed("standard_webhooks", [secret], Payment(reference=f"alert-{uuid.uuid4().hex}", amount_minor=100))


def rabbitmq(containers: Containers, *command: str) -> None:
    containers.read("rabbitmq", "rabbitmqctl", "--quiet", *command)


def send_large_webhooks(containers: Containers) -> None:
    """A tenth of the spool's room; a provider whose webhook is refused sends it again, which this one does not."""
    secret = containers.secret("gateway", "NOUBA_PSP_GENERIC_SECRETS")
    for _ in range(6):
        reported = {
            "transaction_id": f"large-{uuid.uuid4().hex}",
            "amount": 100,
            "currency": "DZD",
            "status": "pending",
        }
        body = json.dumps(reported | {"note": "x" * 16_000}).encode()
        headers = sign("generic", secret, body, datetime.now(UTC))
        post(containers, "/webhooks/generic", {"Content-Type": "application/json"} | headers, body)


#: None of these stands in the way of another.
SERVICES_AND_DATA = (
    Fault("a message is poisoned", (Alert("DeadLetters", "queue", "webhooks"),), poison, give_up_what_died),
    Fault(
        "a balance is off by one centime",
        (Alert("LedgerDrift"), Alert("InvariantViolated", "invariant", "balance_is_entries")),
        add_a_centime,
        take_the_centime_back,
    ),
    Fault(
        "somebody signs wrongly",
        (Alert("SignatureFailures", "provider", "standard_webhooks"),),
        sign_wrongly,
        sign_rightly,
        sign_wrongly,
    ),
    stopped("stats-scheduler", Alert("SchedulerHeartbeatMissing")),
    stopped("stats-worker", Alert("QueueWithoutConsumer", "queue", "default")),
    hanging("stats-api", Alert("TargetDown", "job", "stats-api")),
    Fault(
        "RabbitMQ's disk is full",
        (Alert("RabbitDiskAlarm"), Alert("OutboxWaits", "service", "gateway")),
        lambda containers: rabbitmq(containers, "set_disk_free_limit", str(MORE_THAN_ANY_DISK_BYTES)),
        lambda containers: rabbitmq(containers, "set_disk_free_limit", "2GB"),
    ),
    Fault(
        "RabbitMQ's memory is full",
        (Alert("RabbitMemoryAlarm"),),
        lambda containers: rabbitmq(containers, "set_vm_memory_high_watermark", "absolute", "1MB"),
        lambda containers: rabbitmq(containers, "set_vm_memory_high_watermark", "absolute", "600MB"),
    ),
)
SERVERS = (
    stopped("postgres", Alert("SpoolInUse")),
    Fault("the spool fills", (Alert("SpoolFilling"),), send_large_webhooks, nothing, send_large_webhooks),
    stopped("rabbitmq", Alert("TargetDown", "job", "rabbitmq")),
)
