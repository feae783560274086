#!/usr/bin/env python3
"""Says whether work flows in this container: `healthcheck <address> [<port>:<connections> ...]`.

The address has to answer 200. Where it is a process' metrics, no outbox message may wait too long for RabbitMQ. To
every named port of another server that many connections have to be open, because a worker without its broker lives on
and waits. Standard library alone: this runs every few seconds.
"""

import re
import sys
import urllib.request
from pathlib import Path

ANSWER_SECONDS = 5
#: The gateway's `/readyz` draws the same line.
MAX_UNPUBLISHED_SECONDS = 60
_ESTABLISHED = "01"


def main(address: str, *expected: str) -> None:
    """Return where work flows; end the process with the reason where it does not."""
    with urllib.request.urlopen(address, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - our own compose file names it
        age_seconds = oldest_unpublished_seconds(answer.read().decode())
    if age_seconds > MAX_UNPUBLISHED_SECONDS:
        sys.exit(f"a message has waited for RabbitMQ for {age_seconds:.0f} s")
    tables = [Path("/proc/net/tcp").read_text(), Path("/proc/net/tcp6").read_text()]
    for port, wanted in (pair.split(":") for pair in expected):
        found = sum(open_connections(table, int(port)) for table in tables)
        if found < int(wanted):
            sys.exit(f"{found} of {wanted} connections to port {port} are open")


def oldest_unpublished_seconds(metrics: str) -> float:
    """The age of the oldest message in the outbox; 0 where the text says nothing of one."""
    ages = re.findall(r"^nouba_outbox_oldest_age_seconds(?:\{.*\})? (\S+)$", metrics, re.MULTILINE)
    return max((float(age) for age in ages), default=0.0)


def open_connections(table: str, port: int) -> int:
    """How many connections of this container to `port` the kernel's table has as established."""
    rows = (line.split() for line in table.splitlines()[1:])
    return sum(int(row[2].rpartition(":")[2], 16) == port and row[3] == _ESTABLISHED for row in rows)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
