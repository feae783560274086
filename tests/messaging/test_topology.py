"""What we declare is what dramatiq would, and what we meant to change."""
# mypy: disallow-untyped-calls=False

from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import dq_name, xq_name

from shared.messaging.topology import DEAD_MESSAGE_TTL_MS, DELIVERY_LIMIT, declarations


def test_the_main_queue_is_dramatiqs_own_made_quorum_with_a_delivery_limit() -> None:
    main, _, _ = declarations("webhooks")
    ours = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}
    assert main.name == "webhooks"
    assert main.arguments == {**RabbitmqBroker()._build_queue_arguments("webhooks"), **ours}


def test_the_delayed_queue_is_exactly_dramatiqs_own() -> None:
    _, delayed, _ = declarations("webhooks")
    assert delayed.name == dq_name("webhooks")
    assert delayed.arguments == RabbitmqBroker()._build_queue_arguments("webhooks")


def test_the_dead_queue_keeps_dramatiqs_name_and_is_quorum() -> None:
    _, _, dead = declarations("webhooks")
    assert dead.name == xq_name("webhooks")
    assert dead.arguments == {"x-queue-type": "quorum", "x-message-ttl": DEAD_MESSAGE_TTL_MS}
