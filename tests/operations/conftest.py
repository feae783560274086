"""The servers and processes of the tests of messaging serve the operators' commands too."""

from tests.messaging.conftest import node, run, vhost

__all__ = ["node", "run", "vhost"]
