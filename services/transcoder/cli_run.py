"""`nouba transcoder run`: encodes a film to HLS on this machine, without servers."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from services.transcoder.encoding.local_pipeline import EncodingProgress, Lesson, make_lesson
from services.transcoder.encoding_settings import EncodingSettings
from services.transcoder.errors import RejectedInputError, TranscoderError
from services.transcoder.ffmpeg.process import Ffmpeg, Limits
from services.transcoder.hls.playlists import MASTER_NAME
from shared.runtime.settings import read_settings
from shared.runtime.visible_text import visible


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out", "folder", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder to create."
)
@click.option(
    "--jobs", type=click.IntRange(1, 64), help="Chunks encoded at once; NOUBA_TRANSCODER_CONCURRENCY, or one a core."
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object on standard output, no bar.")
def run(file: Path, folder: Path, jobs: int | None, as_json: bool) -> None:
    """Encode FILE to HLS in a new folder, without servers."""
    settings = read_settings(EncodingSettings)
    with _interruptible() as interrupted, _bar(hidden=as_json) as show_progress:
        try:
            lesson = make_lesson(
                file,
                folder,
                ffmpeg_of(settings),
                recipe=settings.recipe,
                jobs=jobs or settings.transcoder_concurrency,
                scratch=settings.transcoder_scratch_dir,
                on_progress=show_progress,
                cancelled=interrupted.is_set,
            )
        except TranscoderError as error:
            if not as_json:
                raise click.ClickException(visible(str(error))) from error
            reason = error.reason if isinstance(error, RejectedInputError) else None
            click.echo(json.dumps({"error": type(error).__name__, "reason": reason, "message": str(error)}))
            raise SystemExit(1) from error
    if as_json:
        click.echo(json.dumps(_summary(lesson)))
    else:
        _show(lesson)


def ffmpeg_of(settings: EncodingSettings) -> Ffmpeg:
    """The programs that the settings name."""
    limits = Limits(memory_bytes=settings.ffmpeg_memory_bytes)
    return Ffmpeg(settings.ffmpeg, settings.ffprobe, confinement=settings.sandbox, limits=limits)


def _summary(lesson: Lesson) -> dict[str, Any]:
    duration = float(lesson.assembly.duration_seconds)
    return {
        "master": str(lesson.folder / MASTER_NAME),
        "key": lesson.plan.key,
        "duration_seconds": round(duration, 3),
        "pictures_per_second": str(lesson.plan.rate),
        "chunks": len(lesson.plan.chunks),
        "renditions": {
            name: {
                "codec": rendition.track.codec,
                "width": rendition.track.width or None,
                "height": rendition.track.height or None,
                "segments": len(rendition.segments),
                "bytes": sum(rendition.sizes),
            }
            for name, rendition in lesson.assembly.renditions.items()
        },
        "stills": list(lesson.stills),
        "warnings": [{"code": warning.code, "text": warning.text} for warning in lesson.warnings],
        "seconds": round(lesson.seconds, 2),
        "speed": round(duration / max(0.001, lesson.seconds), 2),
    }


def _show(lesson: Lesson) -> None:
    summary = _summary(lesson)
    click.echo(f"{summary['master']}")
    for warning in lesson.warnings:
        click.echo(f"Warning: {visible(warning.text)}", err=True)
    for name, one in summary["renditions"].items():
        size = f"{one['width']} x {one['height']}" if one["width"] else "sound"
        click.echo(f"  {name:8} {size:12} {one['segments']:5} segments {one['bytes'] / 1e6:9.2f} MB")
    click.echo(f"{summary['duration_seconds']} s in {summary['seconds']} s ({summary['speed']} times real time).")


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C and a polite kill stop the work, remove its scratch space, and then end the program."""
    interrupted = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        interrupted.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _bar(*, hidden: bool) -> Iterator[Any]:
    columns = (
        TextColumn("{task.description:22}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]:>6}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as progress:
        task = progress.add_task("starting", total=1.0, speed="")

        def show_progress(progress_now: EncodingProgress) -> None:
            speed = f"{progress_now.speed:.1f}x" if progress_now.speed else ""
            progress.update(task, description=progress_now.stage, completed=progress_now.done, speed=speed)

        yield show_progress
