"""The containers of deploy/ha, and what can be done to a node."""

import json
import subprocess
import time
from datetime import datetime
from typing import Any

from tests.e2e.compose.containers import PROJECT, Containers
from tests.waiting import wait_until

NODES = (1, 2, 3)
_CTL = 'RABBITMQ_ERLANG_COOKIE="$(cat /run/secrets/rabbitmq/erlang_cookie)" exec rabbitmqctl --quiet "$@"'
_PSQL = (
    'PGPASSWORD="$(cat /run/secrets/postgres/password)" exec psql --host=postgres --username=nouba --dbname=nouba'
    ' --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 --command="$0"'
)


class Cluster(Containers):
    """docker compose with the file of the cluster beside the usual one."""

    def __init__(self) -> None:
        super().__init__()
        self._environment["COMPOSE_FILE"] = "docker-compose.yml:deploy/ha/docker-compose.yml"
        # as large as it is by itself: it holds what comes until a standby is promoted
        del self._environment["NOUBA_GATEWAY_SPOOL_MAX_BYTES"]

    def up(self, timeout_seconds: float) -> None:
        self.run("build", "--quiet", timeout_seconds=timeout_seconds)
        result = self.ask("up", "--detach", "--wait", timeout_seconds=timeout_seconds)
        if result.returncode != 0:
            logs = self.ask("logs", "--no-color", "--tail", "20").stdout
            raise AssertionError(f"docker compose up failed:\n{result.stderr[-2000:]}\n{logs}")

    def sql(self, role: str, statement: str) -> subprocess.CompletedProcess[str]:
        """Run `statement` at the primary, through HAProxy, with the owner's rights whatever the `role`."""
        return self.in_node("patroni", _PSQL, statement)

    def primary(self) -> str:
        """The service that Patroni says is the primary."""
        return next(str(one["Member"]) for one in self._members() if one["Role"] == "Leader")

    def leader(self, queue: str) -> str:
        """The service of the node that leads `queue`."""
        rows = self._queues("name", "leader")
        return next(str(one["leader"]).partition("@")[2] for one in rows if one["name"] == queue)

    def promoted_at(self) -> list[float]:
        """When a standby became the primary, each time, in seconds of the clock that `time.time` shows."""
        times = (one.get("Timestamp") for one in self._patronictl("history"))
        return [datetime.fromisoformat(at).timestamp() for at in times if at]

    def await_whole(self, timeout_seconds: float) -> None:
        """Wait until every node takes part: two standbys follow, one synchronously; each queue has three members."""
        wait_until(self._has_standbys, timeout_seconds, "a standby does not follow")
        wait_until(self._has_members, timeout_seconds, "a queue has fewer than three members that answer")

    def cut_off(self, service: str) -> None:
        """Take the container off the network of the others."""
        self._network("disconnect", service)

    def connect(self, service: str) -> None:
        """Give the container its network back."""
        self._network("connect", service)

    def roll(self, service: str) -> None:
        """Replace the containers of `service` by the next release's, one after the other."""
        for container in self.inspect(service):
            for verb in (["stop"], ["rm"]):
                subprocess.run(["docker", *verb, container["Id"]], check=True, capture_output=True, timeout=90)
            # the other one stays as it is; the missing one is made of the image that the tag names now
            self.run("up", "--detach", "--no-deps", "--no-recreate", "--wait", service, timeout_seconds=180)

    def release(self, version: str) -> None:
        """Make images of another release: the same files, with `version` for a label."""
        for image in ("nouba-gateway", "nouba-transcoder", "nouba-stats"):
            label = f"org.opencontainers.image.version={version}"
            command = ["docker", "build", "--quiet", "--label", label, "--tag", f"{image}:local", "-"]
            subprocess.run(
                command, input=f"FROM {image}:local\n", text=True, check=True, capture_output=True, timeout=120
            )

    def versions(self, service: str) -> set[str]:
        """The labels of the images that the containers of `service` were made of."""
        return {one["Config"]["Labels"].get("org.opencontainers.image.version", "") for one in self.inspect(service)}

    def in_node(self, kind: str, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a shell's `script` in a node that answers."""
        found = None
        for number in NODES:
            name = f"{kind}-{number}"
            if self._can_be_asked(name):
                found = self.ask("exec", "--no-TTY", name, "sh", "-c", script, *arguments, timeout_seconds=60)
                if found.returncode == 0:
                    return found
        assert found is not None, f"no node of {kind} answers"
        return found

    def _can_be_asked(self, service: str) -> bool:
        states = [(one["State"], one["NetworkSettings"]["Networks"]) for one in self.inspect(service)]
        return bool(states) and all(state["Running"] and not state["Paused"] and nets for state, nets in states)

    def _members(self) -> list[dict[str, Any]]:
        return self._patronictl("list")

    def _patronictl(self, what: str) -> list[Any]:
        found = self.in_node("patroni", f"exec patronictl -c /etc/patroni.yml {what} -f json")
        return list(json.loads(found.stdout)) if found.returncode == 0 else []

    def _has_standbys(self) -> bool:
        members = self._members()
        roles = sorted(one["Role"] for one in members if one["State"] in ("running", "streaming"))
        if roles == ["Leader", "Replica", "Sync Standby"]:
            return True
        time.sleep(0.5)
        return False

    def _has_members(self) -> bool:
        online = [len(one["online"]) for one in self._queues("type", "online") if one["type"] == "quorum"]
        if online and all(count == len(NODES) for count in online):
            return True
        time.sleep(0.5)
        return False

    def _queues(self, *columns: str) -> list[dict[str, Any]]:
        listed = self.in_node("rabbitmq", _CTL, "-", "list_queues", "-p", "nouba", "--formatter=json", *columns)
        return list(json.loads(listed.stdout)) if listed.returncode == 0 else []

    def _network(self, verb: str, service: str) -> None:
        alias = ["--alias", service] if verb == "connect" else []
        (container,) = self.inspect(service)
        command = ["docker", "network", verb, *alias, f"{self.name}_inside", container["Id"]]
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=PROJECT)
