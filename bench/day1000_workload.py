"""Lists what the part `day1000` times: pages, periodic reads, commands, and a payment's statements."""

import hashlib
import hmac
import itertools
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import Engine, text
from werkzeug.test import Client

from bench.periodic_reads import READS, ZONE
from services.console.app import create_app as create_console
from services.console.settings import ConsoleSettings
from services.stats.api.app import create_app as create_stats
from services.stats.api.cache_refresher import CacheRefresher
from services.stats.api.settings import ApiSettings
from services.stats.api.snapshot_cache import refresh
from services.stats.rows.reader import RowReader
from services.stats.sections.base import Rules
from services.webhook_gateway.app import create_app as create_gateway
from services.webhook_gateway.inbox.accept import accept
from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.providers.base import Request
from services.webhook_gateway.providers.generic import Generic
from services.webhook_gateway.settings import GatewaySettings
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.worker import _settlement
from shared.cli import main
from shared.runtime.database import build_engine

Do = Callable[[], object]

_SECRET = "the-secret-of-the-benchmark"  # noqa: S105 - nobody else listens
_TOKEN = "a-token-of-the-benchmark-of-32-characters"  # noqa: S105 - likewise
#: Nobody listens there: the pages show what the database says.
_NO_RABBITMQ = "amqp://nobody:nothing@127.0.0.1:1/"
PAGE_MS = 200.0
ROUND_MS = 50.0
#: A read that is done once a minute or more seldom may take this share of one core.
RARE_SECONDS, RARE_SHARE = 60.0, 0.005
COMMAND_MS = 1000.0


def _given(url: str, **more: str) -> dict[str, Any]:
    """Settings of any service."""
    return {"database_url": url, "rabbitmq_url": _NO_RABBITMQ, **more}


@dataclass(frozen=True, slots=True)
class Timed:
    """One thing to do, in any of the two installations. `prepare` makes it, at a cost that is not counted."""

    kind: str
    name: str
    prepare: Callable[["Installation"], Do]
    #: Milliseconds: of the answer's p95 for a page or a command, of the database's work for a periodic read.
    most_ms: float | None = None


