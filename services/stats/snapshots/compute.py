"""Computes days: reads all sections at one moment, and stores what changed."""

import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from services.stats.days import ONE_DAY, Days, midnight, yesterday
from services.stats.errors import DayNotOverError
from services.stats.sections.base import DayState, Value, Values
from services.stats.sections.catalogue import REVISION, Over, is_observed, named_by, observed_names, over, reach_of
from shared.runtime.failpoints import failpoint

Payload = dict[str, Any]

#: The id of a number's corrections begins like this.
CORRECTIONS = "corrections."
#: So many days are computed in one pass over the tables: what lies before them is read once a pass.
CHUNK_DAYS = 732
#: So many days before those that are computed are read: what churned in a month, and what has added up.
KEPT_DAYS = 30
#: What keeps no history is believed for so long after the day's end.
OBSERVED_WITHIN = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a section could not be computed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What the database said at one moment."""

    watermark: str
    #: The days of the reading that were marked as changed, and how often.
    marks: Mapping[date, int]
    sections: Mapping[str, Values | Failure]
    #: What the school calls the keys of its breakdowns: `chapter`, `course` and `teacher`, by id.
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: What the last days leave to those after them.
    states: Mapping[date, DayState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """The newest version of a day, complete or not."""

    version: int
    payload: Payload
    etag: str
    #: Every section as it is in the newest version in which it did not fail.
    sections: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewVersion:
    """One version of one day, ready to be kept."""

    day: date
    version: int
    payload: Payload
    etag: str
    body_gzip: bytes
    complete: bool
    watermark: str


@dataclass(frozen=True, slots=True)
class Correction:
    """How much a number of a closed day would be another, for a fact that came after the closing."""

    #: The first day of the open month.
    booked_on: date
    day: date
    version: int
    number: str
    key: str | None
    amount: int
    #: Whether it is booked in the open month; a stock or a ratio of a past day is not.
    adds_up: bool


class SnapshotReader(Protocol):
    """Reads all sections of a run of days, at one moment; what adds up goes on from what is `kept` of days before, and
    from the `states` of those that did not change since."""

    def read(
        self, days: Days, kept: Mapping[date, Mapping[str, Value]], states: Mapping[date, DayState]
    ) -> Reading: ...


class SnapshotStore(Protocol):
    """The kept days, held by one computation at a time, in one transaction."""

    def due(self, first: date, last: date) -> list[date]: ...

    def newest(self, first: date, last: date) -> dict[date, StoredVersion]: ...

    def keep(self, versions: list[NewVersion]) -> None: ...

    def checked(self, days: Mapping[date, bool], marks: Mapping[date, int]) -> None:
        """Note that `days` were compared (and whether a section failed), and take off the `marks` that were seen."""

    def closed_until(self) -> date | None:
        """The last day of the last closed month."""

    def correct(self, corrections: list[Correction]) -> None:
        """Note what would be different in closed days."""

    def corrections(self, first: date, last: date) -> dict[date, dict[str, Any]]:
        """What is booked on the days of this run, and of which closed months it is, each by number."""

    def states(self, days: Days) -> dict[date, DayState]:
        """What is kept of `days`, and of the month before as far as they count on from it."""

    def keep_states(self, days: Days, states: Mapping[date, DayState]) -> None:
        """Keep these of `days`, as far as the next day needs them."""

    def mark(self, first: date, last: date) -> None:
        """Mark the kept days of this run as changed."""

    def mark_next(self, day: date) -> None:
        """Mark the first kept day after `day` as changed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a computation did."""

    days: int = 0
    new_versions: int = 0
    #: Days of which a section failed: its name and the reason.
    failed: Mapping[date, dict[str, str]] = field(default_factory=dict)
    #: Closed days of which a number would be another now; they stay as they are.
    corrected: Mapping[date, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Computation:
    """Computes days, with what it needs for that."""

    facts: SnapshotReader
    open_book: Callable[[], AbstractContextManager[SnapshotStore]]
    zone: ZoneInfo
    currency: str
    now: Callable[[], datetime]

    def compute_due(self, day: date) -> Outcome:
        """Compute `day`, and the days right after it that are due too, if it is due."""
        last = min(self._last(day), day + ONE_DAY * (CHUNK_DAYS - 1))
        with self.open_book() as book:
            due = set(book.due(day, last))
            end = day
            while end in due:
                end += ONE_DAY
            if end == day:
                return Outcome()
            outcome = self._compute(book, Days(day, end - ONE_DAY, self.zone))
        failpoint("stats.after_commit")
        return outcome

    def compute(self, first: date, last: date) -> Outcome:
        """Compute all days from `first` to `last`, due or not."""
        self._last(last)
        with self.open_book() as book:
            return self._compute(book, Days(first, last, self.zone))

    def rebuild(self, first: date, last: date, before: Mapping[date, Payload] | None = None) -> dict[date, Payload]:
        """What the days would be if they were computed now from the facts alone; nothing is kept.

        `before` is what the same has found of the days before, so that they are not read again.
        """
        days = Days(first, last, self.zone)
        reading = self.facts.read(days, self._relied_on(before or {}), {})
        return {day: self._payload(day, reading, None) for day in days}

    def _last(self, day: date) -> date:
        last = yesterday(self.now(), self.zone)
        if day > last:
            raise DayNotOverError(day, last)
        return last

    def _compute(self, book: SnapshotStore, days: Days) -> Outcome:
        failpoint("stats.before_read")
        earlier = book.newest(days.first - ONE_DAY * KEPT_DAYS, days.first - ONE_DAY)
        relied_on = self._relied_on({day: found.payload for day, found in earlier.items()})
        states = book.states(days)
        reading = self.facts.read(days, relied_on, {day: state for day, state in states.items() if day in relied_on})
        failpoint("stats.after_read")
        known = book.newest(days.first, days.last)
        payloads = {day: self._payload(day, reading, known.get(day)) for day in days}
        closed_until = book.closed_until() or date.min
        closed = {day: payload for day, payload in payloads.items() if day <= closed_until}
        versions = _versions(closed, known, reading.watermark)
        book.keep(versions)
        corrections = _corrections(closed_until + ONE_DAY, versions, known) if closed else []
        book.correct(corrections)
        for day, booked in book.corrections(days.first, days.last).items():
            payloads[day] |= booked
        rest = {day: payload for day, payload in payloads.items() if day > closed_until}
        versions += (opened := _versions(rest, known, reading.watermark))
        book.keep(opened)
        book.keep_states(days, reading.states)
        failpoint("stats.after_keep")
        book.checked({day: not payload["complete"] for day, payload in payloads.items()}, reading.marks)
        differing = [day for day, state in reading.states.items() if day in states and state.differs(states[day])]
        self._mark_what_follows(book, days, versions, known, differing)
        if corrections:
            book.mark(closed_until + ONE_DAY, closed_until + ONE_DAY)
        failpoint("stats.before_commit")
        return Outcome(len(days), len(versions), _failures(payloads), _numbers_of(corrections))

    def _relied_on(self, payloads: Mapping[date, Payload]) -> dict[date, Mapping[str, Value]]:
        """The numbers of those days that were counted in the same way and wholly."""
        same = {"zone": self.zone.key, "currency": self.currency, "definitions": REVISION, "complete": True}
        return {
            day: flatten(payload)
            for day, payload in payloads.items()
            if all(payload.get(name) == value for name, value in same.items())
        }

    def _payload(self, day: date, reading: Reading, before: StoredVersion | None) -> Payload:
        sections: dict[str, Any] = {}
        fresh = self.now() < midnight(day + ONE_DAY, self.zone) + OBSERVED_WITHIN
        for name, values in reading.sections.items():
            if isinstance(values, Failure):
                sections[name] = {"failed": values.reason}
                continue
            # not of the version before alone: a section that failed in it would forget what was observed, for good
            known = before.sections.get(name, {}).get("numbers", {}) if before else {}
            numbers = dict(values[day])
            for observed in observed_names(name):
                # what was seen first is nearest to the day's end
                if observed in known:
                    numbers[observed] = known[observed]
                elif not fresh:
                    numbers.pop(observed, None)
            sections[name] = {"numbers": numbers}
        return {
            "day": day.isoformat(),
            "zone": self.zone.key,
            "currency": self.currency,
            "definitions": REVISION,
            "complete": all("numbers" in section for section in sections.values()),
            "closed": False,
            "corrections": {},
            "names": _names(sections, reading.names),
            "sections": sections,
        }

    def _mark_what_follows(
        self,
        book: SnapshotStore,
        days: Days,
        versions: list[NewVersion],
        known: Mapping[date, StoredVersion],
        differing: list[date],
    ) -> None:
        """Days that are kept already and depend on what is new here are computed again."""
        reached = max([days.last, *(day + ONE_DAY * KEPT_DAYS for day in differing)])
        for version in versions:
            if before := known.get(version.day):
                reach = max((reach_of(name) for name in _changed(before, version)), default=0)
                reached = max(reached, version.day + ONE_DAY * reach)
        if reached > days.last:
            book.mark(days.last + ONE_DAY, reached)
        elif days.last not in known:
            # What is kept of later days has most likely seen these facts; if not, the next of them will differ too.
            book.mark_next(days.last)


def _versions(
    payloads: Mapping[date, Payload], known: Mapping[date, StoredVersion], watermark: str
) -> list[NewVersion]:
    """Of `payloads`, those that differ from what is known."""
    versions = []
    for day, payload in payloads.items():
        etag, zipped = document_of(payload)
        before = known.get(day)
        if before is None or before.etag != etag:
            number = before.version + 1 if before else 1
            versions.append(NewVersion(day, number, payload, etag, zipped, bool(payload["complete"]), watermark))
    return versions


def document_of(payload: Payload) -> tuple[str, bytes]:
    """The entity tag of `payload`, and its canonical JSON, compressed."""
    body = canonical(payload)
    # no time stamp in it: the same day is the same bytes
    return hashlib.sha256(body).hexdigest(), gzip.compress(body, 9, mtime=0)


def _corrections(booked_on: date, versions: list[NewVersion], known: Mapping[date, StoredVersion]) -> list[Correction]:
    """What differs between these versions of closed days and those before them, where both were counted alike."""
    found = []
    for version in versions:
        # a day that was not kept when its month was closed had nothing
        nothing: dict[str, Any] = {name: {"numbers": {}} for name in version.payload["sections"]}
        before = known.get(version.day) or StoredVersion(0, version.payload, "", nothing)
        if any(before.payload[name] != version.payload[name] for name in ("zone", "currency", "definitions")):
            continue
        for number, (one, other) in _changed(before, version).items():
            if is_observed(number):
                continue
            found += [
                Correction(booked_on, version.day, version.version, number, key, amount, over(number) is Over.SUM)
                for key, amount in _difference(one, other)
            ]
    return found


def _difference(one: Value | None, other: Value | None) -> list[tuple[str | None, int]]:
    if isinstance(one, dict) or isinstance(other, dict):
        before, after = (value if isinstance(value, dict) else {} for value in (one, other))
        pairs = [(key, after.get(key, 0) - before.get(key, 0)) for key in sorted({*before, *after})]
        return [(key, amount) for key, amount in pairs if amount]
    amount = (other or 0) - (one or 0)
    return [(None, amount)] if amount else []


def _numbers_of(corrections: list[Correction]) -> dict[date, list[str]]:
    found: dict[date, list[str]] = {}
    for one in corrections:
        if one.number not in found.setdefault(one.day, []):
            found[one.day].append(one.number)
    return found


def _names(sections: Mapping[str, Any], names: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Of `names` those that the day's breakdowns need."""
    found: dict[str, dict[str, str]] = {kind: {} for kind in names}
    for number, value in flatten({"sections": sections}).items():
        if isinstance(value, dict) and (kind := named_by(number)) in names:
            found[kind] |= {key: names[kind][key] for key in value if key in names[kind]}
    return found


