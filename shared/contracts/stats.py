"""Messages from the statistics scheduler to its worker: days to compute or verify."""

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from shared.contracts.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeDay(Message):
    """The statistics of `day` (in the school's zone) are due; a day that is no longer due is left as it is."""

    name: ClassVar[str] = "stats.compute_day"
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class MailDay(Message):
    """Mail the six numbers of `day` to the head of school."""

    name: ClassVar[str] = "stats.mail_day"
    day: date
