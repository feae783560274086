"""What a rule is, and the list of them all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from services.transcoder.hls.lint.presentation import Presentation


class Level(StrEnum):
    """How binding a rule is."""

    MUST = "MUST"
    SHOULD = "SHOULD"


Check = Callable[[Presentation], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """`source` is where it stands: Apple's number, a section of RFC 8216, or `Nouba` for our own."""

    source: str
    level: Level
    says: str
    check: Check


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a rule is broken."""

    rule: Rule
    message: str


#: In the order of their groups; filled by the `rule` decorator when a group's module is imported.
RULES: list[Rule] = []


def must(source: str, says: str) -> Callable[[Check], Check]:
    """Register a rule whose violation is an error."""
    return _rule(source, Level.MUST, says)


def should(source: str, says: str) -> Callable[[Check], Check]:
    """Register a rule whose violation is a warning."""
    return _rule(source, Level.SHOULD, says)


def _rule(source: str, level: Level, says: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        RULES.append(Rule(source, level, says, check))
        return check

    return register
