"""`nouba payments` and `nouba wallet`: find a payment, explain a balance, correct a wallet, record a payout."""

import json
import uuid
from collections.abc import Sequence
from datetime import datetime

import click
from rich.table import Table
from sqlalchemy import Engine

from shared.operations.cli_options import Instant, actor_option, cell, json_option, operators_database, table_console
from shared.operations.payments.orders_paid_twice import find_surplus
from shared.operations.payments.queries import PaymentDetails, PaymentFilter, PaymentLine, find_payments, show_payment
from shared.operations.payments.wallet_statement import Wallet, read_wallet
from shared.runtime.currency import BadAmountError, format_minor, parse_minor
from shared.runtime.lazy_group import LazyGroup, Place
from shared.runtime.settings import CurrencyCode, ProcessSettings, read_settings
from shared.runtime.visible_text import visible

APPLICATION = "nouba payments"


class SchoolSettings(ProcessSettings):
    """The currency of the wallets, and the school's zone."""

    currency: CurrencyCode = "DZD"


_PLACES = {
    "import": Place("shared.operations.integration.cli:import_payments", "Import pending payments from FILE, a CSV.")
}


@click.group(cls=LazyGroup, places=_PLACES)
def payments() -> None:
    """Find and refund payments; correct wallets; record payouts.

    \b
    Examples:
      nouba payments find CMD0000004
      nouba payments find --email amina@school.example --status pending
      nouba payments show pi_3PqXyz
      nouba payments import orders.csv --dry-run
      nouba payments refund pi_3PqXyz --amount 500.00 --reason "one lesson less" --key ticket-1042
      nouba payments adjust 7 -200.00 --reason "paid twice in cash" --key cash-2026-11-23-7
      nouba payments record-payout satim 97500.00 --reference VIR-118 --on 2026-11-23
    """


@payments.command()
@click.argument("words", required=False)
@click.option("--reference", help="The provider's reference: a checkout, a payment intent, an mdOrder.")
@click.option("--order", "order_number", help="The school's order number.")
@click.option("--user", "user_id", type=click.IntRange(1), help="The number of the user.")
@click.option("--email", help="The user's e-mail address, in any case of letters.")
@click.option("--status", help="Such as pending, completed, refunded or disputed.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Maximum number, newest first."
)
@json_option
def find(limit: int, as_json: bool, **given: str | int | None) -> None:
    """Find payments.

    WORDS are a reference, an order number, or the number of a payment or a user.

    \b
    Examples:
      nouba payments find CMD0000004
      nouba payments find --user 7 --status pending
      nouba payments find --email amina@school.example --json
    """
    wanted = PaymentFilter(**given)  # type: ignore[arg-type]
    if wanted.is_empty():
        raise click.UsageError("Say what to search for: WORDS, --reference, --order, --user, --email or --status.")
    with operators_database(APPLICATION) as engine:
        found = find_payments(engine, wanted, limit=limit)
    if as_json:
        click.echo(json.dumps({"payments": [one.as_json() for one in found]}))
        return
    if not found:
        raise click.ClickException("No such payment. Its webhook may wait: nouba webhooks list --state undecided.")
    _print_payments(found)


@payments.command()
@click.argument("reference", metavar="REF")
@json_option
def show(reference: str, as_json: bool) -> None:
    """Show one payment with its events and ledger entries.

    REF is the number of the payment, the provider's reference or the order number.

    \b
    Examples:
      nouba payments show 4711
      nouba payments show V721uPPfNNofVQAAABL3 --json
    """
    with operators_database(APPLICATION) as engine:
        details = _payment(engine, reference)
    if as_json:
        click.echo(json.dumps(details.as_json()))
    else:
        _print_details(details)


@payments.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="The newest so many.")
@json_option
def paid_twice(limit: int, as_json: bool) -> None:
    """List orders that were paid more than once.

    At one provider or at several.
    All of it is in the payer's wallet. Give the surplus back at the provider, and its webhook takes it from the wallet.

    \b
    Examples:
      nouba payments paid-twice
      nouba payments paid-twice --json
    """
    with operators_database(APPLICATION) as engine:
        found = find_surplus(engine, limit=limit)
    if as_json:
        click.echo(json.dumps({"surplus": [one.as_json() for one in found]}))
        return
    if not found:
        click.echo("No order was paid twice.")
        return
    table = _table("order", "user", "paid again", "payments", ">surplus")
    for one in found:
        pairs = zip(one.payment_ids, one.providers, strict=True)
        paid = ", ".join(f"{number} ({provider})" for number, provider in pairs)
        amount = format_minor(one.surplus_minor, one.currency)
        table.add_row(*map(cell, (one.order_number, str(one.user_id), _short(one.paid_again_at), paid, amount)))
    table_console().print(table)


