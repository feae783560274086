"""Parses a player's watch report: which seconds of the lesson it played since its last one."""

import json
import math
from dataclasses import dataclass
from typing import Any

#: A lesson is cut into so many parts of the same length; a part counts once its middle was played.
PARTS = 100
MAX_BODY_BYTES = 8192
MAX_LESSON_SECONDS = 86_400.0
MAX_RANGES = 100
#: Players report every few seconds; one that was offline reports what it played meanwhile.
MAX_REPORT_SECONDS = 600.0


class InvalidReportError(Exception):
    """The body is not a report; the message says which form one has."""

    def __init__(self, reason: str) -> None:
        super().__init__(f'{reason}; send {{"duration": seconds, "played": [[from, to], ...]}}.')


@dataclass(frozen=True, slots=True)
class Report:
    """So many milliseconds of the lesson were played, and these of its parts: the first part is the highest bit."""

    played_ms: int
    parts: int


def parse_report(body: bytes) -> Report:
    """Read a report. Raises InvalidReportError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidReportError("The body is not JSON") from error
    if not isinstance(found, dict):
        raise InvalidReportError("The body is not an object")
    duration = _seconds(found.get("duration"), "duration")
    ranges = found.get("played")
    if duration <= 0 or not isinstance(ranges, list) or len(ranges) > MAX_RANGES:
        raise InvalidReportError(f"A lesson has a duration, and a report at most {MAX_RANGES} ranges")
    seconds, parts = 0.0, 0
    for one in ranges:
        if not isinstance(one, list) or len(one) != 2:
            raise InvalidReportError("A range has a beginning and an end")
        begin, end = (min(_seconds(value, "played"), duration) for value in one)
        if end < begin:
            raise InvalidReportError("A range ends before it begins")
        seconds += end - begin
        parts |= _parts(begin, end, duration)
    if seconds > MAX_REPORT_SECONDS:
        raise InvalidReportError(f"A report has at most {MAX_REPORT_SECONDS:.0f} seconds")
    return Report(round(seconds * 1000), parts)


def _seconds(value: Any, name: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= MAX_LESSON_SECONDS:  # also refuses NaN
        raise InvalidReportError(f"{name} is in seconds, from 0 to {MAX_LESSON_SECONDS:.0f}")
    return float(value)


def _parts(begin: float, end: float, duration: float) -> int:
    """The parts whose middle lies in [begin, end), so that many short ranges are not many parts."""
    first = math.ceil(begin / duration * PARTS - 0.5)
    behind = min(math.ceil(end / duration * PARTS - 0.5), PARTS)
    return sum(1 << (PARTS - 1 - part) for part in range(first, behind))
