"""Signs the playback link for the player on the console's lesson page."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.runtime.playback_links import CONSOLE_VIEWER, MAX_VIEWER_BYTES, sign_path

#: Long enough to see a lesson; the page has another address each time it is loaded.
TTL_SECONDS = 4 * 3600


@dataclass(frozen=True, slots=True)
class PlaybackLinks:
    """Where `nouba playback serve` is, and the secrets that it verifies; both empty where the console plays nothing."""

    url: str
    secrets: Sequence[bytes]

    @property
    def origin(self) -> str:
        """What the page's policy has to allow."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def address(self, master_key: str | None, visitor: str) -> str | None:
        """The address of a lesson for one visitor; None where there is nothing to play."""
        if not (self.url and self.secrets and master_key):
            return None
        viewer = f"{CONSOLE_VIEWER}{visitor}".encode()[:MAX_VIEWER_BYTES].decode(errors="ignore")
        try:
            path = sign_path(master_key, self.secrets[0], viewer, int(time.time()) + TTL_SECONDS)
        except ValueError:
            return None
        return self.url.rstrip("/") + path
