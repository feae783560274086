"""`nouba school-tables`, `users`, `payments import` and `courses`: check tables, import from CSV, add a course."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TextIO

import click
from sqlalchemy import Engine

from shared.operations.cli_options import json_option, operators_database
from shared.operations.integration.add_course import CourseFaultError, add_course
from shared.operations.integration.check_tables import check_integration
from shared.operations.integration.csv_import import Imported, ImportFaultError, import_orders, import_users
from shared.runtime.visible_text import visible

_dry_run = click.option("--dry-run", is_flag=True, help="Show what would be written; write nothing.")
_file = click.argument("file", type=click.File("r", encoding="utf-8-sig"))


@click.group()
def school_tables() -> None:
    """Check the database tables that Nouba and the school share."""


@school_tables.command()
@json_option
def check(as_json: bool) -> None:
    """Check each table, column, type, right and value, and show the fix. The exit status is 1 where one is wrong."""
    with operators_database("nouba school-tables") as engine:
        found = check_integration(engine)
    if as_json:
        click.echo(json.dumps({"findings": [one.as_json() for one in found]}))
    else:
        for one in found:
            click.echo(f"{'ok   ' if one.is_right else 'WRONG'} {visible(f'{one.place}: {one.what}')}")
            if one.fix:
                click.echo(f"      fix: {visible(one.fix)}")
    raise SystemExit(0 if all(one.is_right for one in found) else 1)


@click.group()
def users() -> None:
    """Import users."""


@users.command("import")
@_file
@_dry_run
@json_option
def import_users_command(file: TextIO, dry_run: bool, as_json: bool) -> None:
    """Import users from FILE, a CSV.

    Its columns are id, name, email, phone, role, year_of_study and created_at; only id is needed.
    """
    _run(import_users, file, dry_run=dry_run, as_json=as_json)


@click.command("import")
@_file
@_dry_run
@json_option
def import_payments(file: TextIO, dry_run: bool, as_json: bool) -> None:
    """Import pending payments from FILE, a CSV.

    They have begun at a provider.
    Its columns are provider, provider_reference, order_number, user_id, amount_minor, currency, subscription_id.
    """
    _run(import_orders, file, dry_run=dry_run, as_json=as_json)


@click.group()
def courses() -> None:
    """Add courses."""


@courses.command()
@click.argument("title")
@click.option("--id", "course_id", type=click.IntRange(1, 2**63 - 1), help="Its id; the next free one by default.")
@click.option(
    "--chapter", "chapter_id", type=click.IntRange(1, 2**63 - 1), help="Id of the chapter that it belongs to."
)
@json_option
def add(title: str, course_id: int | None, chapter_id: int | None, as_json: bool) -> None:
    """Add a course with TITLE, and print its id."""
    with operators_database("nouba courses") as engine:
        try:
            added = add_course(engine, title, course_id=course_id, chapter_id=chapter_id)
        except CourseFaultError as error:
            raise click.ClickException(str(error)) from error
    # the id alone on standard output: COURSE=$(nouba courses add ...)
    click.echo(json.dumps({"id": added}) if as_json else added)


def _run(write: Callable[..., Imported], file: TextIO, *, dry_run: bool, as_json: bool) -> None:
    def act(engine: Engine) -> Imported:
        try:
            return write(engine, file, is_dry_run=dry_run)
        except (ImportFaultError, UnicodeDecodeError) as error:
            raise click.ClickException(visible(str(error))) from error

    with operators_database("nouba import") as engine:
        done = act(engine)
    if as_json:
        click.echo(json.dumps(asdict(done) | {"dry_run": dry_run}))
    else:
        words = "would be" if dry_run else "are"
        click.echo(f"{done.new} {words} new, {done.changed} {words} changed, {done.unchanged} stay as they are.")