class Installation:
    """One database, and the applications over it."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.url = url
        self.engine = self._engine(stack, autocommit=False)
        self.committing = self._engine(stack, autocommit=True)
        with self.engine.connect() as connection:
            #: Of a row of each kind that is neither the first nor the last.
            self.ids: dict[str, int] = {
                table: int(connection.scalar(text(f"SELECT max(id) * 3 / 4 FROM {table}")) or 1)  # noqa: S608
                for table in ("users", "payments", "webhook_events", "dead_letters", "courses", "webhook_endpoints")
            }
            job = "SELECT id FROM transcode_jobs WHERE state = 'completed' ORDER BY id DESC LIMIT 1 OFFSET 20"
            self.ids["transcode_jobs"] = int(connection.scalar(text(job)) or 1)
            self.users = int(connection.scalar(text("SELECT max(id) FROM users")) or 1)
            self.day = str(connection.scalar(text("SELECT max(day) FROM daily_stats_newest")))
        self._clients: dict[str, tuple[Client, Mapping[str, str]]] = {}

    def page(self, site: str, path: str) -> Do:
        """Get `path`, with the numbers of this installation in it."""
        client, headers = self._client(site)
        filled = path.format(day=self.day, **self.ids)

        def get() -> None:
            answer = client.get(filled, headers=headers)
            if answer.status_code != 200:
                raise click.ClickException(f"{site} answered {filled} with {answer.status_code}.")

        return get

    def command(self, line: str) -> Do:
        """Run `nouba` in this process: the start of Python is not counted."""
        words = line.format(day=self.day, **self.ids).split()

        def run() -> None:
            done = CliRunner().invoke(
                main, words, env={"NOUBA_DATABASE_URL": self.url, "NOUBA_RABBITMQ_URL": _NO_RABBITMQ}
            )
            if done.exception is not None and not isinstance(done.exception, SystemExit):
                raise done.exception
            # the doctor fails where something is wrong, such as no RabbitMQ
            if done.exit_code != 0 and words[0] != "doctor":
                raise click.ClickException(f"`nouba {line}` failed: {done.output[-1000:].strip()}")

        return run

    def _engine(self, stack: ExitStack, *, autocommit: bool) -> Engine:
        engine = build_engine(self.url, pool_size=6, application="nouba bench", autocommit=autocommit)
        stack.callback(engine.dispose)
        return engine

    def _client(self, site: str) -> tuple[Client, Mapping[str, str]]:
        if site not in self._clients:
            self._clients[site] = getattr(self, f"_visit_{site}")()
        return self._clients[site]

    def _visit_console(self) -> tuple[Client, Mapping[str, str]]:
        settings = ConsoleSettings(**_given(self.url, console_operator_tokens=f"bench:{_TOKEN}"))
        app = create_console(settings)
        app.config["WTF_CSRF_ENABLED"] = False
        client = app.test_client()
        client.post("/enter", data={"token": _TOKEN})
        return client, {}

    def _visit_school(self) -> tuple[Client, Mapping[str, str]]:
        settings = GatewaySettings(**_given(self.url, api_tokens=_TOKEN))
        app: Flask = create_gateway(settings, {}, self.committing, lambda _queue: None, {})
        return app.test_client(), {"Authorization": f"Bearer {_TOKEN}"}

    def _visit_stats(self) -> tuple[Client, Mapping[str, str]]:
        settings = ApiSettings(**_given(self.url))
        watch = CacheRefresher(partial(refresh, self.committing))
        watch.refresh()
        reader = RowReader(self.engine, Rules("DZD", settings.stats_grace_days), ZONE)
        return create_stats(settings, watch, reader).test_client(), {}


_CONSOLE = (
    "/",
    "/queues",
    "/dead",
    "/dead?state=replayed",
    "/dead?state=discarded&queue=videos",
    "/dead?error=closed",
    "/dead/{dead_letters}",
    "/webhooks",
    "/webhooks?state=undecided",
    "/webhooks?state=applied",
    "/webhooks?state=quarantined",
    "/webhooks?provider=satim&state=ignored",
    "/webhooks?provider=satim&since=7d",
    "/webhooks?reason=amount",
    "/webhooks/{webhook_events}",
    "/payments",
    "/payments?state=pending",
    "/payments?state=canceled",
    "/payments?words=ORDER-{payments}",
    "/payments/{payments}",
    "/wallets/{users}",
    "/lessons",
    "/lessons?state=failed",
    "/lessons/{transcode_jobs}",
    "/days",
    "/audit",
    "/endpoints",
    "/endpoints/{webhook_endpoints}",
    "/endpoints/{webhook_endpoints}?state=failed",
)
_SCHOOL = (
    "/api/v1/payments",
    "/api/v1/payments?user_id={users}",
    "/api/v1/payments?status=disputed",
    "/api/v1/payments?order_number=ORDER-{payments}",
    "/api/v1/payments/{payments}",
    "/api/v1/users/{users}/wallet",
    "/api/v1/users/{users}/subscriptions",
    "/api/v1/courses/{courses}/video",
    "/api/v1/webhook-events",
    "/api/v1/webhook-events?state=undecided",
    "/api/v1/webhook-events/{webhook_events}",
    "/api/v1/dead-letters",
    "/api/v1/dead-letters?state=replayed",
    "/api/v1/operator-acts",
    "/api/v1/webhook-endpoints",
    "/api/v1/webhook-endpoints/{webhook_endpoints}/deliveries",
)
_STATS = (
    "/",
    "/api/stats/latest",
    "/api/stats/{day}",
    "/api/stats?from={day}&to={day}",
    "/api/stats/{day}/rows?number=revenue.net",
)
_COMMANDS = (
    "doctor --json",
    "dead list --json",
    "dead list --state any --json",
    "dead show {dead_letters} --json",
    "webhooks list --json",
    "webhooks list --state undecided --json",
    "webhooks show {webhook_events} --json",
    "payments find ORDER-{payments} --json",
    "payments find --status pending --json",
    "payments show {payments} --json",
    "payments paid-twice --json",
    "wallet {users} --json",
    "endpoints list --json",
    "endpoints deliveries {webhook_endpoints} --json",
    "transcoder jobs --json",
    "stats show {day} --json",
    "stats rows revenue.net {day} --json",
    "ledger head --json",
    "retention show --json",
    "api-tokens list --json",
)


def everything() -> Iterator[Timed]:
    """All of it, the pages first."""
    for site, paths in (("console", _CONSOLE), ("school", _SCHOOL), ("stats", _STATS)):
        for path in paths:
            yield Timed(f"{site} page", path, partial(Installation.page, site=site, path=path), PAGE_MS)
    for name, read in READS.items():
        rare_ms = 1000 * RARE_SHARE * read.every_seconds if read.every_seconds >= RARE_SECONDS else 0.0
        yield Timed("periodic", name, partial(_periodic, name), max(ROUND_MS, rare_ms))
    for line in _COMMANDS:
        yield Timed("command", f"nouba {line}", partial(Installation.command, line=line), COMMAND_MS)
    yield Timed("hot", "accept a webhook", _accepting)
    yield Timed("hot", "settle an event of a new payment", _settling)


def _periodic(name: str, at: Installation) -> Do:
    return READS[name].prepare(at.engine)


class _Nobody:
    """Signed requests are not counted."""

    def count_refusal(self, provider: str) -> None:
        raise AssertionError(f"a request of {provider} was not believed")

    def count_hint(self, provider: str, reference: str | None, client: str) -> None:
        raise AssertionError(f"a request of {provider} was taken for a hint")


def _accepting(at: Installation) -> Callable[[], int]:
    inbox, psp = PostgresInbox(at.committing), Generic([_SECRET])
    # of all ages: the first ones have paid the most often
    users = itertools.cycle(range(at.users // 200, at.users, max(1, at.users // 200)))

    def accept_one() -> int:
        body = {"transaction_id": str(uuid.uuid4()), "amount": 100_000, "currency": "DZD", "status": "paid"}
        raw = json.dumps(body | {"user_id": next(users)}).encode()
        signature = hmac.new(_SECRET.encode(), raw, hashlib.sha256).hexdigest()
        request = Request("POST", {"x-signature": signature}, raw)
        kept = accept(psp, request, inbox, lambda: None, _Nobody()).event_id
        assert kept is not None
        return kept

    return accept_one


def _settling(at: Installation) -> Do:
    from datetime import UTC, datetime

    settings = GatewaySettings(**_given(at.url))
    terms = WalletPolicy("DZD", ZONE, lambda: datetime.now(UTC))
    settlement = _settlement(at.committing, at.committing, settings, {"generic": Generic([_SECRET])}, {}, terms)
    accept_one = _accepting(at)
    waiting = iter([accept_one() for _ in range(40)])
    return lambda: settlement.settle([next(waiting)])
