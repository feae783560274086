"""Finds TCP ports of 127.0.0.1 that nobody uses; reserves none."""

import os
import random
import socket

HOST = "127.0.0.1"

# Below 32768, where Linux takes the ports of outgoing connections from: a client that keeps trying the port of a
# server that is down would otherwise be given that very port, connect to itself, and keep the server from returning.
LOWEST, HIGHEST = 15_000, 31_999


def free_port() -> int:
    """A port that is free now."""
    while not is_free(port := random.randint(*port_range())):
        pass
    return port


def port_range() -> tuple[int, int]:
    """The range of free ports: NOUBA_LOCAL_PORTS, such as `20000-20999`, or all that are fit."""
    lowest, _, highest = os.environ.get("NOUBA_LOCAL_PORTS", f"{LOWEST}-{HIGHEST}").partition("-")
    return int(lowest), int(highest)


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    if accepts(port):
        return False
    with socket.socket() as probe:
        # servers set this too: a connection that lingers after a restart must not make the port seem taken
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Whether somebody listens on `port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
