"""Takes one webhook in, whichever way it came through HTTP, and counts what became of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from services.webhook_gateway import errors, metrics
from services.webhook_gateway.body import BodyReader
from services.webhook_gateway.intake import Inbox, Receipt, accept
from services.webhook_gateway.psps.base import Psp, Request
from services.webhook_gateway.readiness import Readiness
from services.webhook_gateway.unverified import UnverifiedLimit
from shared.runtime.metrics import child


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the routes are given; kept in `app.extensions["gateway"]`."""

    psps: Mapping[str, Psp]
    inbox: Inbox
    readiness: Callable[[], Readiness]
    bodies: BodyReader
    unverified: UnverifiedLimit
    wake: Callable[[], None]
    return_urls: Mapping[str, str]


def receive(gateway: Gateway, psp: Psp, news: Request) -> Receipt:
    """Raises what `intake.accept` raises, counted."""
    started, verdict = time.perf_counter(), "failed"
    try:
        receipt = accept(psp, news, gateway.inbox, gateway.wake, gateway.unverified)
        verdict = receipt.status
    except errors.InvalidSignature:
        verdict = "signature"
        raise
    except errors.TooManyUnverified:
        verdict = "limited"
        raise
    except (SQLAlchemyError, errors.CannotKeep):
        verdict = "unavailable"
        raise
    finally:
        child(metrics.REQUESTS, psp.name, verdict).inc()
    child(metrics.ACCEPT_SECONDS, psp.name).observe(time.perf_counter() - started)
    return receipt
