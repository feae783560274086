"""Runs the console: gunicorn with one process, since its visitors are few."""

from typing import Any

from gunicorn.app.base import BaseApplication

from services.console.app import create_app
from services.console.settings import ConsoleSettings
from shared.runtime import metrics
from shared.runtime.gunicorn import PropagatingLogger, require_port

THREADS = 8


class ConsoleServer(BaseApplication):
    """gunicorn, set up in Python: every setting is visible here."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self.settings = settings
        super().__init__()

    def run(self) -> None:
        """Serve until told to stop. Raises SettingsError where a port is taken."""
        settings = self.settings
        require_port(settings.console_host, settings.console_port, "NOUBA_CONSOLE_PORT")
        if settings.metrics_port:
            require_port(settings.metrics_host, settings.metrics_port, "NOUBA_METRICS_PORT")
        super().run()

    def load_config(self) -> None:
        settings = self.settings
        host = settings.console_host.strip("[]")
        options: dict[str, Any] = {
            "bind": f"{f'[{host}]' if ':' in host else host}:{settings.console_port}",
            "worker_class": "gthread",
            "workers": 1,
            "threads": THREADS,
            "timeout": 60,
            "graceful_timeout": 10,
            "logger_class": PropagatingLogger,
            "accesslog": None,
            "control_socket_disable": True,
            "post_worker_init": self._serve_metrics,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application; called after the fork, so that no connection is shared."""
        return create_app(self.settings)

    def _serve_metrics(self, _worker: object) -> None:
        if self.settings.metrics_port:
            metrics.serve_metrics(self.settings.metrics_port, self.settings.metrics_host)
