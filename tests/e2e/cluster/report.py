"""The table of a run, and the same for programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

#: Settlement flows again so soon after a fault; where a primary is lost, so soon after a standby was promoted.
RECOVERY_SECONDS = 20.0
#: A run that sends less than this share of its rate has not shown what it says.
REACHED = 0.95


@dataclass(slots=True)
class Row:
    """One fault, from its begin until the next one's."""

    fault: str
    #: The longest time in which nothing was settled.
    still_seconds: float
    #: From the fault until a standby was promoted; None where none was.
    promoted_seconds: float | None
    refused: Mapping[str, int]
    p99_ms: float
    sent: int
    lost: int
    twice: int

    @property
    def bar_seconds(self) -> float:
        return RECOVERY_SECONDS + (self.promoted_seconds or 0.0)

    @property
    def is_good(self) -> bool:
        return self.still_seconds <= self.bar_seconds and not (self.refused or self.lost or self.twice)


@dataclass(slots=True)
class Report:
    """A whole run."""

    rate: float
    reached: float = 0.0
    rows: list[Row] = field(default_factory=list)
    films: str = ""
    days: str = ""
    ledger: str = ""
    scaled: str = ""
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        is_as_fast = self.reached >= REACHED * self.rate
        return not self.faults and bool(self.ledger) and is_as_fast and all(row.is_good for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "is_good": self.is_good}

    def show(self, console: Console) -> None:
        drift = "0" if " 0 faults" in self.ledger else "see below"
        table = Table("fault", title_justify="left", title="make cluster-test")
        for name in ("promoted, s", "settlement still, s", "bar, s", "refused", "p99, ms", "payments", "lost", "twice"):
            table.add_column(name, justify="right")
        table.add_column("drift", justify="right")
        for row in self.rows:
            promoted = "" if row.promoted_seconds is None else f"{row.promoted_seconds:.1f}"
            still = f"{row.still_seconds:.1f}" + ("" if row.still_seconds <= row.bar_seconds else " missed")
            refused = ", ".join(f"{count} {why}" for why, count in row.refused.items()) or "0"
            counts = (f"{row.p99_ms:.0f}", f"{row.sent:,}", str(row.lost), str(row.twice), drift)
            table.add_row(row.fault, promoted, still, f"{row.bar_seconds:.0f}", refused, *counts)
        console.print(table)
        sent = sum(row.sent for row in self.rows)
        missed = "" if self.reached >= REACHED * self.rate else ", missed"
        console.print(
            f"{sent:,} payments at {self.reached:.0f}/s of {self.rate:.0f}/s{missed}. {self.films} {self.days}\n"
            f"{self.scaled}\n{self.ledger}\n"
            f"{self.seconds:.0f} s in all.",
            highlight=False,
        )
        for fault in self.faults:
            console.print(f"[red]{fault}[/red]", highlight=False)