@payments.command()
@click.argument("reference", metavar="REF")
@click.option("--amount", help="In the currency's main unit, such as 500.00; all that is left unless given.")
@click.option("--reason", required=True, help="For the audit.")
@click.option("--key", "idempotency_key", help="Makes it the same refund when it is asked for again.")
@actor_option
@click.option(
    "--wait", type=click.FloatRange(0, 600), default=20.0, show_default=True, help="Seconds for the provider."
)
@json_option
def refund(
    reference: str,
    amount: str | None,
    reason: str,
    idempotency_key: str | None,
    actor_name: str,
    wait: float,
    as_json: bool,
) -> None:
    """Refund the payment REF at its provider.

    Providers with refunds are Stripe and SATIM. The ledger books the refund when the provider reports it.

    The payments worker sends one refund, even if the worker or the network fails meanwhile. Requests with the same
    --key are one refund. The exit status is 1 if the provider refuses, or if the result is unknown.

    \b
    Examples:
      nouba payments import orders.csv --dry-run
      nouba payments refund pi_3PqXyz --reason "the course was cancelled"
      nouba payments refund 4711 --amount 500.00 --reason "one lesson less" --key ticket-1042
    """
    from shared.operations.payments import request_refund as use_case

    with operators_database(APPLICATION) as engine:
        payment = _payment(engine, reference).payment
        try:
            amount_minor = None if amount is None else parse_minor(amount, payment.currency)
        except BadAmountError as error:
            raise click.BadParameter(str(error), param_hint="--amount") from None
        wanted = use_case.Refund(
            idempotency_key=idempotency_key or f"cli-{uuid.uuid4()}",
            payment_id=payment.id,
            amount_minor=amount_minor,
            reason=reason,
            actor_name=actor_name,
        )
        try:
            refund_id, is_new = use_case.request_refund(engine, wanted)
        except use_case.CannotRefundError as error:
            raise click.ClickException(str(error)) from None
        status = use_case.wait_for_refund(engine, refund_id, wait)
    figure = format_minor(status.amount_minor, payment.currency)
    if as_json:
        click.echo(json.dumps({**status.as_json(), "is_new": is_new, "key": wanted.idempotency_key}))
    elif status.state == "accepted":
        before = "" if is_new else "It was asked for before. "
        click.echo(f"{before}{payment.provider} has begun the refund of {figure}: nouba payments show {payment.id}")
    elif status.state in ("requested", "sending"):
        why = f" ({status.note})" if status.note else ""
        click.echo(f"Refund {refund_id} of {figure} is kept; a worker sends it to {payment.provider}{why}.")
    if status.state in ("refused", "unknown"):
        raise click.ClickException(f"Refund {refund_id} of {figure} is {status.state}: {status.note}")


@payments.command(context_settings={"ignore_unknown_options": True})
@click.argument("user_id", metavar="USER", type=click.IntRange(1))
@click.argument("amount")
@click.option("--reason", required=True, help="For the statement and the audit.")
@click.option("--key", "idempotency_key", help="Makes it the same correction when it is asked for again.")
@click.option("--payment", "payment_id", type=click.IntRange(1), help="The payment that it corrects.")
@actor_option
@click.option("--wait", type=click.FloatRange(0, 600), default=10.0, show_default=True, help="Seconds for a worker.")
@json_option
def adjust(
    user_id: int,
    amount: str,
    reason: str,
    idempotency_key: str | None,
    payment_id: int | None,
    actor_name: str,
    wait: float,
    as_json: bool,
) -> None:
    """Correct the wallet of a user.

    AMOUNT is in the currency's main unit: 200.00 credits, -200.00 debits.

    The payments worker books it as a balanced posting against the account `adjustments`, and then the subscriptions
    that the balance pays for, or no longer does. With a --key it is booked once, however often it is asked for.

    \b
    Examples:
      nouba payments adjust 7 200.00 --reason "lesson was cancelled" --key ticket-1042
      nouba payments adjust 7 -200.00 --reason "paid twice in cash" --payment 4711 --actor-name amina
    """
    from shared.operations.payments import request_wallet_adjustment as use_case

    currency = read_settings(SchoolSettings).currency
    amount_minor = _amount_minor(amount, currency)
    wanted = use_case.Adjustment(
        idempotency_key=idempotency_key or f"cli-{uuid.uuid4()}",
        user_id=user_id,
        amount_minor=amount_minor,
        currency=currency,
        reason=reason,
        actor_name=actor_name,
        payment_id=payment_id,
    )
    with operators_database(APPLICATION) as engine:
        try:
            adjustment_id, is_new = use_case.request_adjustment(engine, wanted)
        except use_case.CannotAdjustError as error:
            raise click.ClickException(str(error)) from None
        status = use_case.wait_for_adjustment(engine, adjustment_id, wait)
    if as_json:
        click.echo(json.dumps({**status.as_json(), "is_new": is_new, "key": wanted.idempotency_key}))
    elif status.is_booked:
        before = "" if is_new else "It was booked before. "
        click.echo(f"{before}The wallet of user {user_id} has {format_minor(status.balance_minor, currency)} now.")
    elif status.refusal is None:
        click.echo(f"Correction {adjustment_id} is kept; a worker books it when one runs.")
    if status.refusal:
        raise click.ClickException(f"Correction {adjustment_id} was refused: {status.refusal}.")


