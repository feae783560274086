"""Receives one webhook over HTTP: calls the use case, and counts the outcome."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from services.webhook_gateway import errors, metrics
from services.webhook_gateway.http.readiness import Readiness
from services.webhook_gateway.http.request_body import BodyReader
from services.webhook_gateway.http.unverified_rate_limit import UnverifiedRateLimit
from services.webhook_gateway.inbox.accept import Inbox, Receipt, accept
from services.webhook_gateway.providers.base import Mode, Provider, Request
from shared.runtime.metrics import child


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the routes are given; kept in `app.extensions["gateway"]`."""

    providers: Mapping[str, Provider]
    inbox: Inbox
    readiness: Callable[[], Readiness]
    bodies: BodyReader
    unverified: UnverifiedRateLimit
    wake: Callable[[], None]
    return_urls: Mapping[str, str]
    client_of: Callable[[Mapping[str, Any]], str]
    payments_mode: Mode = Mode.LIVE


def receive(gateway: Gateway, psp: Provider, news: Request, client: str) -> Receipt:
    """Raises what `inbox.accept` raises, counted."""
    started, verdict = time.perf_counter(), "failed"
    try:
        receipt = accept(
            psp,
            news,
            gateway.inbox,
            gateway.wake,
            gateway.unverified,
            client=client,
            payments_mode=gateway.payments_mode,
        )
        verdict = receipt.status
    except errors.InvalidSignatureError:
        verdict = "signature"
        raise
    except errors.TooManyUnverifiedError:
        verdict = "limited"
        raise
    except (SQLAlchemyError, errors.StorageUnavailableError):
        verdict = "unavailable"
        raise
    finally:
        child(metrics.REQUESTS, psp.name, verdict).inc()
    child(metrics.ACCEPT_SECONDS, psp.name).observe(time.perf_counter() - started)
    return receipt
