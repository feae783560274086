"""`nouba ledger`: verify the hash chain over inbox and ledger, row by row."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from shared.runtime.settings import DatabaseSettings, read_settings
from shared.runtime.visible_text import visible

if TYPE_CHECKING:
    from services.webhook_gateway.integrity.hash_chain import ChainHead


@click.group()
def ledger() -> None:
    """Verify the hash chain over webhooks, money and decisions.

    \b
    Examples:
      nouba ledger head                        the newest link; store it elsewhere
      nouba ledger verify                      check the whole chain; exit status 1 on a fault
      nouba ledger verify --expect-head 1200:9f86d0...   and check that a stored link is in it
      nouba ledger verify --anchors            and that every head of NOUBA_LEDGER_ANCHOR is
    """


@ledger.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def head(as_json: bool) -> None:
    """Print the newest link as POSITION:DIGEST.

    Store it elsewhere: it proves every row up to it.
    """
    from services.webhook_gateway.integrity.hash_chain import read_head
    from shared.runtime.database import build_engine

    engine = build_engine(read_settings(DatabaseSettings).database_url.get_secret_value(), application="nouba ledger")
    with engine.connect() as connection:
        newest = read_head(connection)
    click.echo(json.dumps({"position": newest.position, "digest": newest.digest.hex()}) if as_json else newest)


def _read_head(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, bytes] | None:
    if value is None:
        return None
    try:
        position, digest = value.split(":")
        return int(position), bytes.fromhex(digest)
    except ValueError:
        raise click.BadParameter("give what `head` printed: POSITION:DIGEST") from None


def _read_anchors() -> "Sequence[ChainHead]":
    from services.webhook_gateway.integrity.anchors import open_anchors
    from services.webhook_gateway.settings import AnchorSettings

    settings = read_settings(AnchorSettings)
    if not settings.ledger_anchor:
        raise click.UsageError("NOUBA_LEDGER_ANCHOR is not set: there are no anchors.")
    lock_days = settings.ledger_anchor_lock_days
    return open_anchors(settings.ledger_anchor, settings.ledger_anchor_endpoint_url, lock_days).read()


@ledger.command()
@click.option("--from", "start", type=click.IntRange(1), default=1, show_default=True, help="The first link to check.")
@click.option("--expect-head", callback=_read_head, metavar="POSITION:DIGEST", help="A link that was stored elsewhere.")
@click.option("--anchors", "with_anchors", is_flag=True, help="Also check the links that NOUBA_LEDGER_ANCHOR stores.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def verify(start: int, expect_head: tuple[int, bytes] | None, with_anchors: bool, as_json: bool) -> None:
    """Compare every row with the chain, every balance with its entries.

    Exit status 1 where there is a fault. Rows of the last seconds may have no seal yet; the worker makes them.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from services.webhook_gateway.integrity.hash_chain import ChainHead
    from services.webhook_gateway.integrity.verify_chain import verify as walk
    from shared.runtime.database import build_engine

    engine = build_engine(read_settings(DatabaseSettings).database_url.get_secret_value(), application="nouba ledger")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("seals", total=None)
        report = walk(
            engine,
            start=start,
            noted=ChainHead(*expect_head) if expect_head else None,
            anchors=_read_anchors() if with_anchors else (),
            on_progress=lambda position, last: progress.update(task, completed=position, total=last),
        )
    if as_json:
        faults = [asdict(fault) for fault in report.faults]
        click.echo(json.dumps({"seals": report.seals, "head": str(report.head), "faults": faults}))
    else:
        for fault in report.faults:
            click.echo(visible(str(fault)))
        click.echo(f"{report.seals} seals checked, {len(report.faults)} faults. The newest is {report.head}")
    sys.exit(1 if report.faults else 0)
