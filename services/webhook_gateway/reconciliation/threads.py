"""Background threads of reconciliation: pending payments, and wallets that could pay."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Engine

from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.metrics import POLLS, POLLS_DUE, RECOVERED_PAYMENTS
from services.webhook_gateway.providers.base import Mode, PollsPayments, Provider
from services.webhook_gateway.providers.circuit_breaker import Breaker
from services.webhook_gateway.reconciliation.postgres_schedule import FOLLOWED, PostgresPollSchedule
from services.webhook_gateway.reconciliation.reconcile import Outcome, Reconciliation
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.settlement.postgres import open_store
from services.webhook_gateway.settlement.postgres_users_able_to_pay import users_covered
from services.webhook_gateway.settlement.subscription_activation import pay_waiting
from shared.runtime.periodic_thread import PeriodicThread

#: Threads of one worker that ask the same provider: a slow one holds these, and nobody else's.
AT_ONCE: Final = 2
#: How often a thread with nothing to do searches for a payment that has become due, in seconds.
ASK_EVERY_SECONDS: Final = 1.0
#: How often wallets are checked, and the metrics of what is due are set.
MEASURE_SECONDS: Final = 10.0
#: A checkout whose request was lost is expired after this; until then the same request may try again.
LOST_CHECKOUT: Final = timedelta(days=1)

log = structlog.get_logger(__name__)


class Counted:
    """Implements `Tally` by metrics."""

    def count(self, provider: str, outcome: Outcome, *, has_ended: bool, is_given_up: bool) -> None:
        POLLS.labels(provider, outcome).inc()
        if outcome is Outcome.RECORDED and has_ended:
            RECOVERED_PAYMENTS.labels(provider).inc()
        if is_given_up:
            POLLS.labels(provider, "given_up").inc()
            log.warning("a payment stays unfinished and is not asked about any more", provider=provider)


def reconciliations(
    providers: Mapping[str, Provider],
    breakers: Mapping[str, Breaker],
    engine: Engine,
    wake: Callable[[], None],
    payments_mode: Mode = Mode.LIVE,
) -> dict[str, Reconciliation]:
    """The use case for each provider that can be asked; `wake` is called when an answer was kept."""
    # two addresses can be one provider
    able = {psp.name: psp for psp in providers.values() if isinstance(psp, PollsPayments)}
    return {
        name: Reconciliation(
            psp=psp,
            breaker=breakers[name],
            schedule=PostgresPollSchedule(_committing(engine)),
            inbox=PostgresInbox(_committing(engine)),
            tally=Counted(),
            now=lambda: datetime.now(UTC),
            wake=wake,
            payments_mode=payments_mode,
            follows_up=name in FOLLOWED,
        )
        for name, psp in able.items()
    }


def rounds(
    found: Mapping[str, Reconciliation], engine: Engine, subscription_period: timedelta, terms: WalletPolicy
) -> list[PeriodicThread]:
    """Threads for `run_worker`: those that ask each provider, and one that lets wallets pay what they cover."""
    schedule = PostgresPollSchedule(_committing(engine))
    books = partial(open_store, _committing(engine), subscription_period)

    def measure() -> bool:
        for provider in found:
            POLLS_DUE.labels(provider).set(schedule.count_due(provider))
        if lost := schedule.expire_lost_checkouts(LOST_CHECKOUT):
            log.info("checkouts that were never created are expired", count=lost)
        if count := pay_waiting(users_covered(engine), books, terms.currency, terms.now):
            log.info("subscriptions that waited were covered", count=count)
        return count > 0

    asking = [
        PeriodicThread(f"asking {name}", partial(_ask, one), ASK_EVERY_SECONDS)
        for name, one in found.items()
        for _ in range(AT_ONCE)
    ]
    return [*asking, PeriodicThread("wallets", measure, MEASURE_SECONDS)]


def _committing(engine: Engine) -> Engine:
    """The same connections, where every statement is a transaction of its own."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _ask(reconciliation: Reconciliation) -> bool:
    return reconciliation.ask_next() is not None
