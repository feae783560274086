"""Use case: check a lesson against all rules."""

from dataclasses import dataclass

from services.transcoder.errors import TranscoderError
from services.transcoder.hls.lint.fetch import Fetcher, FetchError
from services.transcoder.hls.lint.film import Film
from services.transcoder.hls.lint.presentation import Presentation
from services.transcoder.hls.lint.rules import (  # noqa: F401
    RULES,
    Finding,
    Level,
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


def check(address: str, film: Film | None = None) -> Report:
    """Check the lesson whose master playlist is at `address` (http, https or a path), also against its `film`."""
    findings: list[Finding] = []
    unreadable: list[str] = []
    with Fetcher(address) as fetcher:
        lesson = Presentation(address, fetcher, film)
        for rule in RULES:
            try:
                for message, _ in zip(rule.check(lesson), range(MAX_FINDINGS_A_RULE), strict=False):
                    findings.append(Finding(rule, message))
            except (FetchError, Mp4Error, TranscoderError, ValueError, LookupError) as error:
                # the lesson is too broken for this rule, and that is a finding of its own
                message = f"{rule.source}, {rule.says.lower()}: {error}"
                if message not in unreadable:
                    unreadable.append(message)
    return Report(address, len(RULES), tuple(findings), tuple(unreadable))
