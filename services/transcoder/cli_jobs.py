"""`nouba transcoder worker, submit, jobs, retry, cancel`: the commands that need servers."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from services.transcoder.errors import TranscoderError
from services.transcoder.jobs.model import State
from services.transcoder.jobs.postgres_jobs import PostgresJobStore
from services.transcoder.jobs.postgres_speech import PostgresSpeechStore
from services.transcoder.jobs.status import JobStatus, read_statuses
from shared.runtime import logs
from shared.runtime.database import RetryingEngine, build_engine
from shared.runtime.settings import DatabaseSettings, read_settings
from shared.runtime.visible_text import visible

_POLL_SECONDS = 0.3


@click.command()
def worker() -> None:
    """Run a transcoding worker (queue `videos`).

    Any number of workers may run, on any number of machines.
    """
    from services.transcoder.worker import run
    from services.transcoder.worker_settings import WorkerSettings

    logs.configure("transcoder")
    with _clear_errors():
        raise SystemExit(run(read_settings(WorkerSettings)))


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--course", "course_id", required=True, type=int, help="The course that gets the video.")
@click.option("--follow", is_flag=True, help="Show progress until the job ends.")
@click.option(
    "--json", "as_json", is_flag=True, help="For programs: one JSON object a line on standard output, no bar."
)
def submit(file: Path, course_id: int, follow: bool, as_json: bool) -> None:
    """Upload FILE for a course, and enqueue its transcoding.

    It prints the key of the upload. The job has no id before a worker begins it: --follow prints the id then, and
    `nouba transcoder jobs` lists the newest jobs with their courses.
    """
    from services.transcoder.jobs import submit as use_case
    from services.transcoder.worker_settings import BucketSettings

    settings = read_settings(BucketSettings)
    database = _database(settings)
    with _clear_errors(), _upload_bar(file, hidden=as_json) as advance:
        key = use_case.submit(database, settings.storage, file, course_id, advance)
    if as_json:
        click.echo(json.dumps({"course_id": course_id, "source_key": key}))
    if follow:
        raise SystemExit(_follow(database, key, as_json=as_json))
    if not as_json:
        click.echo(
            f"{key}\nIt is in the queue; a worker makes its job: `nouba transcoder jobs` shows the id by the course."
        )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--limit", default=20, type=click.IntRange(1, 1000), help="How many, the newest first.")
def jobs(as_json: bool, limit: int) -> None:
    """List the newest jobs: their progress, failures and warnings."""
    found = read_statuses(_database(read_settings(DatabaseSettings)), limit=limit)
    if as_json:
        click.echo(json.dumps([one.as_json() for one in found]))
        return
    for one in found:
        click.echo(f"{one.id:6}  course {one.course_id:<8} {_line(one)}")
        warnings = [f"Warning: {warning['text']}" for warning in one.warnings]
        for note in (one.reason, one.detail, one.fault if not one.over else None, *warnings):
            if note:
                click.echo(f"        {visible(note)}")


@click.command()
@click.argument("job_id", type=int)
def retry(job_id: int) -> None:
    """Retry a failed or cancelled job; completed tasks are kept."""
    with _clear_errors():
        _jobs().retry(job_id)
    click.echo(f"Job {job_id} is in the queue again.")


@click.command()
@click.argument("job_id", type=int)
def cancel(job_id: int) -> None:
    """Cancel a job; workers stop within two seconds."""
    with _clear_errors():
        stopped = _jobs().cancel(job_id)
    if not stopped:
        raise click.ClickException(f"Job {job_id} is over already.")
    click.echo(f"Job {job_id} is cancelled.")


@click.command()
@click.argument("job_id", type=int)
def transcribe(job_id: int) -> None:
    """Make automatic captions of a completed job's lesson again.

    Workers with NOUBA_TRANSCODER_CAPTIONS_MODEL do it when no task of a video is pending.
    """
    with _clear_errors():
        PostgresSpeechStore(_database(read_settings(DatabaseSettings)), lease_seconds=30.0).begin(job_id)
    click.echo(f"The lesson of job {job_id} will be transcribed.")


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Faults become sentences."""
    try:
        yield
    except TranscoderError as error:
        raise click.ClickException(visible(str(error))) from error


def _follow(database: RetryingEngine, key: str, *, as_json: bool) -> int:
    from services.transcoder.jobs.submit import follow

    columns = (
        TextColumn("{task.description:12}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]:>7}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    last = job_id = None
    with Progress(*columns, console=Console(stderr=True), disable=as_json) as progress:
        task = progress.add_task("waiting", total=100.0, speed="", left="")
        for last in follow(database, key, lambda: time.sleep(_POLL_SECONDS)):
            if last is None:
                continue
            if not as_json and job_id is None:
                job_id = last.id
                progress.console.print(f"Job {job_id}.")
            speed = f"{last.speed:.1f}x" if last.speed else ""
            left = f"{last.seconds_left:.0f} s left" if last.seconds_left is not None else ""
            progress.update(task, description=last.state, completed=last.percent, speed=speed, left=left)
            if as_json:
                click.echo(json.dumps(last.as_json()))
    assert last is not None
    if not as_json:
        click.echo(last.master if last.state is State.COMPLETED else visible(last.reason or ""))
    return 0 if last.state is State.COMPLETED else 1


def _line(one: JobStatus) -> str:
    parts = [f"{one.state:10} {one.percent:5.1f} %", f"{one.chunks_done}/{one.chunks} chunks"]
    if one.speed and not one.over:
        parts.append(f"{one.speed:.1f}x")
    if one.seconds_left is not None:
        parts.append(f"{one.seconds_left:.0f} s left")
    return "  ".join([*parts, one.master or ""]).rstrip()


@contextmanager
def _upload_bar(file: Path, *, hidden: bool) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("uploading   "), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as progress:
        task = progress.add_task("uploading", total=file.stat().st_size)
        yield lambda count: progress.update(task, advance=count)


def _database(settings: DatabaseSettings) -> RetryingEngine:
    url = settings.database_url.get_secret_value()
    return RetryingEngine(build_engine(url, pool_size=1, application="nouba transcoder jobs"))


def _jobs() -> PostgresJobStore:
    return PostgresJobStore(_database(read_settings(DatabaseSettings)), lease_seconds=30.0)
