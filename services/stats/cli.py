"""`nouba stats`: daily statistics."""

import json
from datetime import UTC, date, datetime
from time import sleep
from typing import Any

import click
from sqlalchemy import Engine

from services.stats.api.cli import api
from services.stats.errors import StatsError
from services.stats.settings import CountSettings, MailSettings, StatsSettings
from shared.runtime import logs
from shared.runtime.database import build_engine
from shared.runtime.settings import read_settings


class Stats(click.Group):
    """A group whose faults are sentences."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except StatsError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Stats)
def stats() -> None:
    """Compute, show and verify daily statistics.

    \b
    Examples:
      nouba stats show                            the last day
      nouba stats show 2026-11-01 --json          one day, for a program
      nouba stats compute 2025-01-01 2025-12-31   compute a year now
      nouba stats verify                          compare stored days with a rebuild
      nouba stats invalidate 2026-09-01           recompute a day
      nouba stats definitions payments            what the numbers mean
      nouba stats rows revenue.net 2026-11-22     the rows that a number is made of
      nouba stats close-months --through 2026-10  close a month and every earlier one
      nouba stats mail --print                    what the head of school is mailed
      nouba stats scheduler                       enqueue due days
      nouba stats worker                          compute due days
    """


class Day(click.ParamType[date]):
    """A day as 2026-11-23, or `yesterday`."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        if value == "yesterday":
            from services.stats.days import yesterday

            return yesterday(datetime.now(UTC), read_settings(CountSettings).zone)
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day; write it as 2026-11-23, or as yesterday", param, ctx)


