"""`nouba gateway poll-pending`: polls providers now, without waiting for the worker."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from services.webhook_gateway.errors import NotReadyError
from services.webhook_gateway.providers.circuit_breaker import Breaker
from services.webhook_gateway.providers.registry import enabled
from services.webhook_gateway.providers.settings import ProviderSettings
from services.webhook_gateway.reconciliation.postgres_schedule import PostgresPollSchedule, Unfinished
from services.webhook_gateway.reconciliation.reconcile import Reconciliation
from services.webhook_gateway.reconciliation.threads import reconciliations
from services.webhook_gateway.settings import GatewaySettings
from shared.operations.cli_options import table_console
from shared.runtime.database import build_engine

#: The outcome of a payment that the worker polls for at the same moment.
BUSY = "busy"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """A number and its unit, such as 30m. Raises BadParameter with the form that was expected."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a number of s, m, h or d, such as 30m.", param_hint="--older-than")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def poll_pending(
    settings: GatewaySettings,
    psp_settings: ProviderSettings,
    *,
    provider: str | None,
    older_than: timedelta,
    is_dry_run: bool,
    as_json: bool,
) -> int:
    """Poll for every pending payment that is old enough; returns the exit status: 1 where a provider failed."""
    engine = build_engine(
        settings.database_url.get_secret_value(), pool_size=1, application="nouba gateway poll-pending"
    )
    providers = enabled(psp_settings)
    breakers = {psp.name: Breaker(psp.name) for psp in providers.values()}
    able = reconciliations(providers, breakers, engine, wake=lambda: None, payments_mode=settings.payments_mode)
    if provider is not None:
        name = providers[provider].name if provider in providers else provider
        if name not in able:
            raise NotReadyError(
                f"{provider} cannot be polled: it is off, or has no call for it. These can: {', '.join(able)}."
            )
        able = {name: able[name]}
    schedule = PostgresPollSchedule(engine.execution_options(isolation_level="AUTOCOMMIT"))
    found = schedule.unfinished(list(able), older_than)
    outcomes = {} if is_dry_run else _poll(found, able, schedule, Console(stderr=True, quiet=as_json))
    _show(found, outcomes, as_json)
    return 1 if set(outcomes.values()) & {"unavailable", "limited"} else 0


def _poll(
    found: list[Unfinished], able: Mapping[str, Reconciliation], schedule: PostgresPollSchedule, console: Console
) -> dict[int, str]:
    outcomes = {}
    for payment in track(found, description="polling", console=console):
        due = schedule.take_one(payment.payment_id)
        outcomes[payment.payment_id] = BUSY if due is None else str(able[payment.provider].ask(due))
    return outcomes


def _show(found: list[Unfinished], outcomes: Mapping[int, str], as_json: bool) -> None:
    now = datetime.now(UTC)
    if as_json:
        rows = [
            {
                "payment_id": one.payment_id,
                "provider": one.provider,
                "status": one.status,
                "age_seconds": round((now - one.created_at).total_seconds()),
                "asks": one.asks,
                "outcome": outcomes.get(one.payment_id),
            }
            for one in found
        ]
        click.echo(json.dumps({"payments": rows, "outcomes": Counter(outcomes.values())}))
        return
    table = Table("payment", "provider", "status", "age", "polled before", "outcome", title=f"{len(found)} pending")
    for one in found:
        age = str(now - one.created_at).partition(".")[0]
        outcome = outcomes.get(one.payment_id, "not polled")
        table.add_row(str(one.payment_id), one.provider, one.status, age, f"{one.asks} times", outcome)
    table_console().print(table)
