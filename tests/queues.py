"""Virtual hosts and queues of a RabbitMQ node, through its management API."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import httpx

from local.rabbitmq import RabbitMq
from tests.waiting import wait_until


def make_virtual_host(server: RabbitMq) -> str:
    """The AMQP address of a new virtual host, whose queues no other test sees."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    # anyone who makes one may do everything in it
    httpx.put(f"{server.management_url}/api/vhosts/{name}").raise_for_status()
    return server.url_of(name)


def delete_virtual_host(server: RabbitMq, url: str) -> None:
    """Remove it with its queues, and close its connections."""
    httpx.delete(f"{server.management_url}/api/vhosts/{_name_in(url)}").raise_for_status()


def queue_depths(server: RabbitMq, url: str) -> dict[str, int]:
    """How many messages each queue holds now: those that wait, and those that a consumer has not acknowledged yet."""
    # the ordinary numbers are up to five seconds old; these are not
    query = {"disable_stats": "true", "enable_queue_totals": "true"}
    answer = httpx.get(f"{server.management_url}/api/queues/{_name_in(url)}", params=query).raise_for_status()
    return {queue["name"]: int(queue.get("messages", 0)) for queue in answer.json()}


def _name_in(url: str) -> str:
    # %2F stands for "/" in an AMQP address and in the API alike
    name = urlsplit(url).path.removeprefix("/")
    return name if name == "%2F" else unquote(name)


@contextmanager
def virtual_host_to_hurt(server: RabbitMq) -> Iterator[str]:
    """A virtual host of a running node that the test may kill or starve; the node stays usable for the next test."""
    url, pid = make_virtual_host(server), server.pid
    yield url
    if server.pid != pid:
        # deleting what was there at a crash can take longer than the next test; it harms nobody
        return
    if httpx.get(f"{server.management_url}/api/health/checks/alarms").status_code == httpx.codes.OK:
        delete_virtual_host(server, url)
    else:
        # a memory alarm blocks every publisher; it ends with the process
        server.kill()


def wait_until_crash_safe(server: RabbitMq, url: str, *queues: str) -> None:
    """Return once the quorum `queues` of a virtual host would survive `kill()`.

    RabbitMQ writes the list of its quorum queues to disk up to a second after one was declared. A node that is killed
    before that comes back with a queue that has no leader and no messages, and its clients wait in vain
    (rabbitmq-server issue 15725).
    """
    for queue in queues:
        # not the entry of webhooks.DQ for webhooks
        entry = re.compile(re.escape(f"{_name_in(url)}_{queue}").encode() + rb"(?!\.)")
        wait_until(
            lambda: any(entry.search(names.read_bytes()) for names in server.folder.rglob("quorum/*/names.dets")),  # noqa: B023
            message=f"RabbitMQ did not write down the queue {queue}",
        )


def wait_until_led(server: RabbitMq, url: str, *queues: str) -> None:
    """Return once the quorum `queues` of a virtual host have a leader again after a restart.

    Until then a passive declaration answers 0 messages, and a test that reads the queue calls it empty.
    """

    def led() -> bool:
        answer = httpx.get(f"{server.management_url}/api/queues/{_name_in(url)}", timeout=10)
        states = {queue["name"]: queue.get("state") for queue in answer.json()} if answer.is_success else {}
        return all(states.get(queue) == "running" for queue in queues)

    wait_until(led, message=f"no leader for {', '.join(queues)}")