@stats.command()
@click.argument("day", type=Day(), required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs: exactly what the API answers.")
def show(day: date | None, as_json: bool) -> None:
    """Show a day, or the last complete one.

    A day of which a section failed is shown with the reason, where no complete version is kept.
    """
    from services.stats import cli_output
    from services.stats.snapshots import postgres_snapshots
    from services.stats.snapshots.compute import canonical

    engine = _engine()
    found = (
        postgres_snapshots.latest(engine)
        if day is None
        else postgres_snapshots.on(engine, day) or postgres_snapshots.attempt_on(engine, day)
    )
    if found is None:
        raise click.ClickException(
            f"Nothing is kept for {day}; compute it with: nouba stats compute {day}"
            if day
            else "Nothing is kept yet; compute a day with: nouba stats compute yesterday"
        )
    if as_json:
        click.echo(canonical(found.payload))
    else:
        cli_output.show(found)
    if not found.complete:
        raise SystemExit(1)


@stats.command()
@click.argument("first", metavar="FROM", type=Day())
@click.argument("last", metavar="[TO]", type=Day(), required=False)
def compute(first: date, last: date | None) -> None:
    """Compute the days FROM to TO now, in this process.

    FROM and TO are included, due or not, and whether they were computed before or not; FROM alone is one day. A new
    version of a day is stored only if a number differs. Two years take one pass over the tables.

    \b
    Examples:
      nouba stats compute yesterday
      nouba stats compute 2024-09-01 yesterday
    """
    from services.stats import cli_output
    from services.stats.snapshots.backfill import backfill

    with cli_output.progress("computing days") as show_progress:
        outcome = backfill(_computation(), first, last or first, show_progress)
    cli_output.computed(outcome, first, last or first)


@stats.command()
@click.argument("first", metavar="[FROM]", type=Day(), required=False)
@click.argument("last", metavar="[TO]", type=Day(), required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def verify(first: date | None, last: date | None, as_json: bool) -> None:
    """Compare stored days with a rebuild; print each difference.

    Numbers whose source keeps no history are known at their day's end only and are not compared (see explain). Days
    that are due to be computed again are named apart: that they differ is known.
    """
    from services.stats import cli_output
    from services.stats.snapshots.backfill import ANNOUNCED_WITHIN_SECONDS
    from services.stats.snapshots.backfill import verify as run
    from services.stats.snapshots.postgres_snapshots import PostgresSnapshots

    def wait() -> None:
        sleep(ANNOUNCED_WITHIN_SECONDS)

    with cli_output.progress("comparing days") as show_progress:
        verdict = run(PostgresSnapshots(_engine()), _computation(), first, last, show_progress, wait)
    if as_json:
        click.echo(json.dumps(cli_output.verdict_as_json(verdict)))
    else:
        cli_output.verified(verdict)
    if verdict.differing or verdict.missing or verdict.failed:
        raise SystemExit(1)


@stats.command()
@click.argument("first", metavar="FROM", type=Day())
@click.argument("last", metavar="[TO]", type=Day(), required=False)
def invalidate(first: date, last: date | None) -> None:
    """Invalidate days whose facts were changed late.

    From FROM to TO, both included; FROM alone is one day.

    The worker computes these days again within minutes, and the later ones whose numbers follow from theirs. The
    database says so by itself of what the school's application writes; this is for what was changed while its triggers
    were off, or restored.

    \b
    Examples:
      nouba stats invalidate 2026-09-01
      nouba stats invalidate 2026-09-01 2026-09-30
    """
    from services.stats.days import yesterday
    from services.stats.snapshots.dirty_days import note_days

    settings = read_settings(CountSettings)
    marked = note_days(_engine(), first, last or first, yesterday(datetime.now(UTC), settings.zone))
    click.echo(f"{marked} days are invalidated; the worker recomputes them.")


@stats.command()
@click.argument("one", metavar="DAY", type=Day())
@click.argument("other", metavar="OTHER_DAY", type=Day())
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def compare_days(one: date, other: date, as_json: bool) -> None:
    """Show the differences between the numbers of two days."""
    from services.stats import cli_output
    from services.stats.errors import NoStatisticsError
    from services.stats.snapshots import postgres_snapshots
    from services.stats.snapshots.compute import differences

    engine = _engine()
    kept = {day: postgres_snapshots.on(engine, day) for day in (one, other)}
    for day, snapshot in kept.items():
        if snapshot is None:
            raise NoStatisticsError(f"No complete version of {day} is kept; compute it with: nouba stats compute {day}")
    before, after = (snapshot.payload for snapshot in kept.values() if snapshot) if one != other else ({}, {})
    found = differences(before, after) if one != other else {}
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        cli_output.differing(one, other, found)


@stats.command()
@click.argument("name", required=False, default="")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--markdown", is_flag=True, help="The reference page docs/statistics.md.")
def definitions(name: str, as_json: bool, markdown: bool) -> None:
    """Print the definitions of the numbers.

    NAME is an id or the beginning of ids; all of them without it.

    \b
    Examples:
      nouba stats definitions revenue.net
      nouba stats definitions subscriptions
    """
    from services.stats import cli_output
    from services.stats.sections.catalogue import as_markdown, find

    found = find(name)
    if not found:
        raise click.ClickException(f"No number is called {name!r}; nouba stats definitions lists them all.")
    if markdown:
        click.echo(as_markdown(), nl=False)
    elif as_json:
        click.echo(json.dumps(cli_output.definitions_as_json(found), ensure_ascii=False))
    else:
        cli_output.explained(found)


@stats.command()
@click.argument("number")
@click.argument("day", type=Day())
@click.option("--key", help="One key of a breakdown, such as a chapter's id, or ~none.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="So many rows.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def rows(number: str, day: date, key: str | None, limit: int, as_json: bool) -> None:
    """Show the rows behind NUMBER of DAY.

    Who, what, when and how much: all of them add up to it.

    \b
    Example:
      nouba stats rows revenue.by_chapter 2026-11-22 --key 12
      nouba stats rows corrections.revenue.net 2026-11-01
    """
    from services.stats import cli_output
    from services.stats.rows.read_page import as_json as to_json
    from services.stats.rows.reader import RowReader
    from services.stats.sections.base import Rules
    from services.stats.snapshots import postgres_snapshots
    from services.stats.snapshots.compute import value_of

    settings, engine = read_settings(CountSettings), _engine()
    kept = postgres_snapshots.on(engine, day)
    value = value_of(kept.payload, number) if kept else None
    named = tuple(value) if isinstance(value, dict) else ()
    reader = RowReader(engine, Rules(settings.currency, settings.stats_grace_days), settings.zone)
    page = reader.read(day, number, key, named, 0, limit, largest_first=None)
    found = page.rows
    while page.next is not None and len(found) < limit:
        page = reader.read(day, number, key, named, page.next, limit - len(found), largest_first=page.largest_first)
        found += page.rows
    if as_json:
        click.echo(json.dumps(to_json(found), ensure_ascii=False))
    else:
        cli_output.rows(number, found, settings.currency)


class Month(click.ParamType[date]):
    """A month as 2026-10."""

    name = "month"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(f"{value}-01")
        except ValueError:
            self.fail(f"{value!r} is not a month; write it as 2026-10", param, ctx)


@stats.command()
@click.option("--through", "month", type=Month(), required=True, help="The last month to close, as 2026-10.")
@click.option("--by", default="operator", show_default=True, help="Who closes them.")
def close_months(month: date, by: str) -> None:
    """Close a month and every earlier one.

    Their numbers stay as they are. What comes later is a correction on the first day of the open month. It cannot be
    undone. The scheduler closes a month by itself on NOUBA_STATS_CLOSING_DAY of the next one.

    \b
    Example:
      nouba stats close-months --through 2026-10
    """
    from services.stats.days import yesterday
    from services.stats.snapshots.closing import close as run

    last = yesterday(datetime.now(UTC), read_settings(CountSettings).zone)
    months = run(_engine(), month, by, last)
    click.echo(f"{len(months)} months are closed now." if months else f"{month:%Y-%m} is closed already.")


@stats.command()
@click.option("--size", type=click.Choice(["small", "medium", "10m"]), default="small", show_default=True)
@click.option("--seed", "number", type=click.IntRange(0, 1_000_000), default=1, show_default=True, help="Which school.")
@click.option("--until", type=Day(), help="The day after the last one.  [default: today]")
def seed(size: str, number: int, until: date | None) -> None:
    """Fill an empty database with a made-up school of two years.

    \b
    small    1,000 users        10,000 payments      50,000 check-ins
    medium   100,000 users   1,000,000 payments   5,000,000 check-ins
    10m      1,000,000 users 10,000,000 payments 50,000,000 check-ins
    """
    from services.stats import cli_output
    from services.stats.days import day_of
    from services.stats.seeding.seeder import SIZES
    from services.stats.seeding.seeder import seed as run

    settings = read_settings(CountSettings)
    end = until or day_of(datetime.now(UTC), settings.zone)
    with cli_output.seeding() as show_progress:
        done = run(_engine(), SIZES[size], number, end, settings.zone, show_progress)
    click.echo(f"{done.rows:,} rows in {done.seconds:.1f} s: {done.rows_per_second:,} rows/s")


@stats.command()
@click.argument("day", type=Day(), required=False)
@click.option("--to", "recipients", multiple=True, metavar="ADDRESS", help="[default: NOUBA_STATS_MAIL_TO]")
@click.option("--print", "only_print", is_flag=True, help="Print its text and send nothing.")
def mail(day: date | None, recipients: tuple[str, ...], only_print: bool) -> None:
    """Mail a day's six numbers now, or those of the last day.

    The scheduler does it every morning where NOUBA_STATS_MAIL_TO is set; this tries the settings.

    \b
    Examples:
      nouba stats mail --print
      nouba stats mail yesterday --to head@school.example
    """
    from services.stats.morning_mail.send import render
    from services.stats.morning_mail.smtp import send

    settings = read_settings(MailSettings)
    recipients = recipients or settings.mail_recipients()
    message = render(_engine(), settings, day, recipients)
    if only_print:
        text = message.get_body(("plain",))
        click.echo(f"{message['Subject']}\n\n{text.get_content() if text else ''}", nl=False)
        return
    if not recipients:
        raise click.UsageError("Say to whom: --to ADDRESS, or set NOUBA_STATS_MAIL_TO.")
    refused = send(message, settings.mail_url.get_secret_value())
    click.echo(f"The mail server took it for {len(recipients) - refused} of {len(recipients)} recipients.")


@stats.command()
def worker() -> None:
    """Run the statistics worker (queue `default`)."""
    from services.stats.worker import run

    logs.configure("stats-worker")
    raise SystemExit(run(read_settings(StatsSettings)))


@stats.command()
def scheduler() -> None:
    """Enqueue due days, at midnight and every few minutes.

    Any number of schedulers may run.
    """
    from services.stats.scheduler import run

    logs.configure("stats-scheduler")
    raise SystemExit(run(read_settings(StatsSettings)))


def _engine() -> Engine:
    return build_engine(
        read_settings(CountSettings).database_url.get_secret_value(), pool_size=3, application="nouba stats"
    )


def _computation() -> Any:
    from services.stats.snapshots.wiring import build_computation

    return build_computation(_engine(), read_settings(CountSettings))


stats.add_command(api)
