"""The bench of reconciliation: a real database and a real simulator."""

from tests.webhook_gateway.reconciliation.conftest import bench, engine, simulator_url

__all__ = ["bench", "engine", "simulator_url"]
