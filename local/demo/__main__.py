"""`python -m local.demo`: play the main job on the running stack, and show what happened."""

import os
import re
import sys
from pathlib import Path

import click
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.live import Live
from rich.table import Table

from local.demo.story import Scene, Story
from local.demo.video import FILM_SECONDS, Lesson, upload_film
from local.stack import Stack
from shared.runtime.currency import format_minor

#: Where the output is not a terminal, whose own width counts.
WIDTH = 150
COLUMNS = ("what happened", "the gateway's answer", "what became of it", "in", "balance", "active", "")


@click.command()
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Also keep the table as an SVG.")
def play(picture: Path | None) -> None:
    """Send signed webhooks of every provider to the running gateway. Exit status 0 only if each ended as it must."""
    console = Console(width=None if sys.stdout.isatty() and not picture else WIDTH, record=picture is not None)
    environment = Stack(os.environ).environment()
    story = Story(environment)
    table = Table(title="Money in: what providers sent, and what became of it", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("in", "balance") else "left")
    scenes: list[Scene] = []
    with Live(table, console=console, refresh_per_second=10):
        for scene in story.scenes():
            if scenes and scene.student != scenes[-1].student:
                table.add_section()
            scenes.append(scene)
            _add(table, scene, story)
    drift = story.school.drift()
    console.print(
        f"\nThe whole ledger: {drift['unbalanced_transactions']} transactions that do not sum to zero, "
        f"{drift['wrong_balances']} balances that differ from their entries."
    )
    lesson = _show_lesson(console, environment, story)
    if picture:
        _save(console, picture)
    console.print(f"Everything is still running: {environment['GATEWAY_URL']}/docs. `make down` stops it.")
    if "PLAYER_URL" in environment:
        address = f"{environment['PLAYER_URL']}/courses/{lesson.course_id}?captions={lesson.captions[0]}"
        console.print(f"Watch the lesson in a browser: {address}", soft_wrap=True)
        if _has_browser():
            click.launch(address)
    if any(drift.values()) or not all(scene.as_expected for scene in scenes):
        sys.exit("Something did not end as it must: see the lines without a tick.")


def _show_lesson(console: Console, environment: dict[str, str], story: Story) -> Lesson:
    console.print("\n[italic]Video out: a film that a teacher uploads[/italic]")
    with console.status("The film becomes a lesson ..."):
        lesson = upload_film(environment, story.school)
    console.print(
        f"{FILM_SECONDS} seconds of film ({lesson.film_bytes / 1e6:.1f} MB) went into S3 by a presigned address; it "
        f"could be watched after {lesson.first_seconds:.1f} s, and in full ({', '.join(lesson.renditions)}) after "
        f"{lesson.whole_seconds:.1f} s, with captions ({', '.join(lesson.captions)}): "
        f"{lesson.master_key} [green]✓[/green]"
    )
    return lesson


def _has_browser() -> bool:
    """Whether a person sits before a screen."""
    has_screen = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return sys.stdout.isatty() and has_screen


def _add(table: Table, scene: Scene, story: Story) -> None:
    colour = "red" if scene.answer.startswith("4") else "green"
    states = story.school.subscriptions(scene.student)
    table.add_row(
        scene.done,
        f"[{colour}]{scene.answer}[/{colour}]",
        scene.outcome,
        f"{scene.seconds * 1000:.0f} ms" if scene.seconds is not None else "",
        f"{scene.student.label[-1]}: {_dinars(story.school.balance_minor(scene.student))}",
        f"{states.count('active')} of {len(states)}",
        "[green]✓[/green]" if scene.as_expected else "[bold red]wrong[/bold red]",
    )


def _dinars(minor: int) -> str:
    return format_minor(minor, "DZD")


def _save(console: Console, picture: Path) -> None:
    # rich's own format fetches a font from a stranger's address
    code_format = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(str(picture), title="make demo", code_format=code_format, unique_id="demo", clear=False)


if __name__ == "__main__":
    play()
