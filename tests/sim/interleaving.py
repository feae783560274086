"""One interleaving: gateways, relays, workers, sweep and sealer over one school, until nothing is left to do."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

import dramatiq
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import CurrentMessage, Retries, ShutdownNotifications, TimeLimit
from sqlalchemy import Connection, Engine

from services.webhook_gateway import worker
from services.webhook_gateway.inbox.accept import accept, insert_each_once, read_entry
from services.webhook_gateway.inbox.postgres import ConnectionInbox
from services.webhook_gateway.integrity.hash_chain import HashChainWriter
from services.webhook_gateway.integrity.verify_chain import verify
from services.webhook_gateway.providers.generic import Generic
from services.webhook_gateway.settlement import batched
from services.webhook_gateway.settlement.batched import BatchedSettlement
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.settlement.postgres import open_store, read_events
from services.webhook_gateway.settlement.retry_due import enqueue_alone, release_due
from services.webhook_gateway.settlement.settle import Settlement
from shared.contracts.routes import GATEWAY
from shared.messaging.relay import BATCH_SIZE, QueueRelay
from shared.runtime.database import build_engine
from shared.runtime.failpoints import FailpointError
from tests.sim.broker import SimulatedBroker
from tests.sim.scheduler import Scheduler, pause, watch_statements, watched_failpoints
from tests.sim.school import PROVIDER, SECRET, School, Webhook, make_school
from tests.webhook_gateway.fakes import NoRateLimit

QUEUE = "webhooks"
#: Where settlements are announced, and where webhooks are.
QUEUES = ("default", QUEUE)
_LATER = "UPDATE webhook_events SET next_attempt_at = now() - interval '1 s' WHERE state = 'received'"
_WAITING = "SELECT count(*) FROM webhook_events WHERE state = 'received'"
#: The chain of seals is read from its beginning, which takes longer with each interleaving.
CHAIN_EVERY = 25
#: The sealer and the check of its chain read back over minutes: what was played before costs each of them time.
SEEDS_PER_DATABASE = 100
#: How often time passes at the end, until everything that waits has to be done.
ROUNDS = 12


class DifferenceError(AssertionError):
    """What came of it is not what has to."""


class _Inline:
    """A `Batcher` without its thread, which the scheduler could not stop: the caller runs the batch."""

    def __init__(self, do: Callable[[Sequence[Any]], Sequence[Any]], most: int) -> None:
        self._do, self._most = do, most

    def __call__(self, item: Any) -> Any:
        (outcome,) = self.each([item])
        return outcome

    def each(self, items: Sequence[Any]) -> Sequence[Any]:
        return [outcome for at in range(0, len(items), self._most) for outcome in self._do(items[at : at + self._most])]


@dataclass(frozen=True, slots=True)
class Servers:
    """A database and the connections to it: `engine` with transactions, `committing` with every text one."""

    engine: Engine
    committing: Engine
    monitor: Connection

    @classmethod
    @contextmanager
    def of(cls, database_url: str) -> "Iterator[Servers]":
        engine = build_engine(database_url, pool_size=16)
        committing = build_engine(database_url, pool_size=16, autocommit=True)
        unwatched = build_engine(database_url, pool_size=1, autocommit=True)
        watch_statements(engine)
        watch_statements(committing)
        try:
            with watched_failpoints(), closing(unwatched.connect()) as monitor:
                yield cls(engine, committing, monitor)
        finally:
            for one in (engine, committing, unwatched):
                one.dispose()


def run_seed(servers: Servers, seed: int) -> Scheduler:
    """Play the interleaving of `seed` to its end. Raises DifferenceError where the books are not right then, and what
    a process raised of itself; `trace` of the scheduler says what happened."""
    chance = random.Random(seed)
    first_user = seed * 10 + 1
    school = make_school(chance, first_user)
    scheduler = Scheduler(chance, servers.monitor)
    try:
        _Play(servers, school, scheduler, chance, seed).run()
    except BaseException as error:
        error.trace = scheduler.trace  # type: ignore[attr-defined]
        raise
    finally:
        scheduler.end()
    return scheduler


class _Play:
    def __init__(
        self, servers: Servers, school: School, scheduler: Scheduler, chance: random.Random, seed: int
    ) -> None:
        self._seed = seed
        self._servers, self._school, self._scheduler, self._chance = servers, school, scheduler, chance
        self._broker = SimulatedBroker(chance)
        self._provider = Generic([SECRET])
        self._is_over = False
        #: The relays that have something to do.
        self._woken: set[str] = set()
        self._answered: Counter[str] = Counter()
        self._actors = self._declare()

    def run(self) -> None:
        self._enroll()
        for number, webhooks in enumerate(self._deliveries()):
            self._add_gateway(f"gateway {number}", webhooks)
        for number in range(2):
            self._add_worker(f"worker {number}")
            self._add_relay(f"relay {number}")
        self._add_sweep(self._chance.randrange(4))
        self._add_sealer(self._chance.randrange(3))
        self._scheduler.run()
        self._check_nothing_waits()
        self._finish()
        self._check()

    # what runs

    def _deliveries(self) -> list[list[Webhook]]:
        """Each webhook once or twice, some of them together as concurrent requests are kept."""
        once = self._school.webhooks
        left = [*once, *(webhook for webhook in once if self._chance.random() < 0.3)]
        self._chance.shuffle(left)
        batches: list[list[Webhook]] = []
        while left:
            size = self._chance.choice((1, 1, 2, 3))
            batches.append(list({webhook.key: webhook for webhook in left[:size]}.values()))
            left = left[size:]
        return batches

    def _add_gateway(self, name: str, webhooks: list[Webhook]) -> None:
        def again() -> None:
            # no answer: the provider sends it again
            self._add_gateway(name, webhooks)

        def request() -> None:
            try:
                self._keep(webhooks)
            except FailpointError:
                again()
            else:
                self._answered.update(webhook.key for webhook in webhooks)
                self._wake_relays()

        self._scheduler.add(name, request, again)

    def _keep(self, webhooks: list[Webhook]) -> None:
        with self._servers.committing.connect() as connection:
            inbox = ConnectionInbox(connection)
            if len(webhooks) == 1:
                accept(self._provider, webhooks[0].request, inbox, lambda: None, NoRateLimit())
                return
            requests = [webhook.request for webhook in webhooks]
            entries = [read_entry(self._provider, one, self._provider.verify(one)) for one in requests]
            insert_each_once(sorted(entries, key=lambda entry: entry.dedupe_key), inbox)

    def _add_worker(self, name: str) -> None:
        def dead() -> None:
            self._broker.give_back(name)
            self._add_worker(name)

        def work() -> None:
            while True:
                pause("idle", lambda: self._is_over or self._broker.has(QUEUE))
                if self._is_over:
                    return
                delivery = self._broker.take(QUEUE, name)
                try:
                    self._handle(delivery.message, delivery.count)
                except FailpointError:
                    self._broker.fail(name)
                else:
                    pause("acknowledge")
                    self._broker.acknowledge(name)
                self._wake_relays()

        self._scheduler.add(name, work, dead)

    def _handle(self, message: dict[str, Any], delivered_before: int) -> None:
        middleware: Any = CurrentMessage()
        middleware.before_process_message(self._actors, SimpleNamespace(delivery_count=delivered_before))
        try:
            self._actors.get_actor(message["actor_name"]).fn(**message["kwargs"])
        finally:
            middleware.after_process_message(self._actors, None)

    def _add_relay(self, name: str) -> None:
        relays = [
            QueueRelay(self._servers.engine, self._broker, GATEWAY, queue)  # type: ignore[arg-type]
            for queue in QUEUES
        ]

        def publish() -> None:
            while True:
                pause("idle", lambda: self._is_over or name in self._woken)
                if self._is_over:
                    return
                self._woken.discard(name)
                for relay in relays:
                    try:
                        claimed, confirmed = relay.publish_batch(BATCH_SIZE)
                    except FailpointError:
                        self._woken.add(name)
                    else:
                        if confirmed < claimed:
                            self._woken.add(name)

        # a relay that begins takes what another left
        self._woken.add(name)
        self._scheduler.add(name, publish, partial(self._add_relay, name))

    def _add_sweep(self, rounds: int) -> None:
        """The sweep enqueues what is due, once in a while after a quarter of an hour has passed."""

        def sweep() -> None:
            for _ in range(rounds):
                pause("poll")
                if self._chance.random() < 0.3:
                    self._pass_time()
                if release_due(self._servers.engine):
                    self._wake_relays()

        self._scheduler.add("sweep", sweep, partial(self._add_sweep, rounds))

    def _add_sealer(self, rounds: int) -> None:
        def seal() -> None:
            with self._servers.engine.connect() as connection:
                writer = HashChainWriter(connection)
                for _ in range(rounds):
                    pause("poll")
                    with suppress(FailpointError):
                        writer.seal()

        self._scheduler.add("sealer", seal, partial(self._add_sealer, rounds))

    def _wake_relays(self) -> None:
        self._woken.update(("relay 0", "relay 1"))

    def _declare(self) -> dramatiq.Broker:
        servers = self._servers
        books = partial(open_store, servers.committing, timedelta(days=30))
        terms = WalletPolicy("DZD", ZoneInfo("Africa/Algiers"), now=lambda: datetime.now(UTC))
        read = partial(read_events, servers.committing)
        settlement = Settlement(lambda event_id: read([event_id])[0], books, {PROVIDER: self._provider}, {}, terms)
        broker = StubBroker(middleware=[Retries(), ShutdownNotifications(), TimeLimit()])
        with mock.patch.object(batched, "Batcher", _Inline):
            together = BatchedSettlement(settlement, settlement, settlement, read)
        worker.declare(broker, together, partial(enqueue_alone, servers.engine), lambda _queue: None)
        return broker

    # how it begins and ends

    def _enroll(self) -> None:
        for user_id, price in self._school.users.items():
            self._do("INSERT INTO users (id) OVERRIDING SYSTEM VALUE VALUES (%s)", user_id)
            if price is not None:
                self._do("INSERT INTO subscriptions (user_id, amount_minor) VALUES (%s, %s)", user_id, price)

    def _pass_time(self) -> None:
        # not by the monitor's connection: it may wait for a settlement
        with self._servers.committing.connect() as connection:
            connection.exec_driver_sql(_LATER)

    def _finish(self) -> None:
        """No more faults, and as much time as it takes."""
        self._scheduler.deaths_left, self._scheduler.error_rate = 0, 0.0
        self._broker.is_healthy = True
        for _ in range(ROUNDS):
            self._pass_time()
            release_due(self._servers.engine)
            self._wake_relays()
            self._scheduler.run()
            if not self._one(_WAITING):
                break
        self._is_over = True
        self._scheduler.run()
        with self._servers.engine.connect() as connection:
            HashChainWriter(connection).seal()

    def _check_nothing_waits(self) -> None:
        """Deaths cost no time: only a lost message and a fault of our own leave an untried event to a later sweep."""
        if not self._broker.lost and not any(what == "raises" for *_, what in self._scheduler.trace):
            self._expect("events that no worker tried", self._one(f"{_WAITING} AND attempts = 0"), 0)

    def _check(self) -> None:
        names = {webhook.key for webhook in self._school.webhooks}
        self._expect("webhooks without an answer", names - self._answered.keys(), set())
        self._expect("messages in the outbox", self._one("SELECT count(*) FROM outbox"), 0)
        references = [payment.reference for payment in self._school.payments]
        events = self._rows(
            "SELECT dedupe_key, state FROM webhook_events WHERE reference = ANY(%s) ORDER BY 1", references
        )
        self._expect("events", [key for key, _ in events], sorted(one.key for one in self._school.webhooks))
        self._expect("states of events", {state for _, state in events} - {"applied", "ignored"}, set())
        found = self._rows(
            "SELECT provider_reference, user_id, amount_minor, refunded_minor FROM payments"
            " WHERE provider_reference = ANY(%s) ORDER BY 1",
            references,
        )
        self._expect(
            "payments",
            found,
            sorted((one.reference, one.user_id, one.amount_minor, one.refunded_minor) for one in self._school.payments),
        )
        self._check_announcements(references)
        for user_id in self._school.users:
            self._check_user(user_id)
        if self._seed % CHAIN_EVERY == 0:
            report = verify(self._servers.engine, settled_after="0 seconds")
            self._expect("faults of the chain", [str(fault) for fault in report.faults], [])

    def _check_announcements(self, references: list[str]) -> None:
        announced: set[int] = set()
        published = [one.message for queue in self._broker.waiting.values() for one in queue]
        for message in [*published, *self._broker.lost]:
            announced.update(message["kwargs"].get("payment_ids", ()))
            if "payment_id" in message["kwargs"]:
                announced.add(message["kwargs"]["payment_id"])
        rows = self._rows("SELECT id FROM payments WHERE provider_reference = ANY(%s)", references)
        unannounced = {payment_id for (payment_id,) in rows} - announced
        self._expect("payments that were never announced to the statistics", unannounced, set())

    def _check_user(self, user_id: int) -> None:
        paid = self._school.paid_minor(user_id)
        active = self._one(
            "SELECT coalesce(sum(amount_minor), 0)::int FROM subscriptions WHERE user_id = %s AND status = 'active'",
            user_id,
        )
        balance = self._one("SELECT balance_minor FROM users WHERE id = %s", user_id)
        entries = self._one(
            "SELECT coalesce(sum(amount_minor), 0)::int FROM ledger_entries JOIN ledger_accounts a ON a.id = account_id"
            " WHERE a.kind = 'user_wallet' AND a.user_id = %s",
            user_id,
        )
        self._expect(f"balance of {user_id}", balance, paid - active)
        self._expect(f"entries of {user_id}", entries, paid - active)
        surely = self._school.is_surely_active(user_id)
        if self._school.users[user_id] is not None and surely is not None:
            self._expect(f"subscription of {user_id} runs", active > 0, surely)

    def _expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            raise DifferenceError(f"{what}: {found!r} instead of {expected!r}")

    def _do(self, statement: str, *values: object) -> None:
        self._servers.monitor.exec_driver_sql(statement, values)

    def _rows(self, query: str, *values: object) -> list[Any]:
        return [tuple(row) for row in self._servers.monitor.exec_driver_sql(query, values)]

    def _one(self, query: str, *values: object) -> Any:
        return self._rows(query, *values)[0][0]