@payments.command(context_settings={"ignore_unknown_options": True})
@click.argument("provider")
@click.argument("amount")
@click.option("--reference", required=True, help="The bank's reference of the transfer; it names the payout.")
@click.option(
    "--on",
    "paid_at",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DAY",
    required=True,
    help="The day of the transfer: 2026-11-23.",
)
@actor_option
@click.option("--wait", type=click.FloatRange(0, 600), default=10.0, show_default=True, help="Seconds for a worker.")
@json_option
def record_payout(
    provider: str,
    amount: str,
    reference: str,
    paid_at: datetime,
    actor_name: str,
    wait: float,
    as_json: bool,
) -> None:
    """Record what PROVIDER paid out to the school's bank.

    AMOUNT is in the currency's main unit, as the bank statement has it: 97500.00; -97500.00 is a payout that came back.

    No money moves. The payments worker books the payout, and what the provider owes is less by it
    (`payments.clearing` of the statistics). With the same --reference it is booked once, however often it is recorded.

    \b
    Examples:
      nouba payments record-payout satim 97500.00 --reference VIR-118 --on 2026-11-23
      nouba payments record-payout satim -97500.00 --reference VIR-118-R --on 2026-11-25 --actor-name amina
    """
    from shared.operations.payments import record_payout as use_case

    settings = read_settings(SchoolSettings)
    currency, amount_minor = settings.currency, _amount_minor(amount, settings.currency)
    if not (reference := reference.strip()):
        raise click.BadParameter("it is empty", param_hint="--reference")
    if (paid_on := paid_at.date()) > datetime.now(settings.zone).date():
        raise click.BadParameter(f"{paid_on} has not come yet; give the day of the transfer", param_hint="--on")
    wanted = use_case.Payout(
        provider=provider,
        reference=reference,
        amount_minor=amount_minor,
        currency=currency,
        paid_on=paid_on,
        actor_name=actor_name,
    )
    with operators_database(APPLICATION) as engine:
        try:
            payout_id, is_new = use_case.record_payout(engine, wanted)
        except use_case.CannotRecordError as error:
            raise click.ClickException(str(error)) from None
        status = use_case.wait_for_payout(engine, payout_id, wait)
    payout = f"Payout {payout_id} of {format_minor(amount_minor, currency)} by {provider}"
    if as_json:
        click.echo(json.dumps({**status.as_json(), "is_new": is_new}))
    elif status.is_booked:
        click.echo(f"{payout} is booked." if is_new else f"{payout} was recorded before, and is booked.")
    elif status.refusal is None:
        click.echo(f"{payout} is kept; a worker books it when one runs.")
    if status.refusal:
        raise click.ClickException(f"{payout} was refused: {status.refusal}.")


@click.command()
@click.argument("user_id", metavar="USER", type=click.IntRange(1))
@click.option("--at", type=Instant(), help="As it was then: 2026-11-23, 2026-11-23T14:00, 7d.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Maximum number, newest first."
)
@json_option
def wallet(user_id: int, at: datetime | None, limit: int, as_json: bool) -> None:
    """Explain a user's balance and subscriptions.

    \b
    Examples:
      nouba wallet 7
      nouba wallet 7 --at 2026-11-01
      nouba wallet 7 --limit 1000 --json
    """
    currency = read_settings(SchoolSettings).currency
    with operators_database("nouba wallet") as engine:
        found = read_wallet(engine, user_id, currency, at=at, limit=limit)
    if found is None:
        raise click.ClickException(f"There is no user {user_id}; nouba payments find --email finds one's payments.")
    if as_json:
        click.echo(json.dumps(found.as_json()))
    else:
        _print_wallet(found)


