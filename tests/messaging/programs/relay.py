"""A relay of service `gateway` in a process of its own: `relay <database_url> <rabbitmq_url>`; ends with its input."""

import sys

from shared.messaging.relay import Relay
from shared.runtime import logs
from shared.runtime.database import build_engine


def main(database_url: str, rabbitmq_url: str) -> None:
    logs.configure("test")
    relay = Relay(build_engine(database_url, pool_size=4), rabbitmq_url, "gateway")
    relay.start()
    sys.stdin.read()
    relay.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
