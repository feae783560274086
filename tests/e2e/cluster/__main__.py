"""`make cluster-test`: kills, pauses and cuts off nodes under payments, and prints how long each recovery took."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.compose.traffic import Traffic

UP_SECONDS = 1200
#: Settlement flows again so soon after a fault; a primary that is paused keeps its lease for 20 s more.
RECOVERY_SECONDS = 20
LEASE_SECONDS = 20
#: Long enough for every timeout of ours to pass.
FAULT_SECONDS = 30
#: Processes that can be replaced one by one; the gateway publishes a port, so its two processes are one container.
SERVICES = (
    "payments-worker",
    "transcoder",
    "stats-worker",
    "stats-scheduler",
    "stats-api",
    "console",
    "playback",
    "gateway",
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens to a node, what mends it, and how long settlement may stand still."""

    name: str
    begin: Callable[[], str]
    end: Callable[[str], None]
    limit_seconds: float = RECOVERY_SECONDS


def faults(cluster: Cluster) -> list[Fault]:
    """All of them, in order; each begins with a whole cluster."""

    def of_primary(verb: str) -> Callable[[], str]:
        def begin() -> str:
            node = cluster.primary()
            cluster.run(verb, node)
            return node

        return begin

    def of(service: str, verb: str) -> Callable[[], str]:
        def begin() -> str:
            cluster.run(verb, service)
            return service

        return begin

    def unpause(node: str) -> None:
        cluster.run("unpause", node)

    def cut() -> str:
        cluster.cut_off("rabbitmq-2")
        return "rabbitmq-2"

    return [
        Fault("the primary is killed", of_primary("kill"), cluster.start),
        Fault(
            "the primary's machine is paused and comes back",
            of_primary("pause"),
            unpause,
            RECOVERY_SECONDS + LEASE_SECONDS,
        ),
        Fault("a broker is killed", of("rabbitmq-1", "kill"), cluster.start),
        Fault("a broker is cut off from the other two", cut, cluster.connect),
        Fault("S3 is away", of("s3", "kill"), cluster.start),
    ]


def main() -> int:
    """Play everything; 0 only where every bar holds."""
    cluster = Cluster()
    table = Table("what happens", "settled again after", "bar", "", title="Cluster test", title_justify="left")
    is_good = True
    try:
        cluster.up(UP_SECONDS)
        with Traffic(cluster) as traffic:
            traffic.await_booked()
            for fault in faults(cluster):
                seconds = _play(fault, traffic)
                is_good &= seconds <= fault.limit_seconds
                _add(table, fault.name, seconds, fault.limit_seconds)
            began = time.monotonic()
            for service in SERVICES:
                cluster.run("up", "--no-deps", "--force-recreate", "--detach", "--wait", service, timeout_seconds=300)
            table.add_row(
                "every service is replaced, one at a time", f"{time.monotonic() - began:.1f} s in all", "", ""
            )
            taken = traffic.await_booked()
        drift = cluster.run("exec", "--no-TTY", "payments-worker", "nouba", "ledger", "verify").strip().splitlines()[-1]
        table.add_row(f"{taken} payments: each booked once", "", "", "✓")
        table.add_row(drift, "", "", "✓")
    finally:
        Console(width=140).print(table)
        cluster.down()
    return 0 if is_good else 1


def _play(fault: Fault, traffic: Traffic) -> float:
    node = fault.begin()
    began = time.monotonic()
    time.sleep(1)
    # what was taken in the fault's first second is booked again while the fault lasts
    traffic.await_booked(2 * FAULT_SECONDS)
    seconds = time.monotonic() - began
    time.sleep(max(0.0, FAULT_SECONDS - seconds))
    fault.end(node)
    traffic.await_booked(2 * FAULT_SECONDS)
    return seconds


def _add(table: Table, name: str, seconds: float, limit_seconds: float) -> None:
    table.add_row(name, f"{seconds:.1f} s", f"{limit_seconds:.0f} s", "✓" if seconds <= limit_seconds else "missed")


if __name__ == "__main__":
    sys.exit(main())
