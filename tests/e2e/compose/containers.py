"""Drives docker compose as a user would, under a project name and on ports of its own."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from local.free_port import free_port

PROJECT = Path(__file__).parents[3]
PSQL = ("psql", "--dbname", "nouba", "--quiet", "--no-align", "--tuples-only")
SCALED = {"transcoder": 4, "payments-worker": 2}


def engine_or_reason() -> str | None:
    """None where a Docker engine with Compose answers, else why the containers cannot be tested."""
    asked = (["docker", "info"], ["docker", "compose", "version"])
    if shutil.which("docker") and not any(subprocess.run(command, capture_output=True).returncode for command in asked):
        return None
    return "There is no Docker engine with Compose v2: install and start one to test the containers."


class Containers:
    """One running system."""

    def __init__(self) -> None:
        self.name = f"nouba-test-{uuid.uuid4().hex[:8]}"
        gateway, stats, console, playback, s3, prometheus, grafana = (free_port() for _ in range(7))
        self.gateway_url = f"http://127.0.0.1:{gateway}"
        self.stats_url = f"http://127.0.0.1:{stats}"
        self.console_url = f"http://127.0.0.1:{console}"
        self.s3_url = f"http://127.0.0.1:{s3}"
        self.prometheus_url = f"http://127.0.0.1:{prometheus}"
        self.grafana_url = f"http://127.0.0.1:{grafana}"
        ours: dict[str, int | str] = {
            "NOUBA_GATEWAY_PORT": gateway,
            "NOUBA_STATS_PORT": stats,
            "NOUBA_CONSOLE_PORT": console,
        }
        ours |= {"NOUBA_PLAYBACK_PORT": playback}
        ours |= {"NOUBA_S3_PORT": s3, "NOUBA_PROMETHEUS_PORT": prometheus, "NOUBA_GRAFANA_PORT": grafana}
        # small, so that a test can fill it; with the providers of the demonstration
        ours |= {"NOUBA_GATEWAY_SPOOL_MAX_BYTES": 1024 * 1024, "NOUBA_PAYMENTS_MODE": "test"}
        given = {name: value for name, value in os.environ.items() if not name.startswith("NOUBA_")}
        self._environment = given | {name: str(value) for name, value in ours.items()}

    def up(self, timeout_seconds: float) -> None:
        """Everything, from nothing."""
        scales = [f"--scale={service}={count}" for service, count in SCALED.items()]
        self.run("--profile", "demo", "build", "--quiet", timeout_seconds=timeout_seconds)
        result = self.ask("up", "--wait", *scales, timeout_seconds=timeout_seconds)
        if result.returncode != 0:
            logs = self.ask("logs", "--no-color", "--tail", "20").stdout
            raise AssertionError(f"docker compose up failed:\n{result.stderr[-2000:]}\n{logs}")

    def down(self) -> None:
        """Nothing of it stays but the images."""
        self.run("--profile", "demo", "down", "--volumes", "--remove-orphans", "--timeout", "20", timeout_seconds=180)

    def run(self, *arguments: str, timeout_seconds: float = 120) -> str:
        """What `docker compose` prints; raises AssertionError with all it said where it fails."""
        result = self.ask(*arguments, timeout_seconds=timeout_seconds)
        assert result.returncode == 0, f"docker compose {' '.join(arguments)}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def ask(self, *arguments: str, timeout_seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """The same where failing is an answer too."""
        return subprocess.run(
            ["docker", "compose", "--project-name", self.name, *arguments],
            cwd=PROJECT, env=self._environment, capture_output=True, text=True, timeout=timeout_seconds,
        )  # fmt: skip

    def execute(
        self, service: str, *command: str, number: int | None = None, timeout_seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` in the container of `service`, in the first or the one with `number`.

        By Docker itself: `docker compose exec` reads all files first, which takes a multiple of most commands.
        """
        (container, *_) = self.ids(service, number)
        return subprocess.run(
            ["docker", "exec", container, *command], capture_output=True, text=True, timeout=timeout_seconds
        )

    def read(self, service: str, *command: str, timeout_seconds: float = 120) -> str:
        """What `command` prints in the container of `service`; raises AssertionError where it fails."""
        result = self.execute(service, *command, timeout_seconds=timeout_seconds)
        assert result.returncode == 0, f"{service}: {' '.join(command)}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def ids(self, service: str, number: int | None = None) -> list[str]:
        """The containers of `service`, also those that do not run, the first one first."""
        labels = [f"project={self.name}", f"service={service}", "oneoff=False"]
        labels += [f"container-number={number}"] if number else []
        filters = [f"--filter=label=com.docker.compose.{label}" for label in labels]
        # the newest comes first
        return _docker("ps", "--all", "--quiet", *filters).split()[::-1]

    @cached_property
    def services(self) -> list[str]:
        """The names of those that run, and of those that run once."""
        return self.run("config", "--services").split()

    @cached_property
    def token(self) -> str:
        """What the gateway's uploads and the statistics ask for."""
        return self.secret("gateway", "NOUBA_API_TOKENS")

    def secret(self, service: str, name: str) -> str:
        """A setting that only `service` may read."""
        return self.read(service, "cat", f"/run/secrets/{service}/{name}").strip()

    @cached_property
    def film(self) -> bytes:
        """Six seconds of a test card with a tone."""
        return self.film_of(6, "320x240")

    def film_of(self, seconds: int, size: str) -> bytes:
        """So many seconds of it at that size; a transcoder has the processors that others leave."""
        make = (
            f"ffmpeg -v error -y -f lavfi -i testsrc2=size={size}:rate=25 -f lavfi -i sine "
            f"-t {seconds} -c:v libx264 -preset ultrafast -c:a aac /tmp/film.mp4 && cat /tmp/film.mp4"
        )
        made = subprocess.run(
            ["docker", "exec", self.ids("transcoder")[0], "sh", "-c", make],
            check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        return made.stdout

    def python(self, service: str, program: str) -> subprocess.CompletedProcess[str]:
        """Run `program` in a container of `service`, as its process would."""
        return self.execute(service, "/opt/nouba/bin/python", "-c", program)

    def start(self, service: str) -> None:
        """Its containers alone: `docker compose start` would run the tasks at the start again, and wait for all."""
        self.start_containers(self.ids(service))

    def start_containers(self, ids: Sequence[str]) -> None:
        """Start those that were stopped or killed."""
        _docker("start", *ids)

    def stop_one(self, service: str) -> str:
        """Stop one of the containers of `service` as a scaler does, with the time it has to end; its id."""
        container = self.ids(service)[0]
        _docker("stop", container)
        return container

    def sql(self, role: str, statement: str) -> subprocess.CompletedProcess[str]:
        """Run `statement` as `role`."""
        return self.execute("postgres", *PSQL, "--username", role, "--set", "ON_ERROR_STOP=1", "--command", statement)

    def states(self) -> list[dict[str, Any]]:
        """Every container that is there, as `docker compose ps` has it."""
        return [json.loads(line) for line in self.run("ps", "--all", "--format", "json").splitlines()]

    def inspect(self, service: str) -> list[dict[str, Any]]:
        """What Docker knows of the containers of `service`."""
        ids = self.ids(service)
        return list(json.loads(_docker("inspect", *ids))) if ids else []

    def play(self) -> str:
        """The demonstration's own words; raises AssertionError where something did not end as it must."""
        return self.run("--profile", "demo", "run", "--rm", "demo", timeout_seconds=180)


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True, timeout=120).stdout
