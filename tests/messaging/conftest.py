"""A RabbitMQ node that the tests of the plumbing may hurt, and processes to kill."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.rabbitmq import RabbitMq
from tests.messaging.rabbitmq import Node, VirtualHost
from tests.queues import virtual_host_to_hurt


@pytest.fixture
def node(spare_rabbitmq: RabbitMq) -> Node:
    """The node that this process keeps for tests that may hurt one."""
    node = Node(spare_rabbitmq.folder)
    node.start()  # an earlier test may have left it killed
    return node


@pytest.fixture
def vhost(node: Node) -> Iterator[VirtualHost]:
    with virtual_host_to_hurt(node) as url:
        yield VirtualHost(node, url.rpartition("/")[2])


Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start a program of `tests.messaging.programs`; whatever still runs at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", f"tests.messaging.programs.{program}", *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
