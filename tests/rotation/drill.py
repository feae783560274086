"""The drill: servers, processes and load; each secret gets a successor, is replaced, and is refused at last."""

import contextlib
import secrets
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final
from urllib.parse import urlsplit

import httpx
import psycopg2
from botocore.exceptions import BotoCoreError, ClientError

from local.free_port import free_port
from local.make_bucket import Bucket
from local.postgres import Postgres
from local.psp.signed_webhooks import Payment, signed
from local.rabbitmq import RabbitMq
from local.s3 import BUCKET, S3
from tests.waiting import wait_until
from tests.webhook_gateway.processes import NOUBA, SECRETS, Database, RunningGateway, RunningWorker

AMOUNT_MINOR: Final = 1_000
#: What senders wait before the next webhook, and before they send one again that was not taken.
PAUSE_SECONDS: Final = 0.05
RETRY_SECONDS: Final = 0.2


@dataclass
class Sent:
    """What the load has done: webhooks that were answered 200, and lessons whose upload was completed."""

    webhooks: int = 0
    uploads: int = 0
    retries: int = 0
    lock: Lock = field(default_factory=Lock)


@dataclass(frozen=True)
class Rotated:
    """One secret: how long its rotation took, and what went through meanwhile."""

    secret: str
    seconds: float
    webhooks: int
    uploads: int


