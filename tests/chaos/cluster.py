"""The system under test: its servers and every one of its processes, each of which can be struck and comes back."""

import contextlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import psutil

from local.free_port import HOST, free_port
from local.postgres import Postgres
from local.rabbitmq import RabbitMq
from local.s3 import BUCKET, S3
from shared.runtime.migrations import migrate
from tests.chaos.events import SECRETS
from tests.chaos.receiver import TIMEOUT_SECONDS
from tests.chaos.targets import Command, ServerTarget, Target
from tests.queues import wait_until_crash_safe
from tests.waiting import wait_until

TIMEZONE = "Africa/Algiers"
TOKEN = "token-of-the-chaos"
QUEUES = ("webhooks", "videos", "default", "events")


class House:
    """All of it in one folder. `gateway_ports` are those of the two gateways."""

    def __init__(self, folder: Path, more_settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.postgres, self.rabbitmq, self.s3 = (
            Postgres(folder / "postgres"),
            RabbitMq(folder / "rabbitmq"),
            S3(folder / "s3"),
        )
        self.gateway_ports = [free_port(), free_port()]
        self.stats_port = free_port()
        self.metrics_ports: dict[str, int] = {}
        self._more_settings = more_settings
        self.commands: list[Command] = []
        self.servers: list[Target] = [
            ServerTarget("postgresql", self.postgres),
            ServerTarget("rabbitmq", self.rabbitmq),
            ServerTarget("s3", self.s3),
        ]

    @property
    def targets(self) -> list[Target]:
        return [*self.servers, *self.commands]

    def open(self) -> None:
        """Start the servers, then all processes; returns when they work."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda target: target.start(), self.servers))
        migrate(self.postgres.url)
        (self.folder / "logs").mkdir()
        self.commands = self._make_commands()
        for command in self.commands:
            command.start()
        for port in self.gateway_ports:
            wait_until(partial(self._answers, port), 60, f"the gateway on port {port} does not answer")
        # until a broker's list of quorum queues is on its disk, a killed one forgets them
        for queue in QUEUES:
            wait_until_crash_safe(self.rabbitmq, self.rabbitmq.url, queue, f"{queue}.XQ")

    def close(self) -> None:
        """End everything and remove what the servers kept; the logs stay."""
        for target in self.targets:
            for process in target.family():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()
        for command in self.commands:
            command.kill()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.destroy(), (self.postgres, self.rabbitmq, self.s3)))

    def _answers(self, port: int) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://{HOST}:{port}/healthz", timeout=5).status_code == 200
        return False

    def _make_commands(self) -> list[Command]:
        roles = {
            "gateway-1": ("gateway", "serve"),
            "gateway-2": ("gateway", "serve"),
            "payments-worker-1": ("gateway", "worker"),
            "payments-worker-2": ("gateway", "worker"),
            "events-worker": ("gateway", "events-worker"),
            "transcoder": ("transcoder", "worker"),
            "stats-worker": ("stats", "worker"),
            "stats-scheduler": ("stats", "scheduler"),
            "stats-api": ("stats", "api"),
        }
        shared = self._settings()
        commands = []
        for name, arguments in roles.items():
            self.metrics_ports[name] = free_port()
            own = {"NOUBA_METRICS_PORT": str(self.metrics_ports[name])}
            if name.startswith("gateway"):
                own |= {"NOUBA_GATEWAY_PORT": str(self.gateway_ports[int(name[-1]) - 1])}
                # what a killed gateway had put aside on its disk has to be found by the next one
                own |= {"NOUBA_GATEWAY_SPOOL_DIR": str(self.folder / f"spool-{name}")}
            commands.append(Command(name, arguments, {**shared, **own}, self.folder / "logs"))
        return commands

    def _settings(self) -> dict[str, str]:
        return {
            "NOUBA_DATABASE_URL": self.postgres.url,
            "NOUBA_RABBITMQ_URL": self.rabbitmq.url,
            "NOUBA_S3_ENDPOINT_URL": self.s3.url,
            "NOUBA_S3_BUCKET": BUCKET,
            "AWS_ACCESS_KEY_ID": self.s3.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret_access_key,
            "NOUBA_TIMEZONE": TIMEZONE,
            "NOUBA_API_TOKENS": TOKEN,
            **{f"NOUBA_PSP_{name.upper()}_SECRETS": secret for name, secret in SECRETS.items() if name != "satim"},
            "NOUBA_PAYMENTS_MODE": "test",
            "NOUBA_PSP_SATIM_USERNAME": "school",
            "NOUBA_PSP_SATIM_PASSWORD": "bank-password",
            "NOUBA_PSP_SATIM_CHECKSUM_MODE": "hmac_sha256",
            "NOUBA_PSP_SATIM_CHECKSUM_KEYS": SECRETS["satim"],
            # the receiver is on this machine, and late at times
            "NOUBA_EVENTS_ALLOW_PRIVATE": "true",
            "NOUBA_EVENTS_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
            "NOUBA_STATS_PORT": str(self.stats_port),
            "NOUBA_STATS_SCHEDULE": "* * * * *",
            "NOUBA_TRANSCODER_PRESET": "ultrafast",
            "NOUBA_TRANSCODER_CHUNK_SECONDS": "6",
            "NOUBA_TRANSCODER_LEASE_SECONDS": "3",
            "NOUBA_TRANSCODER_MAX_ATTEMPTS": "1000",
            "NOUBA_TRANSCODER_RETRY_SECONDS": "0.2",
            "NOUBA_TRANSCODER_SCRATCH_DIR": str(self._scratch()),
            "NOUBA_TRANSCODER_SCRATCH_RESERVE_BYTES": "1000000",
            **self._more_settings,
        }

    def _scratch(self) -> Path:
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        return scratch
