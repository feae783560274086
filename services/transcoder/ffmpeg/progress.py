"""Progress of one ffmpeg, from its `-progress` output."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """`frames` were written so far, which are `seconds` of the output, at `speed` times real time."""

    frames: int = 0
    seconds: float = 0.0
    speed: float = 0.0


class Meter:
    """Collects the lines of one report and reports it when it is whole."""

    def __init__(self, on_progress: Callable[[Progress], None]) -> None:
        self._on_progress = on_progress
        self._values: dict[str, str] = {}
        self._last = Progress()

    def line(self, line: str) -> bool:
        """Take one `key=value` line; true when it shows that ffmpeg advanced."""
        key, _, value = line.partition("=")
        self._values[key.strip()] = value.strip()
        if key != "progress":
            return False
        now = Progress(
            int(self._number("frame")),
            # `out_time_ms` is microseconds too; `out_time_us` says so
            max(0.0, self._number("out_time_us") / 1e6),
            self._number("speed"),
        )
        advanced = (now.frames, now.seconds) != (self._last.frames, self._last.seconds)
        self._last = now
        self._on_progress(now)
        return advanced

    def _number(self, key: str) -> float:
        try:
            return float(self._values.get(key, "0").rstrip("x"))
        except ValueError:  # "N/A" before the first frame
            return 0.0
