"""Use case: check a lesson against all rules."""

import struct
from dataclasses import dataclass

from services.transcoder.errors import TranscoderError
from services.transcoder.hls.lint.fetch import Fetcher, FetchError, is_http
from services.transcoder.hls.lint.film_signals import Film
from services.transcoder.hls.lint.limits import LimitError, Limits, enforced
from services.transcoder.hls.lint.presentation import Presentation
from services.transcoder.hls.lint.rules import (  # noqa: F401
    RULES,
    Finding,
    Level,
    Rule,
    against_film,
    delivery,
    groups,
    media_playlists,
    multivariant,
    segments,
    video,
)
from services.transcoder.hls.mp4 import Mp4Error

#: One broken segment in a thousand is reported once, not a thousand times.
MAX_FINDINGS_A_RULE = 5
#: A playlist may have a name of megabytes.
MAX_MESSAGE_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Report:
    """What was found; `unreadable` says why the check could not be finished."""

    address: str
    rules: int
    findings: tuple[Finding, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.rule.level is Level.MUST]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.rule.level is Level.SHOULD]

    @property
    def passed(self) -> bool:
        return not self.errors and not self.unreadable


def check(address: str, film: Film | None = None, limits: Limits | None = None) -> Report:
    """Check the lesson whose master playlist is at `address` (http, https or a path), also against its `film`.

    `limits` are those of a server's lesson; unless given, the defaults.
    """
    limits = limits or Limits()
    findings: list[Finding] = []
    unreadable: list[str] = []
    with Fetcher(address, limits) as fetcher:
        lesson = Presentation(address, fetcher, film)
        try:
            with enforced(limits if is_http(address) else None):
                for rule in RULES:
                    _judge(rule, lesson, findings, unreadable)
        except LimitError as error:
            unreadable.append(str(error))
        except MemoryError:
            unreadable.append(limits.memory_sentence)
    return Report(address, len(RULES), tuple(findings), tuple(unreadable))


def _judge(rule: Rule, lesson: Presentation, findings: list[Finding], unreadable: list[str]) -> None:
    """Add what the rule finds. Raises LimitError or MemoryError."""
    try:
        for message, _ in zip(rule.check(lesson), range(MAX_FINDINGS_A_RULE), strict=False):
            findings.append(Finding(rule, _line(message)))
    except (FetchError, Mp4Error, TranscoderError, ArithmeticError, ValueError, LookupError, struct.error) as error:
        # the lesson is too broken for this rule, and that is a finding of its own
        message = _line(f"{rule.source}, {rule.says.lower()}: {error}")
        if message not in unreadable:
            unreadable.append(message)


def _line(message: str) -> str:
    """One line without the control characters that a stranger's playlist may send to a terminal."""
    cut = message if len(message) <= MAX_MESSAGE_CHARACTERS else f"{message[:MAX_MESSAGE_CHARACTERS]} [...]"
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cut)
