"""What the services' web servers share: gunicorn's log lines, and a port that is really free."""

import logging
import socket
import time
from typing import Any

from gunicorn.glogging import Logger

from shared.runtime.settings import SettingsError

#: How long the processes of a killed predecessor may hold its ports.
PREDECESSOR_SECONDS = 5.0


class PropagatingLogger(Logger):
    """Leaves gunicorn's lines to the handlers that all other lines go to."""

    def _set_handler(self, log: logging.Logger, *_where: Any, **_how: Any) -> None:
        log.propagate = True


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
