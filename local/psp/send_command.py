"""The command `python -m local.psp send`: sends a provider's webhooks to the gateway and prints its answers."""

import json
import os
import random
import secrets as randomness
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import click
import httpx
from rich.console import Console
from rich.progress import track
from rich.table import Table

from local.psp import sending
from local.psp.bodies import WORDS, Payment
from local.psp.satim_client import SatimClient
from local.psp.server import REST

_SECRETS = {
    name: f"NOUBA_PSP_{name.upper()}_SECRETS" for name in ("chargily", "standard_webhooks", "stripe", "generic")
}
_BANKS = ("satim", "cib")
#: Options that say what every payment is like, by their names in `Payment`.
_OF_PAYMENT = (
    "subscription_id", "captured_minor", "refunded_minor", "disputed_minor", "second_dispute_minor", "fee_minor",
    "dispute_fee_minor", "fee_currency", "is_expanded", "is_live", "account", "api_version",
)  # fmt: skip

_EXAMPLES = """\b
Examples:
  python -m local.psp send chargily --user 7 --amount 250000
  python -m local.psp send generic --count 500 --duplicate 0.3 --shuffle --tamper 0.05 --user 1 --user 2
  python -m local.psp send stripe --events pending,paid,refunded --shuffle --seed 42 --json
  python -m local.psp send stripe --events charged,refunded,refund_failed --user 7
  python -m local.psp send stripe --events charged,disputed,lost --disputed 2000 --dispute-fee 150 --amount 10000
  python -m local.psp send satim --events paid --count 3

Stripe's events: {words}.

Secrets come from the NOUBA_PSP_* variables, as the gateway's own do; `make env` prints them.
Exit status 0 only where genuine events were taken and forgeries refused.
"""


@click.command(epilog=_EXAMPLES.format(words=", ".join(WORDS["stripe"])))
@click.argument("provider", type=click.Choice(list(WORDS)))
@click.option("--gateway", "gateway_url", envvar="GATEWAY_URL", default="http://127.0.0.1:8080", show_default=True)
@click.option("--events", "whats", default="paid", show_default=True, help="The events of each payment, in order.")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1), help="Payments.")
@click.option("--amount", default=250000, show_default=True, type=click.IntRange(1), help="Minor units of each.")
@click.option("--currency", default="DZD", show_default=True)
@click.option("--user", "users", multiple=True, type=int, help="The payer; several take turns.")
@click.option("--duplicate", default=0.0, type=click.FloatRange(0, 1), help="Share of events sent twice.")
@click.option(
    "--tamper", default=0.0, type=click.FloatRange(0, 1), help="Share of events also sent with a bit changed."
)
@click.option(
    "--late", default=0.0, type=click.FloatRange(0, 1), help="Share of events also sent ten minutes too late."
)
@click.option("--shuffle", is_flag=True, help="Out of order.")
@click.option("--rate", default=0.0, type=click.FloatRange(0), help="Events a second; 0 is a burst.")
@click.option("--concurrency", default=4, show_default=True, type=click.IntRange(1, 64), help="Connections at once.")
@click.option("--reference", help="The provider's id of the payment; another run with it is about the same payment.")
@click.option("--order", "order_number", help="The order number of every payment.")
@click.option("--subscription", "subscription_id", type=int, help="The subscription that the payments are for.")
@click.option("--captured", "captured_minor", default=0, type=click.IntRange(0), help="Of a hold; 0: all. Stripe.")
@click.option("--refunded", "refunded_minor", default=0, type=click.IntRange(0), help="0: all.")
@click.option("--disputed", "disputed_minor", default=0, type=click.IntRange(0), help="0: all. Stripe.")
@click.option("--second-dispute", "second_dispute_minor", default=0, type=click.IntRange(0), help="As --disputed.")
@click.option("--fee", "fee_minor", default=0, type=click.IntRange(0), help="Within the charge. Stripe.")
@click.option("--dispute-fee", "dispute_fee_minor", default=0, type=click.IntRange(0), help="Stripe.")
@click.option("--fee-currency", help="In which Stripe settles the account.")
@click.option("--expand", "is_expanded", is_flag=True, help="Objects in place of their ids. Stripe.")
@click.option("--live", "is_live", is_flag=True, help="A payment of real money. Stripe, Chargily.")
@click.option("--account", help="The connected account of the events. Stripe.")
@click.option("--api-version", help="The version of the API in which the events are written. Stripe.")
@click.option("--svix", is_flag=True, help="Headers of Svix. Standard Webhooks.")
@click.option("--contradict", help="A field of the body that has two values.")
@click.option("--seed", type=int, help="Repeat a run: the same payments, choices and order.")
@click.option("--json", "as_json", is_flag=True, help="For a program to read.")
def send(
    provider: str,
    gateway_url: str,
    whats: str,
    count: int,
    amount: int,
    currency: str,
    users: tuple[int, ...],
    rate: float,
    concurrency: int,
    seed: int | None,
    as_json: bool,
    reference: str | None,
    order_number: str | None,
    **options: Any,
) -> None:
    """Send events of PROVIDER to the gateway, and show what it answered."""
    seed = randomness.randbelow(2**32) if seed is None else seed
    words = _words(provider, whats)
    of_payment = {name: options.pop(name) for name in _OF_PAYMENT}
    mix = options
    if reference and count > 1:
        raise click.UsageError("--reference: of one payment; leave out --count.")
    if mix["late"] and provider not in sending.SIGN_THE_TIME:
        raise click.UsageError(f"--late: {provider} signs no time; only {', '.join(sending.SIGN_THE_TIME)} do.")
    header = os.environ.get("NOUBA_PSP_GENERIC_HEADER", "X-Signature")
    traffic = sending.Traffic(provider=provider, secrets=_secrets(provider), whats=words, header=header, **mix)
    payments = sending.payments(provider, count=count, amount_minor=amount, users=users, currency=currency, seed=seed)
    named = {"reference": reference, "order_number": order_number}
    known = {**of_payment, **{name: value for name, value in named.items() if value is not None}}
    payments = [replace(payment, **known) for payment in payments]
    if provider in _BANKS:
        payments = _ordered(payments, words[-1])
    try:
        parcels = traffic.parcels(payments, random.Random(seed), sending.now())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    outcomes = sending.send(gateway_url, parcels, concurrency=concurrency, rate=rate)
    console = Console(stderr=True, quiet=as_json)
    results = list(track(outcomes, description=f"{provider} to {gateway_url}", total=len(parcels), console=console))
    if as_json:
        summary = {"provider": provider, "seed": seed, **sending.summary(results)}
        click.echo(json.dumps({**summary, "payments": [asdict(payment) for payment in payments]}))
    else:
        _show(results, seed)
    sys.exit(0 if all(outcome.is_expected for outcome in results) else 1)


