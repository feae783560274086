"""What happens to the cluster, one after the other, and what mends it where a machine comes back."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.e2e.cluster.cluster import Cluster

#: A node is away for so long: every timeout of ours passes meanwhile.
AWAY_SECONDS = 30.0
#: All of our processes, in the order in which docs/upgrade.md replaces them.
SERVICES = (
    "payments-worker", "events-worker", "transcoder", "stats-worker", "stats-scheduler", "stats-api", "console",
    "playback", "gateway",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """`begin` breaks something and names it; `end` brings it back, as a machine comes back by itself."""

    name: str
    begin: Callable[[], str]
    end: Callable[[str], None]
    away_seconds: float = AWAY_SECONDS
    #: The time until a standby is promoted is Patroni's lease; ours begins after it.
    has_promotion: bool = False


def faults(cluster: Cluster, *, short: bool) -> list[Fault]:
    """All of them; `short`: a primary and a broker are killed."""

    def of_primary(verb: str) -> Callable[[], str]:
        def begin() -> str:
            node = cluster.primary()
            cluster.run(verb, node)
            return node

        return begin

    def of(service: str, do: Callable[[str], object]) -> Callable[[], str]:
        def begin() -> str:
            do(service)
            return service

        return begin

    def unpause(node: str) -> None:
        cluster.run("unpause", node)

    def kill(service: str) -> None:
        cluster.run("kill", service)

    def broker() -> str:
        """The node that leads the queue of webhooks: to lose another is nothing."""
        node = cluster.leader("webhooks")
        cluster.run("kill", node)
        return node

    def cut() -> str:
        node = cluster.leader("webhooks")
        cluster.cut_off(node)
        return node

    primary_killed = Fault("PostgreSQL primary killed", of_primary("kill"), cluster.start, has_promotion=True)
    broker_killed = Fault("broker killed, leader of the queue", broker, cluster.start)
    if short:
        return [primary_killed, broker_killed]
    return [
        primary_killed,
        Fault("primary's machine paused, comes back", of_primary("pause"), unpause, 40, has_promotion=True),
        broker_killed,
        Fault("broker cut off from the other two", cut, cluster.connect, 40),
        Fault("S3 away", of("s3", kill), cluster.start),
    ]


def roll_all(cluster: Cluster) -> str:
    """Every service to the next release, one container at a time."""
    version = "next"
    cluster.release(version)
    cluster.run("run", "--rm", "--no-deps", "migrate", timeout_seconds=180)
    for service in SERVICES:
        cluster.roll(service)
        assert cluster.versions(service) == {version}, f"{service} was not replaced"
    return f"{len(SERVICES)} services"