def canonical(payload: Payload) -> bytes:
    """The one way to write `payload`: keys in order, no spaces, UTF-8."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def differences(one: Payload, other: Payload) -> dict[str, tuple[Any, Any]]:
    """The numbers that differ, by id; None where one of the two does not have it."""
    found = {}
    flat, compared = flatten(one), flatten(other)
    for name in sorted({*flat, *compared}):
        pair = (flat.get(name), compared.get(name))
        if pair[0] != pair[1]:
            found[name] = pair
    return found


def _changed(before: StoredVersion, version: NewVersion) -> dict[str, tuple[Any, Any]]:
    """The numbers that differ; a section that failed, or was never there before, does not say that its own do."""
    after = {name: found for name, found in version.payload["sections"].items() if "numbers" in found}
    both = before.sections.keys() & after.keys()
    return differences(
        {"sections": {name: before.sections[name] for name in both}}, {"sections": {name: after[name] for name in both}}
    )


def flatten(payload: Payload) -> dict[str, Any]:
    """The numbers of a payload by id, such as `revenue.net`; a failed section has none."""
    return {
        f"{section}.{name}": value
        for section, found in payload["sections"].items()
        for name, value in found.get("numbers", {}).items()
    }


def value_of(payload: Payload, number: str) -> Any:
    """The number `section.name` of a payload, or its correction where the id says so; None where there is none."""
    if number.startswith(CORRECTIONS):
        return payload.get("corrections", {}).get(number.removeprefix(CORRECTIONS))
    return flatten(payload).get(number)


def _failures(payloads: Mapping[date, Payload]) -> dict[date, dict[str, str]]:
    return {
        day: {name: found["failed"] for name, found in payload["sections"].items() if "failed" in found}
        for day, payload in payloads.items()
        if not payload["complete"]
    }