def _amount_minor(amount: str, currency: str) -> int:
    try:
        amount_minor = parse_minor(amount, currency)
    except BadAmountError as error:
        raise click.BadParameter(str(error), param_hint="AMOUNT") from None
    if amount_minor == 0:
        raise click.BadParameter("nothing would be booked", param_hint="AMOUNT")
    return amount_minor


def _payment(engine: Engine, reference: str) -> PaymentDetails:
    """The payment of that number, provider's reference or order number; a sentence where there is not just one."""
    details = show_payment(engine, int(reference)) if _is_number(reference) else None
    if details is None:
        either = {
            one.id: one
            for wanted in (PaymentFilter(reference=reference), PaymentFilter(order_number=reference))
            for one in find_payments(engine, wanted)
        }
        if len(either) > 1:
            _print_payments(list(either.values()))
            raise click.ClickException(f"{len(either)} payments have {reference!r}: show one by its number.")
        details = show_payment(engine, next(iter(either))) if either else None
    if details is None:
        raise click.ClickException(f"There is no payment {reference!r}. Its webhook may wait: nouba webhooks list.")
    return details


def _print_payments(found: Sequence[PaymentLine]) -> None:
    table = _table("id", "begun", "provider", "reference", "order", "user", ">amount", ">in the wallet", "status")
    for one in found:
        amounts = (format_minor(one.amount_minor, one.currency), format_minor(one.credited_minor, one.currency))
        names = (one.provider, one.reference or "-", one.order_number or "-", str(one.user_id))
        table.add_row(*map(cell, (str(one.id), _short(one.created_at), *names, *amounts, one.status)))
    table_console().print(table)


def _print_details(details: PaymentDetails) -> None:
    payment = details.payment
    click.echo(
        f"payment {payment.id} of {payment.provider}, reference {visible(payment.reference or '-')}, order "
        f"{visible(payment.order_number or '-')}, user {payment.user_id}"
    )
    shown = {
        "amount": payment.amount_minor,
        "in the wallet": payment.credited_minor,
        "refunded": payment.refunded_minor,
        "fee": payment.fee_minor,
    }
    click.echo(
        f"  {payment.status}: "
        + ", ".join(f"{name} {format_minor(amount, payment.currency)}" for name, amount in shown.items())
    )
    for note in details.notes:
        click.echo(f"  {visible(note)}")
    if details.objects:
        table = _table("object", "id", "state", ">amount", "began", "ended")
        for thing in details.objects:
            figure = format_minor(thing.amount_minor, payment.currency)
            times = (_short(at) if at else "-" for at in (thing.began_at, thing.ended_at))
            table.add_row(*map(cell, (thing.kind, thing.object_id, thing.state, figure, *times)))
        table_console().print(table)
    table = _table("event", "received", "state", "reason")
    for event in details.events:
        state = f"{event.state}, {event.resolution}" if event.resolution else event.state
        table.add_row(*map(cell, (str(event.id), _short(event.received_at), state, event.reason or "-")))
    table_console().print(table)
    table = _table("posting", "booked", "kind", "event", "account", ">amount")
    for posting in details.postings:
        first = (str(posting.id), _short(posting.at), posting.kind, str(posting.event_id or "-"))
        for account, amount, currency in posting.entries:
            table.add_row(*map(cell, (*first, account, format_minor(amount, currency, with_sign=True))))
            first = ("", "", "", "")
    table_console().print(table)


def _print_wallet(found: Wallet) -> None:
    balance = format_minor(found.balance_minor, found.currency)
    click.echo(f"user {found.user_id}, {_short(found.at)}: {balance}")
    table = _table("booked", "kind", ">amount", ">balance", "payment", "subscription", "note")
    for one in found.entries:
        amounts = (
            format_minor(one.amount_minor, one.currency, with_sign=True),
            format_minor(one.balance_minor, one.currency),
        )
        causes = (str(one.payment_id or "-"), str(one.subscription_id or "-"), one.note or "")
        table.add_row(*map(cell, (_short(one.at), one.kind, *amounts, *causes)))
    table_console().print(table)
    if found.has_more:
        click.echo("There are older entries: --limit shows more.")
    for line in found.subscriptions:
        mark = "active" if line.is_active else line.status
        click.echo(f"subscription {line.id} ({mark}): {visible(line.reason)}")
    for payment in found.payments:
        if payment.status in ("pending", "authorized"):
            amount = format_minor(payment.amount_minor, payment.currency)
            click.echo(f"payment {payment.id} of {amount} is {payment.status}: nouba payments show {payment.id}")


def _table(*names: str) -> Table:
    """A column for each name; those after a `>` are figures."""
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left")
    return table


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _short(instant: datetime) -> str:
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"
