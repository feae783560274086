"""Shows what a run found: one table for people, one object for programs."""

import statistics
from collections import Counter
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.run import Result
from tests.chaos.storm import KILL, PAUSE, RESTART


def as_json(result: Result) -> dict[str, Any]:
    """All of it."""
    plan, answers = result.plan, result.answers
    genuine = plan.genuine
    return {
        "wish": asdict(result.wish),
        "sent": {
            "events": len(genuine),
            "requests": len(plan.parcels),
            "forgeries": sum(not news.is_genuine for news in plan.parcels),
            "by_provider": dict(Counter(news.route for news in genuine)),
        },
        "answers": {str(status) if status else "none": count for status, count in sorted(answers.statuses.items())},
        "answered_2xx_ms": _quantiles(answers.taken_ms),
        "blows": {name: dict(struck.blows) for name, struck in result.struck.items()},
        "fell_by_itself": {
            name: {str(status): count for status, count in struck.fell.items()}
            for name, struck in result.struck.items()
            if struck.fell
        },
        "events_out": {
            "received": len(result.receiver.events),
            "outcomes": dict(result.receiver.outcomes),
            "time_let_pass": result.retries_brought_forward,
        },
        "compared": result.findings.compared,
        "differences": {kind: len(found) for kind, found in result.findings.differences.items()},
        "saved_by_their_row": result.saved_by_their_row,
        "seconds": {stage: round(seconds, 1) for stage, seconds in result.seconds.items()},
        "faults": result.faults,
    }


def show(result: Result, console: Console) -> None:
    """The figures, and each fault by name."""
    found = as_json(result)
    sent = found["sent"]
    struck = Table("struck", "kills", "pauses", "restarts", "fell by itself", title=f"Seed {result.wish.seed}")
    for name, blows in found["blows"].items():
        fell = sum(found["fell_by_itself"].get(name, {}).values())
        struck.add_row(name, *(str(blows.get(kind, 0)) for kind in (KILL, PAUSE, RESTART)), str(fell or ""))
    console.print(struck)
    compared = Table("compared", "how many", "differences")
    for kind, count in found["compared"].items():
        wrong = found["differences"][kind]
        compared.add_row(kind, f"{count:,}", f"[red]{wrong}[/red]" if wrong else "0")
    console.print(compared)
    console.print(
        f"{sent['events']:,} events in {sent['requests']:,} requests, {sent['forgeries']:,} of them forged. "
        f"Answers: {', '.join(f'{status}: {count:,}' for status, count in found['answers'].items())}. "
        f"{result.saved_by_their_row} events were settled by their row alone. "
        f"The receiver took {len(result.receiver.events):,} events: {dict(result.receiver.outcomes)}. "
        + (f"{result.wish.outage} was away for {result.wish.outage_seconds:.0f} s. " if result.wish.outage else "")
        + f"{found['seconds'].get('all', 0):.0f} s in all, {found['seconds'].get('coming to rest', 0):.0f} s of them "
        f"until everything was at rest, {found['seconds'].get('from the last return to rest', 0):.0f} s after the last "
        "server or process had come back."
    )
    for fault in found["faults"]:
        console.print(f"[red]{fault}[/red]", highlight=False)
    if not found["faults"]:
        console.print("Nothing was lost, nothing was done twice, and every balance is right.")


def _quantiles(milliseconds: list[float]) -> dict[str, float]:
    if len(milliseconds) < 2:
        return {}
    cuts = statistics.quantiles(milliseconds, n=1000, method="inclusive")
    return {name: round(cuts[at], 1) for name, at in (("p50", 499), ("p99", 989), ("p999", 998))}
