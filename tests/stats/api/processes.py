"""The read API as it runs: real processes, and what they reported to the log and Prometheus."""

import contextlib
import re
from pathlib import Path
from typing import Any

import httpx

from local.free_port import free_port
from tests.waiting import wait_until
from tests.webhook_gateway.processes import Running

#: Nothing is unpacked, so the test sees the very bytes and tags.
PLAIN = {"Accept-Encoding": "identity"}
ZIPPED = {"Accept-Encoding": "gzip"}


class RunningApi(Running):
    """`nouba stats api`, ready to be read."""

    def __init__(self, log: Path, database_url: str, **settings: str) -> None:
        port, metrics_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        given = {
            "NOUBA_DATABASE_URL": database_url,
            "NOUBA_STATS_PORT": str(port),
            "NOUBA_METRICS_PORT": str(metrics_port),
            "NOUBA_LOG_FORMAT": "json",
            **settings,
        }
        super().__init__(["stats", "api"], log, given)
        wait_until(self._answers, 30, "the statistics did not answer")

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", **{"headers": PLAIN, **options})

    def metric(self, sample: str) -> float | None:
        """The value of one sample, such as `name{label="value"}`; None where it is not shown."""
        found = re.search(f"^{re.escape(sample)} (.+)$", httpx.get(self.metrics_url).text, re.MULTILINE)
        return float(found[1]) if found else None

    def wait_for_version(self, day: str, version: int) -> None:
        """Until every process shows this version: none is asked twice on one connection."""
        wait_until(
            lambda: {self.get(f"/api/stats/{day}").headers.get("Nouba-Version") for _ in range(8)} == {str(version)}
        )

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/healthz").status_code == 200
        return False