def _words(provider: str, whats: str) -> list[str]:
    words = split(whats)
    if not words or set(words) - set(WORDS[provider]):
        raise click.UsageError(f"--events: {provider} sends {', '.join(WORDS[provider])}.")
    return words


def _show(results: Sequence[sending.Outcome], seed: int) -> None:
    summary = sending.summary(results)
    table = Table("sent", "event", "answer", title=f"{summary['sent']} requests, seed {seed}")
    table.add_column("how often", justify="right")
    table.add_column("as it should")
    for (scenario, what, status, answer, is_expected), count in sending.answers(results):
        mark = "[green]yes[/]" if is_expected else "[red]no[/]"
        table.add_row(scenario, what, f"{status or 'none'} {answer}", str(count), mark)
    table.caption = "  ".join(f"{name} {value} ms" for name, value in sending.latency_ms(results).items())
    Console().print(table)


def _secrets(provider: str) -> list[str]:
    if provider in _BANKS:
        has_checksum = os.environ.get("NOUBA_PSP_SATIM_CHECKSUM_MODE", "none") == "hmac_sha256"
        return split(os.environ.get("NOUBA_PSP_SATIM_CHECKSUM_KEYS", "")) if has_checksum else []
    secrets = split(os.environ.get(_SECRETS[provider], ""))
    if not secrets:
        raise click.UsageError(f"Set {_SECRETS[provider]} to the gateway's value; `make env` prints it.")
    return secrets


def _ordered(payments: Sequence[Payment], what: str) -> list[Payment]:
    """The payments as orders that the simulated bank knows, each ended as `what` says."""
    port = os.environ.get("NOUBA_LOCAL_PSP_PORT", "8092")
    orders = SatimClient(
        os.environ.get("NOUBA_PSP_SATIM_BASE_URL", f"http://127.0.0.1:{port}{REST}"),
        username=os.environ.get("NOUBA_PSP_SATIM_USERNAME", "simulator"),
        password=os.environ.get("NOUBA_PSP_SATIM_PASSWORD", "simulator"),
    )
    ordered = []
    try:
        for payment in payments:
            md_order = orders.open(payment.order_number or "", payment.amount_minor)
            orders.end(md_order, what)
            ordered.append(replace(payment, reference=md_order))
    except (httpx.HTTPError, RuntimeError) as error:
        raise click.ClickException(f"{error} Is the simulator running (python -m local.psp)?") from None
    return ordered


def split(text: str) -> list[str]:
    """The elements of a setting that is a list."""
    return [part.strip() for part in text.split(",") if part.strip()]
