"""`nouba playback serve` as it runs, and addresses for it."""

import re
import time
from pathlib import Path
from typing import Final

import httpx

from local.free_port import free_port
from local.s3 import BUCKET, S3
from shared.runtime.playback_links import sign_path
from tests.webhook_gateway.processes import Running

SECRET: Final = b"the-secret-that-signs-addresses-0123456789"
OLD_SECRET: Final = b"the-secret-before-it-which-still-verifies-1"


class RunningPlayback(Running):
    """`nouba playback serve`, ready for players."""

    def __init__(self, log: Path, database_url: str, s3: S3, *, ready: str = "/readyz", **settings: str) -> None:
        self._ready = ready
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.metrics_url = f"http://127.0.0.1:{(metrics_port := free_port())}/metrics"
        given = {
            "NOUBA_DATABASE_URL": database_url,
            "NOUBA_PLAYBACK_PORT": str(self.port),
            "NOUBA_PLAYBACK_SECRETS": f"{SECRET.decode()}, {OLD_SECRET.decode()}",
            "NOUBA_METRICS_PORT": str(metrics_port),
            "NOUBA_S3_ENDPOINT_URL": s3.url,
            "NOUBA_S3_BUCKET": BUCKET,
            "AWS_ACCESS_KEY_ID": s3.access_key_id,
            "AWS_SECRET_ACCESS_KEY": s3.secret_access_key,
            **settings,
        }
        super().__init__(["playback", "serve"], log, given)
        self.ready_when(self._answers)

    def metric(self, sample: str) -> float:
        """The value of one sample; 0 where it is not shown."""
        found = re.search(f"^{re.escape(sample)} (.+)$", httpx.get(self.metrics_url).text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return httpx.get(f"{self.url}{self._ready}").status_code == 200
        except httpx.TransportError:
            return False


def signed(
    master_key: str, *, seconds: float = 60, secret: bytes = SECRET, viewer: str = "u-17", address: str | None = None
) -> str:
    """The path of a master playlist, as the gateway signs it."""
    return sign_path(master_key, secret, viewer, int(time.time() + seconds), address)
