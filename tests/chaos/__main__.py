"""`python -m tests.chaos`: strike everything while money, videos and numbers go through it, and compare the end."""

import contextlib
import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.chaos import report
from tests.chaos.flood import Flood, withstand
from tests.chaos.run import Notify, Status, Wish, run

#: A blow takes its target away for some seconds, RabbitMQ for the most; so many of them fit into this.
SECONDS_PER_BLOW = 13.0
#: What two cores settle beside the storm.
EVENTS_PER_SECOND = 110.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("scene", type=click.Choice(["storm", "flood"]), default="storm")
@click.option("--seed", default=1, show_default=True, help="The same seed strikes and sends the same.")
@click.option("--events", default=2000, show_default=True, type=click.IntRange(20), help="Signed events to send.")
@click.option("--kills", default=3, show_default=True, type=click.IntRange(0), help="SIGKILLs of each process.")
@click.option("--pauses", type=click.IntRange(0), help="SIGSTOPs of each process.  [default: a tenth of the kills]")
@click.option("--restarts", type=click.IntRange(0), help="Orderly restarts of each.  [default: a tenth of the kills]")
@click.option("--videos", default=3, show_default=True, type=click.IntRange(0), help="Films to upload.")
@click.option("--days", default=10, show_default=True, type=click.IntRange(3, 300), help="Days of statistics.")
@click.option("--seconds", type=click.IntRange(10), help="How long the storm lasts.  [default: as it needs]")
@click.option(
    "--endpoint/--no-endpoint", default=True, help="Whether the school hears of all events; of a million for hours."
)
@click.option("--outage", type=click.Choice(["postgresql", "rabbitmq"]), help="No storm: this one is away, once.")
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(0.1), help="How long, for --outage.")
@click.option("--rate", default=200, show_default=True, type=click.IntRange(1), help="Events a second, for --outage.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object on standard output.")
@click.option("--logs", type=click.Path(file_okay=False, path_type=Path), help="Where the logs of all processes go.")
def chaos(
    scene: str,
    seed: int,
    events: int,
    kills: int,
    pauses: int | None,
    restarts: int | None,
    videos: int,
    days: int,
    seconds: int | None,
    endpoint: bool,
    outage: str | None,
    minutes: float,
    rate: int,
    as_json: bool,
    logs: Path | None,
) -> None:
    """Kill, pause and restart every server and process under load, then prove that nothing was lost or done twice.

    \b
    Examples:
      make chaos                                             some minutes
      make chaos SEED=7
      make chaos ARGS="--events 100000 --kills 50"           about twenty minutes
      make chaos ARGS="--events 1000000 --kills 50 --seconds 900 --no-endpoint"
      make chaos ARGS="--outage postgresql --minutes 10"     the database is away, webhooks come in all the same
      make chaos ARGS=flood                                  slow senders and forgers beside payments
      python -m tests.chaos --json

    What must be true in the end is computed from what was sent alone. Exit status 1 where anything differs.
    """
    # to be ended by a signal is as good a reason to stop everything as Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if scene == "flood":
        _flood(float(seconds or Flood().seconds), as_json=as_json)
    pauses = max(1, kills // 10) if pauses is None else pauses
    restarts = max(1, kills // 10) if restarts is None else restarts
    lasts = seconds or max(20.0, (kills + pauses + restarts) * SECONDS_PER_BLOW, events / EVENTS_PER_SECOND)
    wish = Wish(
        seed=seed, events=events, kills=kills, pauses=pauses, restarts=restarts, videos=videos, days=days,
        seconds=lasts, endpoint=endpoint,
    )  # fmt: skip
    if outage:
        # half a minute before and after it
        lasts = 60 * minutes + 60
        wish = Wish(
            seed=seed, events=int(rate * lasts), kills=0, pauses=0, restarts=0, videos=videos, days=days, seconds=lasts,
            endpoint=endpoint, outage=outage, outage_seconds=60 * minutes,
        )  # fmt: skip
    with _folder(logs) as folder, _bar() as notify:
        result = run(wish, folder, notify)
        found = report.as_json(result)
        if result.faults and logs is None:
            kept = Path(tempfile.mkdtemp(prefix="nouba-chaos-logs-"))
            shutil.copytree(folder / "logs", kept, dirs_exist_ok=True)
            click.echo(f"The logs of all processes are in {kept}.", err=True)
    if as_json:
        click.echo(json.dumps(found))
    else:
        report.show(result, Console())
    raise SystemExit(1 if result.faults else 0)


def _flood(seconds: float, *, as_json: bool) -> NoReturn:
    console = Console(stderr=True)
    with _folder(None) as folder, console.status("") as status:
        found = withstand(Flood(seconds=seconds), folder, status.update)
    click.echo(json.dumps(found.as_json())) if as_json else found.show(Console())
    raise SystemExit(1 if found.faults else 0)


@contextlib.contextmanager
def _folder(logs: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nouba-chaos-", ignore_cleanup_errors=True) as folder:
        try:
            yield Path(folder)
        finally:
            if logs is not None and (Path(folder) / "logs").is_dir():
                shutil.copytree(Path(folder) / "logs", logs, dirs_exist_ok=True)


@contextlib.contextmanager
def _bar() -> Iterator[Notify]:
    columns = (
        TextColumn("{task.description:34}"),
        BarColumn(),
        TextColumn("{task.fields[reported]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", reported="", total=1.0)

        def notify(status: Status) -> None:
            reported = f"{status.answered}/{status.to_answer} answered, {status.struck}/{status.blows} blows"
            share = (status.answered + status.struck) / max(1, status.to_answer + status.blows)
            progress.update(task, description=status.stage, reported=reported, completed=share)

        yield notify


if __name__ == "__main__":
    chaos(prog_name="python -m tests.chaos")
