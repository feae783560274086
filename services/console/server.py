"""The console's web server: one process, since it has few users."""

from typing import Any

from services.console.app import create_app
from services.console.settings import ConsoleSettings
from shared.runtime.gunicorn import GunicornServer

THREADS = 8


class ConsoleServer(GunicornServer):
    """The console's one process."""

    request_seconds = 60.0

    def __init__(self, settings: ConsoleSettings) -> None:
        self.settings = settings
        super().__init__(settings, settings.console_host, settings.console_port, "NOUBA_CONSOLE_PORT")

    def options(self) -> dict[str, Any]:
        # it counts in this one process, and not in files for several
        return {
            "workers": 1,
            "threads": THREADS,
            "timeout": 60,
            "graceful_timeout": 10,
            "when_ready": lambda _arbiter: None,
            "child_exit": lambda _arbiter, _worker: None,
            "post_worker_init": self._serve_metrics,
        }

    def load(self) -> Any:
        return create_app(self.settings)
