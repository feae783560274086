"""`nouba retention` and `nouba erase`: what is kept how long, and the erasure of one person's data."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table
from sqlalchemy import Engine

from shared.operations.cli_options import actor_option, json_option, operators_database, table_console
from shared.operations.retention.erase_old import BATCH_SIZE, Rule, count_due, erase_batch, rules
from shared.operations.retention.erase_user import NoSuchUserError
from shared.operations.retention.erase_user import erase_user as erase_data_of
from shared.operations.retention.settings import RetentionSettings
from shared.runtime.settings import read_settings

APPLICATION = "nouba retention"
#: Where retention begins late there are millions, which take minutes to count.
MAX_COUNTED = 1_000


@click.group()
def retention() -> None:
    """Show and erase what is past its retention.

    The payments worker erases by itself, every ten minutes. These commands need the
    rights of the tables' owner.

    \b
    Examples:
      nouba retention show             how long each kind is kept, and what is due
      nouba retention run --dry-run    count everything that is due
      nouba retention run              erase what is due now
    """


@retention.command()
@json_option
def show(as_json: bool) -> None:
    """Show how long each kind is kept, and how much is due.

    Rows of each kind are counted up to 1,000; in JSON, "more" says that there are more.
    """
    now, found = datetime.now(UTC), []
    with operators_database(APPLICATION) as engine:
        for rule in rules(read_settings(RetentionSettings)):
            due = count_due(engine, rule, now, at_most=MAX_COUNTED + 1)
            found.append(
                {"kind": rule.kind, "days": rule.days, "due": min(due, MAX_COUNTED), "more": due > MAX_COUNTED}
            )
    _print(found, "due", as_json)


@retention.command()
@click.option("--dry-run", is_flag=True, help="Count what is due and erase nothing.")
@json_option
def run(dry_run: bool, as_json: bool) -> None:
    """Erase what is due, in small batches."""
    word = "due" if dry_run else "erased"
    now, found = datetime.now(UTC), []
    with operators_database(APPLICATION) as engine:
        for rule in rules(read_settings(RetentionSettings)):
            count = count_due(engine, rule, now) if dry_run else _erase_all(engine, rule, now)
            found.append({"kind": rule.kind, "days": rule.days, word: count})
    _print(found, word, as_json)


@click.command()
@click.option("--user", "user_id", type=click.IntRange(1), required=True, help="The number of the user.")
@click.option("--reason", required=True, help="Why, for the audit log: the number of the request, no name.")
@click.option("--dry-run", is_flag=True, help="Count what would be erased and erase nothing.")
@actor_option
@json_option
def erase(user_id: int, reason: str, dry_run: bool, actor_name: str, as_json: bool) -> None:
    """Erase one person's data and keep the books.

    It empties name, e-mail, telephone and the bodies of the person's webhooks, and
    which lessons they watched. The books stay under the user's number, and the hash chain stays valid. Exit
    status 1 while bodies are left because their events are not settled or decided.
    Needs the rights of the tables' owner, as `nouba migrate` does.
    """
    with operators_database("nouba erase") as engine:
        try:
            done = erase_data_of(engine, user_id, who=actor_name, why=reason, dry_run=dry_run)
        except NoSuchUserError as error:
            raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(done.as_json() | {"dry_run": dry_run}))
    elif not done.changed:
        click.echo(f"User {user_id} has no personal data left to erase.")
    else:
        verb = "would be erased" if dry_run else "erased"
        click.echo(
            f"User {user_id}: {'profile and ' if done.profile else ''}{done.bodies} bodies {verb},"
            f" and what they watched on {done.watched_days} days."
        )
    if done.bodies_left:
        click.echo(
            f"{done.bodies_left} bodies are left: their events are not settled or decided, or were altered. See"
            " `nouba events list`, and erase again.",
            err=True,
        )
        sys.exit(1)


def _erase_all(engine: Engine, rule: Rule, now: datetime) -> int:
    count = 0
    while (batch := erase_batch(engine, rule, now)) > 0:
        count += batch
        if batch < BATCH_SIZE:
            break
    return count


def _print(found: Sequence[Mapping[str, Any]], word: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table("kind", "kept for", word)
    for one in found:
        days = f"{one['days']} days" if one["days"] else "ever"
        table.add_row(one["kind"], days, f"{one[word]:,}{'+' if one.get('more') else ''}")
    table_console().print(table)
