"""A payments worker to kill, the events it settles, and what must be true of the books afterwards."""

import hashlib
import hmac
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
from sqlalchemy import Engine, text

from services.webhook_gateway.inbox.accept import accept
from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.providers.base import Request
from services.webhook_gateway.providers.generic import Generic
from shared.runtime.database import build_engine
from tests.waiting import wait_until
from tests.webhook_gateway.fakes import NoRateLimit

SECRET = "the-secret-of-the-tests"
GENERIC = Generic([SECRET])


class Bench:
    """One school on real servers."""

    def __init__(self, database_url: str, rabbitmq_url: str, folder: Path) -> None:
        self.database_url = database_url
        self.engine: Engine = build_engine(database_url)
        self._inbox = PostgresInbox(build_engine(database_url, pool_size=1, autocommit=True))
        self._rabbitmq_url = rabbitmq_url
        self._folder = folder

    def add_user(self, *subscriptions_minor: int) -> int:
        """A user with pending subscriptions of these amounts."""
        with self.engine.begin() as connection:
            user_id = int(connection.scalar(text("INSERT INTO users DEFAULT VALUES RETURNING id")) or 0)
            for amount in subscriptions_minor:
                connection.execute(
                    text("INSERT INTO subscriptions (user_id, amount_minor) VALUES (:user_id, :amount)"),
                    {"user_id": user_id, "amount": amount},
                )
        return user_id

    def pay(self, user_id: int, amount_minor: int, **reported: object) -> int:
        """A signed webhook of a paid transaction, kept as the gateway keeps it; returns the event's id."""
        body = {
            "transaction_id": str(uuid.uuid4()),
            "amount": amount_minor,
            "currency": "DZD",
            "status": "paid",
            "user_id": user_id,
            **reported,
        }
        raw = json.dumps(body).encode()
        signature = hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
        request = Request("POST", {"x-signature": signature}, raw)
        event_id = accept(GENERIC, request, self._inbox, lambda: None, NoRateLimit()).event_id
        assert event_id is not None
        return event_id

    @contextmanager
    def worker(self, failpoints: str = "") -> Iterator["subprocess.Popen[bytes]"]:
        """`nouba gateway worker`, as a supervisor starts it; killed at the end if it still runs."""
        environment = {
            **os.environ,
            "NOUBA_DATABASE_URL": self.database_url,
            "NOUBA_RABBITMQ_URL": self._rabbitmq_url,
            "NOUBA_PSP_GENERIC_SECRETS": SECRET,
            "NOUBA_FAILPOINTS": failpoints,
        }
        with (self._folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [Path(sys.executable).with_name("nouba"), "gateway", "worker"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def settled(self) -> int:
        """How many events are applied."""
        return self.scalar("SELECT count(*) FROM webhook_events WHERE state = 'applied'")

    def scalar(self, query: str, **values: object) -> int:
        with self.engine.connect() as connection:
            return int(connection.scalar(text(query), values) or 0)

    def work_until_settled(self, count: int) -> None:
        """A sound worker settles what is left, and stops in good order; nothing waits anywhere afterwards."""
        with self.worker() as worker:
            self.finish(worker, count)

    def finish(self, worker: "subprocess.Popen[bytes]", count: int) -> None:
        """`worker` settles what is left, and stops in good order; nothing waits anywhere afterwards."""
        self.wait_until_settled(count)
        self._wait(lambda: self._declared("webhooks").consumer_count > 0, 30.0, "the worker has started")
        worker.terminate()
        assert worker.wait(30) == 0
        if self.waiting_messages():
            # a message that was sent twice came back unread: there is nothing left to do for it
            self.work_until_settled(count)

    def wait_until_settled(self, count: int, timeout_seconds: float = 30.0) -> None:
        """All events are applied, what they enqueued has been reported, and no message waits for a worker."""
        self._wait(lambda: self.settled() == count, timeout_seconds, f"{count} events are applied")
        self._wait(lambda: self.scalar("SELECT count(*) FROM outbox") == 0, timeout_seconds, "the outbox is empty")
        self._wait(lambda: self.waiting_messages() == 0, timeout_seconds, "the queues are empty")

    def waiting_messages(self) -> int:
        """The messages of the worker's own queues that no consumer holds."""
        return sum(self.ready(name) for name in ("webhooks", "webhooks.DQ", "webhooks.XQ"))

    def ready(self, queue: str) -> int:
        """How many messages of `queue` no consumer holds."""
        return int(self._declared(queue).message_count)

    def _declared(self, queue: str) -> Any:
        # asked over AMQP: the management API's numbers of a quorum queue are seconds old
        with pika.BlockingConnection(pika.URLParameters(self._rabbitmq_url)) as connection:
            return connection.channel().queue_declare(queue, passive=True).method

    def assert_booked_once(self, event_id: int, user_id: int, balance_minor: int) -> None:
        """The event has one posting, the wallet holds what it should, and the user's subscriptions are active."""
        postings = (
            "SELECT count(*) FROM ledger_transactions WHERE event_id = :event_id AND kind IN ('payment', 'refund')"
        )
        assert self.scalar(postings, event_id=event_id) == 1
        assert self.scalar("SELECT balance_minor FROM users WHERE id = :id", id=user_id) == balance_minor
        pending = "SELECT count(*) FROM subscriptions WHERE user_id = :id AND status <> 'active'"
        assert self.scalar(pending, id=user_id) == 0

    def assert_books_balance(self) -> None:
        """Every entry has its counterpart, and every balance is the sum of its wallet's entries."""
        assert self.scalar("SELECT sum(amount_minor) FROM ledger_entries") == 0
        drifted = """
            SELECT count(*) FROM users WHERE balance_minor <> (
                SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries
                JOIN ledger_accounts ON ledger_accounts.id = account_id WHERE user_id = users.id)
        """
        assert self.scalar(drifted) == 0

    def _wait(self, condition: Callable[[], bool], timeout_seconds: float, what: str) -> None:
        log = self._folder / "worker.log"
        try:
            wait_until(condition, timeout_seconds, f"not: {what}")
        except AssertionError as error:
            error.add_note(log.read_text()[-4000:] if log.exists() else "no worker was started")
            raise
