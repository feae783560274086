"""Finds a request's client behind proxies."""

from collections.abc import Callable, Mapping
from typing import Any


def client_address(proxies: int) -> Callable[[Mapping[str, Any]], str]:
    """Finds a request's client, with `proxies` in front of us that each add to `X-Forwarded-For`."""

    def find(environ: Mapping[str, Any]) -> str:
        if proxies:
            # what stands further left than our own proxies wrote is the client's own invention
            named = [part.strip() for part in str(environ.get("HTTP_X_FORWARDED_FOR", "")).split(",")]
            if len(named) >= proxies and named[-proxies]:
                return named[-proxies][:64]
        return str(environ.get("REMOTE_ADDR", ""))

    return find
