"""What the services' web servers share: gunicorn's log lines, one count of all processes, a port that is free."""

import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from shared.runtime.process_tempdir import ProcessTempDir
from shared.runtime.settings import SettingsError

#: How long the processes of a killed predecessor may hold its ports.
PREDECESSOR_SECONDS = 5.0


class PropagatingLogger(Logger):
    """Leaves gunicorn's lines to the handlers that all other lines go to."""

    def _set_handler(self, log: logging.Logger, *_where: Any, **_how: Any) -> None:
        log.propagate = True


def add_up_metrics(service: str, directory: Path | None) -> Callable[[], None]:
    """Have the processes of this server count in `directory`, or else in a folder of its own.

    Returns what to call when all of them have ended. Else as `add_up_metrics_in`.
    """
    if directory is not None:
        add_up_metrics_in(directory)
        return lambda: None
    own = ProcessTempDir(f"nouba-{service}-metrics-")
    add_up_metrics_in(own.path)
    return own.remove


def add_up_metrics_in(directory: Path) -> None:
    """Have the processes of this server count in `directory`, and forget those of its last start.

    Call it before anything that counts is imported: prometheus_client decides at import where it counts.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for file in directory.glob("*.db"):
        file.unlink(missing_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)


def require_port(host: str, port: int, setting: str) -> None:
    """Wait until a killed predecessor's processes have left the port. Raises SettingsError where somebody stays."""
    deadline = time.monotonic() + PREDECESSOR_SECONDS
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        try:
            socket.create_server((host.strip("[]"), port), family=family).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise SettingsError(
                    f"{host}:{port} cannot be used ({error.strerror}): stop what listens there, or set {setting}."
                ) from None
            time.sleep(0.1)
        else:
            return