class Drill:
    """A system of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._postgres = Postgres(folder / "postgres")
        self._rabbitmq = RabbitMq(folder / "rabbitmq")
        self._s3 = S3(folder / "s3")
        self.sent = Sent()
        self._stop = Event()
        self._port = str(free_port())
        self.url = f"http://127.0.0.1:{self._port}"
        self._provider_secret = SECRETS["generic"]
        self._token = secrets.token_hex(20)
        self._settings: dict[str, str] = {}
        self._gateway: RunningGateway | None = None
        self._worker: RunningWorker | None = None
        self._starts = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Servers, processes and load; at the end nothing of them remains."""
        with contextlib.ExitStack() as stack:
            for server in (self._postgres, self._rabbitmq, self._s3):
                stack.callback(server.destroy)
                server.start()
            self._prepare()
            stack.callback(self._kill)
            self._start_gateway()
            self._start_worker()
            loads = [Thread(target=load, daemon=True) for load in (self._send_webhooks, self._upload_lessons)]
            for load in loads:
                load.start()
            try:
                yield
            finally:
                self._stop.set()
                for load in loads:
                    load.join(30)

    def rotations(self) -> Iterator[Rotated]:
        """Rotate one secret after the other."""
        for name, rotate in {
            "provider": self._rotate_provider,
            "API token": self._rotate_token,
            "database": self._rotate_database,
            "RabbitMQ": self._rotate_rabbitmq,
            "S3": self._rotate_s3,
        }.items():
            before, began_at = (self.sent.webhooks, self.sent.uploads), time.monotonic()
            rotate()
            self._wait_for_load()
            yield Rotated(
                name,
                time.monotonic() - began_at,
                self.sent.webhooks - before[0],
                self.sent.uploads - before[1],
            )

    def assert_nothing_is_lost(self) -> None:
        """Every webhook that was answered is booked once, and every upload has enqueued its message."""
        self._stop.set()
        database = Database(self._postgres.url)
        unsettled = "SELECT count(*) FROM webhook_events WHERE state = 'received'"
        wait_until(lambda: database.rows(unsettled) == [(0,)], 60, "events still wait")
        states = dict(database.rows("SELECT state, count(*) FROM webhook_events GROUP BY state"))
        assert set(states) == {"applied"}, states
        # one that was under way when the drill ended may be kept and not counted
        booked, distinct = database.rows("SELECT count(*), count(DISTINCT provider_reference) FROM payments")[0]
        assert booked == distinct == states["applied"]
        assert self.sent.webhooks <= booked <= self.sent.webhooks + 1
        (balance,) = database.rows("SELECT balance_minor FROM users")[0]
        (entries,) = database.rows("SELECT sum(amount_minor) FROM ledger_entries WHERE amount_minor > 0")[0]
        assert balance == entries == booked * AMOUNT_MINOR
        waiting = "SELECT count(*) FROM outbox"
        wait_until(lambda: database.rows(waiting) == [(0,)], 60, "the relay has not published everything")
        # nobody takes them here: each upload is a message to the transcoder
        queue = f"{self._rabbitmq.management_url}/api/queues/%2F/videos"
        wait_until(
            lambda: httpx.get(queue).json().get("messages", 0) >= self.sent.uploads,
            60,
            "the message of an upload is lost",
        )

    def _prepare(self) -> None:
        administrator = Database(self._postgres.url)
        self._migrate()
        administrator.execute("CREATE ROLE drill LOGIN SUPERUSER PASSWORD 'the-first'")
        administrator.execute("INSERT INTO users (id, name) VALUES (1, 'a')")
        administrator.execute("INSERT INTO courses (id, title) SELECT n, 'c' FROM generate_series(1, 500) AS n")
        self._add_rabbitmq_user("drill-1", "the-first")
        self._settings = {
            "NOUBA_DATABASE_URL": self._database_url("the-first"),
            "NOUBA_RABBITMQ_URL": self._rabbitmq_url("drill-1", "the-first"),
            "NOUBA_PSP_GENERIC_SECRETS": self._provider_secret,
            "NOUBA_API_TOKENS": self._token,
            "NOUBA_GATEWAY_PORT": self._port,
            "NOUBA_GATEWAY_SPOOL_DIR": str(self._folder / "spool"),
            "NOUBA_S3_BUCKET": BUCKET,
            "NOUBA_S3_ENDPOINT_URL": self._s3.url,
            "AWS_ACCESS_KEY_ID": self._s3.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self._s3.secret_access_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def _migrate(self) -> None:
        environment = {"PATH": str(NOUBA.parent), "NOUBA_DATABASE_URL": self._postgres.url}
        subprocess.run([NOUBA, "migrate"], env=environment, check=True, capture_output=True)

    # Each rotation: the successor is valid beside the old one, everybody uses it, the old one is refused.

    def _rotate_provider(self) -> None:
        old, new = self._provider_secret, secrets.token_hex(20)
        self._restart_gateway(NOUBA_PSP_GENERIC_SECRETS=f"{old},{new}")
        self._provider_secret = new
        self._restart_worker(NOUBA_PSP_GENERIC_SECRETS=new)
        self._wait_for_load()
        self._restart_gateway(NOUBA_PSP_GENERIC_SECRETS=new)
        assert self._send(self._payment(), old).status_code == 401

    def _rotate_token(self) -> None:
        old, new = self._token, secrets.token_hex(20)
        self._restart_gateway(NOUBA_API_TOKENS=f"{old},{new}")
        self._token = new
        self._wait_for_load()
        self._restart_gateway(NOUBA_API_TOKENS=new)
        assert self._announce(499, old).status_code == 401

    def _rotate_database(self) -> None:
        # connections that are open stay; webhooks that need a new one are spooled until the restart
        Database(self._postgres.url).execute("ALTER ROLE drill PASSWORD 'the-second'")
        for restart in (self._restart_gateway, self._restart_worker):
            restart(NOUBA_DATABASE_URL=self._database_url("the-second"))
        with contextlib.suppress(psycopg2.OperationalError):
            psycopg2.connect(self._database_url("the-first")).close()
            raise AssertionError("the database takes the old password")

    def _rotate_rabbitmq(self) -> None:
        self._add_rabbitmq_user("drill-2", "the-second")
        for restart in (self._restart_gateway, self._restart_worker):
            restart(NOUBA_RABBITMQ_URL=self._rabbitmq_url("drill-2", "the-second"))
        self._manage("DELETE", "users/drill-1")
        refused = httpx.get(f"{self._rabbitmq.management_address}/api/whoami", auth=("drill-1", "the-first"))
        assert refused.status_code == 401

    def _rotate_s3(self) -> None:
        old = (self._s3.access_key_id, self._s3.secret_access_key)
        self._s3.add_key()
        self._restart_gateway(
            AWS_ACCESS_KEY_ID=self._s3.access_key_id, AWS_SECRET_ACCESS_KEY=self._s3.secret_access_key
        )
        self._wait_for_load()
        self._s3.drop_old_keys()
        with contextlib.suppress(ClientError, BotoCoreError):
            Bucket(self._s3.url, BUCKET, *old).probe()
            raise AssertionError("S3 takes the old key")

    # The load.

    def _send_webhooks(self) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            payment = self._payment()
            # as a provider does: until it is answered 200
            if self._until(partial(self._deliver, payment)):
                self._count("webhooks")

    def _upload_lessons(self) -> None:
        for course in range(1, 499):
            if self._stop.wait(RETRY_SECONDS):
                return
            if self._until(partial(self._upload, course)):
                self._count("uploads")

    def _upload(self, course: int) -> bool:
        announced = self._announce(course, self._token)
        if announced.status_code != 201:
            return False
        ticket = announced.json()
        kept = httpx.put(ticket["url"], content=b"a lesson", headers=ticket["headers"], timeout=10)
        if kept.status_code != 200:
            return False
        done = {"upload_id": ticket["upload_id"], "key": ticket["key"], "parts": []}
        headers = {"Authorization": f"Bearer {self._token}"}
        complete = httpx.post(f"{self.url}/api/courses/{course}/video/complete", json=done, headers=headers, timeout=10)
        return complete.status_code == 202

    def _announce(self, course: int, token: str) -> httpx.Response:
        body = {"filename": "lesson.mp4", "size": 8, "content_type": "video/mp4"}
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.post(f"{self.url}/api/courses/{course}/video", json=body, headers=headers, timeout=10)

    def _until(self, is_done: Callable[[], bool]) -> bool:
        while not self._stop.is_set():
            with contextlib.suppress(httpx.TransportError):
                if is_done():
                    return True
            self._count("retries")
            self._stop.wait(RETRY_SECONDS)
        return False

    def _count(self, what: str) -> None:
        with self.sent.lock:
            setattr(self.sent, what, getattr(self.sent, what) + 1)

    def _wait_for_load(self) -> None:
        """Both kinds of load have gone through since now."""
        before = (self.sent.webhooks, self.sent.uploads)
        # one of each may have begun before
        wait_until(
            lambda: self.sent.webhooks > before[0] + 1 and self.sent.uploads > before[1] + 1,
            60,
            "the load does not go through",
        )

    def _payment(self) -> Payment:
        return Payment(reference=uuid.uuid4().hex, amount_minor=AMOUNT_MINOR, user_id=1)

    def _deliver(self, payment: Payment) -> bool:
        return self._send(payment, self._provider_secret).status_code == 200

    def _send(self, payment: Payment, secret: str) -> httpx.Response:
        delivery = signed("generic", [secret], payment, "paid")
        return httpx.post(
            f"{self.url}{delivery.path}", headers=dict(delivery.headers), content=delivery.body, timeout=10
        )

    # The processes.

    def _start_gateway(self) -> None:
        self._starts += 1
        given = {**self._settings}
        urls = (given.pop("NOUBA_DATABASE_URL"), given.pop("NOUBA_RABBITMQ_URL"))
        self._gateway = RunningGateway(self._folder / f"gateway-{self._starts}", *urls, **given)

    def _start_worker(self) -> None:
        self._starts += 1
        names = ("NOUBA_PSP_GENERIC_SECRETS",)
        urls = (self._settings["NOUBA_DATABASE_URL"], self._settings["NOUBA_RABBITMQ_URL"])
        given = {name: self._settings[name] for name in names}
        self._worker = RunningWorker(self._folder / f"worker-{self._starts}", *urls, **given)

    def _restart_gateway(self, **settings: str) -> None:
        assert self._gateway is not None
        self._settings |= settings
        self._gateway.stop()
        self._start_gateway()

    def _restart_worker(self, **settings: str) -> None:
        assert self._worker is not None
        self._worker.stop(60)
        before, self._settings = self._settings, {**self._settings, **settings}
        self._start_worker()
        # a setting of both is the gateway's own to change
        self._settings = before

    def _kill(self) -> None:
        for process in (self._gateway, self._worker):
            if process is not None:
                process.kill()

    def _database_url(self, password: str) -> str:
        parts = urlsplit(self._postgres.url)
        return f"postgresql://drill:{password}@{parts.hostname}:{parts.port}/nouba"

    def _rabbitmq_url(self, user: str, password: str) -> str:
        parts = urlsplit(self._rabbitmq.url)
        return f"amqp://{user}:{password}@{parts.hostname}:{parts.port}/%2F"

    def _add_rabbitmq_user(self, user: str, password: str) -> None:
        self._manage("PUT", f"users/{user}", {"password": password, "tags": "management"})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._manage("PUT", f"permissions/%2F/{user}", everything)

    def _manage(self, method: str, path: str, body: dict[str, str] | None = None) -> None:
        httpx.request(method, f"{self._rabbitmq.management_url}/api/{path}", json=body, timeout=10).raise_for_status()
