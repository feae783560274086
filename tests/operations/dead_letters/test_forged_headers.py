"""No AMQP header that another user of RabbitMQ writes ends a consumer, or keeps a dead letter from being collected."""

import json
import struct
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pika.data
import pytest
from pika import BasicProperties
from sqlalchemy import Engine

from shared.contracts.webhooks import WebhookReceived
from shared.messaging import pika_header_patch
from shared.messaging.actors import encode_message
from shared.operations.dead_letters.parse import MAX_REASON, read_letter
from shared.operations.dead_letters.queries import DeadFilter, list_dead
from tests.messaging.rabbitmq import VirtualHost
from tests.waiting import wait_until

Run = Callable[..., "subprocess.Popen[str]"]

#: Event 1 is given up at once.
HOPELESS = encode_message(WebhookReceived(event_id=1))
FAR_FUTURE = b"T" + struct.pack(">Q", 2**62)


class Raw:
    """A value of a header that pika would not write."""

    def __init__(self, encoded: bytes) -> None:
        self.encoded = encoded


def nested(kind: bytes, key: bytes, levels: int) -> Raw:
    inner = b""
    for _ in range(levels):
        inner = key + kind + struct.pack(">I", len(inner)) + inner
    return Raw(kind + struct.pack(">I", len(inner)) + inner)


DEEP = nested(b"F", b"\1a", 5000)
DEEP_ARRAY = nested(b"A", b"", 5000)


@pytest.fixture(autouse=True)
def pika_writes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    write = pika.data.encode_value

    def encode(pieces: list[bytes], value: Any) -> int:
        if not isinstance(value, Raw):
            return int(write(pieces, value))
        pieces.append(value.encoded)
        return len(value.encoded)

    monkeypatch.setattr(pika.data, "encode_value", encode)


def publish(vhost: VirtualHost, queue: str, message: dict[str, Any], headers: dict[str, Any]) -> None:
    channel = vhost.channel()
    properties = BasicProperties(delivery_mode=2, headers=headers)
    channel.basic_publish("", queue, json.dumps(message).encode(), properties)
    channel.connection.close()


def test_forged_headers_end_no_consumer_and_no_collection(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, tmp_path: Path
) -> None:
    # Given a worker with its collector
    journal = tmp_path / "journal"
    journal.touch()
    worker = run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))

    # When messages come with headers that pika cannot decode, or that PostgreSQL cannot keep, and one without any
    forged: list[tuple[str, dict[str, Any]]] = [
        ("webhooks", {"x": Raw(FAR_FUTURE)}),
        ("webhooks", {"x": DEEP}),
        ("webhooks.XQ", {"x": Raw(FAR_FUTURE)}),
        ("webhooks.XQ", {"x-death": DEEP_ARRAY}),
        ("webhooks.XQ", {"x-death": [{"reason": "a\0b"}]}),
    ]
    for number, (queue, headers) in enumerate(forged):
        publish(vhost, queue, {**HOPELESS, "message_id": f"forged-{number}"}, headers)
    publish(vhost, "webhooks", {**HOPELESS, "message_id": "genuine"}, {})

    # Then each is kept as a dead letter, and none of them took the connection with it until RabbitMQ gave it up
    def letters() -> dict[str, str]:
        return {one.message_id: one.cause for one in list_dead(engine, DeadFilter(state=None))}

    wanted = {"genuine", *(f"forged-{number}" for number in range(len(forged)))}
    wait_until(lambda: wanted <= letters().keys())
    assert {letters()[name] for name in ("genuine", "forged-0", "forged-1")} == {"permanent"}
    assert vhost.ready("webhooks.XQ") == 0
    assert worker.poll() is None


@pytest.mark.parametrize("value", [Raw(FAR_FUTURE), DEEP, DEEP_ARRAY], ids=["instant", "tables", "arrays"])
def test_the_headers_beside_one_that_cannot_be_decoded_are_read(value: Raw) -> None:
    pika_header_patch.install()
    pieces: list[bytes] = []
    pika.data.encode_table(pieces, {"x": value, "x-delivery-count": 3})
    found, _ = pika.data.decode_table(b"".join(pieces), 0)
    assert found["x-delivery-count"] == 3


@pytest.mark.parametrize(
    "x_death",
    [
        [{"reason": "a\0b", "time": datetime(9999, 12, 31, tzinfo=UTC)}],
        [{"reason": "r" * 5000, "time": "yesterday"}],
        [{"reason": {"a": 1}, "queue": b"\xff\0", "time": 7}],
        [{"count": float("nan")}],
        [[]],
        "a\0b",
    ],
)
def test_an_x_death_of_a_strangers_is_bounded(x_death: object) -> None:
    letter = read_letter("webhooks", BasicProperties(headers={"x-death": x_death}), json.dumps(HOPELESS).encode(), {})
    assert len(letter.cause) <= MAX_REASON
    assert "\0" not in letter.cause
    assert "\\u0000" not in json.dumps(letter.x_death)
    assert letter.died_at <= datetime.now(UTC) + timedelta(seconds=1)
