"""What happens to the cluster, one after the other, and what mends it where a machine comes back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.e2e.cluster.cluster import Cluster

#: A node is away for so long: every timeout of ours passes meanwhile.
OUTAGE_SECONDS = 30.0
#: All of our processes, in the order in which docs/upgrade.md replaces them.
SERVICES = (
    "stats-worker", "stats-scheduler", "stats-api", "payments-worker", "events-worker", "transcoder", "gateway",
    "console", "playback",
)  # fmt: skip

#: So many services are replaced at the same time.
AT_ONCE = 3
#: The label of the images that the services are replaced by.
NEXT = "next"


@dataclass(frozen=True, slots=True)
class Fault:
    """`begin` breaks the `node`; `end` brings it back, as a machine comes back by itself."""

    name: str
    node: Callable[[], str]
    begin: Callable[[str], object]
    end: Callable[[str], object]
    outage_seconds: float = OUTAGE_SECONDS
    #: The time until a standby is promoted is Patroni's lease; ours begins after it.
    has_promotion: bool = False


def faults(cluster: Cluster, *, short: bool) -> list[Fault]:
    """All of them; `short`: a primary and a broker are killed."""

    def kill(service: str) -> None:
        cluster.run("kill", service)

    def pause(service: str) -> None:
        cluster.run("pause", service)

    def unpause(service: str) -> None:
        cluster.run("unpause", service)

    def broker() -> str:
        """The node that leads the queue of webhooks: to lose another is nothing."""
        return cluster.leader("webhooks")

    primary_killed = Fault("PostgreSQL primary killed", cluster.primary, kill, cluster.start, has_promotion=True)
    broker_killed = Fault("broker killed, leader of the queue", broker, kill, cluster.start)
    if short:
        return [primary_killed, broker_killed]
    return [
        primary_killed,
        Fault("primary's machine paused, comes back", cluster.primary, pause, unpause, 40, has_promotion=True),
        broker_killed,
        Fault("broker cut off from the other two", broker, cluster.cut_off, cluster.connect, 40),
        Fault("S3 away", lambda: "s3", kill, cluster.start),
    ]


def roll_all(cluster: Cluster) -> str:
    """Every service to the next release: of each one container at a time, and a few services at once."""
    cluster.release(NEXT)
    cluster.run("run", "--rm", "--no-deps", "migrate", timeout_seconds=180)

    def roll(service: str) -> None:
        cluster.roll(service)
        assert cluster.versions(service) == {NEXT}, f"{service} was not replaced"

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(roll, SERVICES))
    return f"{len(SERVICES)} services, two containers of each"
