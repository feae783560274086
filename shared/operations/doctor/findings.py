"""The result of a check: good, fault with its fix, or unknown."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from shared.runtime.settings import SettingsError


class CheckResult(StrEnum):
    """How it stands with one thing."""

    FINE = "fine"
    #: Works, but somebody should know.
    NOTE = "note"
    FAULT = "fault"
    #: Something before it is at fault, so nothing is known of it.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's answer; `fix` is empty where there is nothing to do."""

    subject: str
    verdict: CheckResult
    says: str
    fix: str = ""


#: Checks one thing, or several that belong together. It raises nothing but SettingsError.
Check = Callable[[], Iterable[Finding]]


def fine(subject: str, says: str) -> Finding:
    """It is in order."""
    return Finding(subject, CheckResult.FINE, says)


def note(subject: str, says: str, fix: str) -> Finding:
    """It works, and `fix` would make it better."""
    return Finding(subject, CheckResult.NOTE, says, fix)


def fault(subject: str, says: str, fix: str) -> Finding:
    """It keeps work from flowing; `fix` is a sentence that begins with a verb."""
    return Finding(subject, CheckResult.FAULT, says, fix)


def unknown(subject: str, says: str) -> Finding:
    """It could not be checked."""
    return Finding(subject, CheckResult.UNKNOWN, says)


def examine(checks: Iterable[Check]) -> Iterator[Finding]:
    """What all `checks` find, each as soon as it is known; a wrong setting is a finding like any other."""
    shown: set[Finding] = set()
    for check in checks:
        try:
            for finding in check():
                # services share settings and servers
                if finding not in shown:
                    shown.add(finding)
                    yield finding
        except SettingsError as error:
            for line in str(error).splitlines():
                finding = fault("settings", line, "Set it as .env.example shows, in the environment or as a file.")
                if finding not in shown:
                    shown.add(finding)
                    yield finding
