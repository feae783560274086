"""The part `queue`: how fast the relay empties the outbox, and how fast a worker takes messages."""

import contextlib
import json
import time
from collections.abc import Iterator
from functools import partial

import click
import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from sqlalchemy import Engine

from bench import consuming
from bench.measures import Measure, Options, Show, alternate
from bench.rivals import publish_rate
from bench.running import postgres, rabbitmq
from shared.contracts.routes import GATEWAY
from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import encode_message
from shared.messaging.relay import Relay, connections_of
from shared.runtime.database import build_engine

PART = "queue"
_MAX_SECONDS = 120


def measure(options: Options, show: Show) -> Iterator[Measure]:
    """Messages a second, each confirmed by RabbitMQ; the relay's rows are committed at once, before it is woken."""
    count = 1000 if options.quick else 10_000
    body = json.dumps(encode_message(WebhookReceived(event_id=1)))
    with contextlib.ExitStack() as stack:
        show("starting the servers", 0, 1)
        database = stack.enter_context(postgres(options.folder))
        broker = stack.enter_context(rabbitmq(options.folder))
        relay = stack.enter_context(_relay(database.url, broker.url))
        contenders = {
            "nouba's relay, from the outbox": partial(_carry, relay, database.url, body, count),
            "pika, pipelined": partial(publish_rate.pipelined, broker.url, "pipelined_rival", body.encode(), count),
            # ten times slower, so a tenth is enough
            "dramatiq.send": partial(publish_rate.dramatiq_send, broker.url, body.encode(), count // 10),
        }
        _carry(relay, database.url, body, 100)
        found = alternate(options.rounds, contenders, show)
        goal = "0.6 of pipelined"
        yield Measure(part=PART, name="messages relayed, confirmed", unit="/s", samples=found, goal=goal, digits=0)
        workers = consuming.contenders(broker.url, options.folder, count)
        taken = alternate(options.rounds, workers, show)
    goal = "not below dramatiq"
    yield Measure(part=PART, name="messages taken, nothing done", unit="/s", samples=taken, goal=goal, digits=0)


@contextlib.contextmanager
def _relay(database_url: str, rabbitmq_url: str) -> Iterator[Relay]:
    engine: Engine = build_engine(database_url, pool_size=connections_of(GATEWAY), application="nouba bench")
    relay = Relay(engine, rabbitmq_url, GATEWAY)
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()
        engine.dispose()


def _carry(relay: Relay, database_url: str, body: str, count: int) -> float:
    with contextlib.closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(
            "INSERT INTO outbox (service, message) SELECT %s, %s::jsonb FROM generate_series(1, %s)",
            (GATEWAY, body, count),
        )
        began = time.perf_counter()
        relay.wake()
        while not _is_empty(cursor):
            if time.perf_counter() - began > _MAX_SECONDS:
                raise click.ClickException(f"The relay did not empty the outbox within {_MAX_SECONDS} s.")
            time.sleep(0.01)
        return count / (time.perf_counter() - began)


def _is_empty(cursor: Cursor) -> bool:
    # over a connection that is there: a new one each time would be paid for by the relay
    cursor.execute("SELECT NOT EXISTS (SELECT FROM outbox)")
    return cursor.fetchone() == (True,)
