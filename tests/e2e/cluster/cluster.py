"""The containers of deploy/ha, and what can be done to a node."""

import json
import subprocess

from tests.e2e.compose.containers import Containers

NODES = (1, 2, 3)


class Cluster(Containers):
    """docker compose with the file of the cluster beside the usual one."""

    def __init__(self) -> None:
        super().__init__()
        self._environment["COMPOSE_FILE"] = "docker-compose.yml:deploy/ha/docker-compose.yml"

    def sql(self, role: str, statement: str) -> subprocess.CompletedProcess[str]:
        """Run `statement` at the primary, through HAProxy, with the owner's rights whatever the `role`."""
        node = next(number for number in NODES if self.is_running(f"patroni-{number}"))
        psql = (
            'PGPASSWORD="$(cat /run/secrets/postgres/password)" exec psql --host=postgres --username=nouba'
            ' --dbname=nouba --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 --command="$0"'
        )
        return self.ask("exec", "--no-TTY", f"patroni-{node}", "sh", "-c", psql, statement)

    def is_running(self, service: str) -> bool:
        """Whether the container runs, and is not paused."""
        states = [one["State"] for one in self.inspect(service)]
        return bool(states) and all(state["Running"] and not state["Paused"] for state in states)

    def primary(self) -> str:
        """The service that Patroni says is the primary."""
        for number in NODES:
            service = f"patroni-{number}"
            if self.is_running(service):
                found = self.ask(
                    "exec", "--no-TTY", service, "patronictl", "-c", "/etc/patroni.yml", "list", "-f", "json"
                )
                if found.returncode == 0:
                    leaders = [one["Member"] for one in json.loads(found.stdout) if one["Role"] == "Leader"]
                    if leaders:
                        return str(leaders[0])
        raise AssertionError("Patroni names no primary")

    def cut_off(self, service: str) -> None:
        """Take the container off the network of the others."""
        self._network("disconnect", service)

    def connect(self, service: str) -> None:
        self._network("connect", service)

    def _network(self, verb: str, service: str) -> None:
        alias = ["--alias", service] if verb == "connect" else []
        (container,) = self.inspect(service)
        command = ["docker", "network", verb, *alias, f"{self.name}_inside", container["Id"]]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
