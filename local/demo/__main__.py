"""`python -m local.demo`: play the main job on the running stack, and show what happened."""

import os
import sys

from rich.console import Console
from rich.live import Live
from rich.table import Table

from local.demo.story import Scene, Story
from local.stack import Stack

#: Where the output is not a terminal, whose own width counts.
WIDTH = 150


def play() -> int:
    """Play every scene; the exit status is 0 only if each went as it must."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    environment = Stack(os.environ).environment()
    story = Story(environment)
    table = Table(title="Money in: what providers sent, and what became of it", title_justify="left")
    for name in (
        "what happened",
        "the gateway's answer",
        "what became of it",
        "in",
        "balance",
        "active subscriptions",
        "",
    ):
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
        f"The whole ledger: {drift['unbalanced_transactions']} transactions that do not sum to zero, "
        f"{drift['wrong_balances']} balances that differ from their entries."
    )
    console.print(f"Everything is still running: {environment['GATEWAY_URL']}/docs. `make down` stops it.")
    return 0 if all(scene.as_expected for scene in scenes) and not any(drift.values()) else 1


def _add(table: Table, scene: Scene, story: Story) -> None:
    colour = {"4": "red", "2": "green"}.get(scene.answer[0], "green")
    balance = _dinars(story.school.balance_minor(scene.student))
    states = story.school.subscriptions(scene.student)
    table.add_row(
        scene.done,
        f"[{colour}]{scene.answer}[/{colour}]",
        scene.outcome,
        f"{scene.seconds * 1000:.0f} ms" if scene.seconds is not None else "",
        f"{scene.student.label[-1]}: {balance}",
        f"{states.count('active')} of {len(states)}",
        "[green]✓[/green]" if scene.as_expected else "[bold red]wrong[/bold red]",
    )


def _dinars(minor: int) -> str:
    return f"{minor // 100:,}.{minor % 100:02d} DA"


if __name__ == "__main__":
    sys.exit(play())
