"""Counts for lists that end at 10,000: no list reads all that was ever kept."""

from dataclasses import dataclass
from typing import Any, Final

#: Beyond it a list says that there are more.
MAX_COUNTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class BoundedCount:
    """How many rows there are, of a query that counted one more than `MAX_COUNTED` at most."""

    counted: int

    def __str__(self) -> str:
        return f"{self.counted:,}" if self.counted <= MAX_COUNTED else f"{MAX_COUNTED:,}+"

    def as_json(self) -> dict[str, Any]:
        """`more` says that `count` is not all of it."""
        return {"count": min(self.counted, MAX_COUNTED), "more": self.counted > MAX_COUNTED}
