"""The servers and processes of the tests of messaging serve the operators' commands too."""

from tests.messaging.conftest import engine, node, run, vhost

__all__ = ["engine", "node", "run", "vhost"]
