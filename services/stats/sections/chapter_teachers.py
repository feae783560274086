"""Whom each chapter had as its teacher at a given time."""

import numpy as np

from services.stats.binary_column_reader import Integers
from services.stats.sections.base import Query, distinct
from services.stats.sections.ledger_entries import NO_ID, IdTable

_CHAPTERS = "SELECT id, coalesce(teacher_id, %(none)s) AS teacher_id FROM chapters"
_TAUGHT = """
SELECT chapter_id, since AS since_at, coalesce(teacher_id, %(none)s) AS teacher_id FROM chapter_teachers
"""


class ChapterTeachers:
    """The teachers of all chapters, since when each."""

    def __init__(self, ask: Query) -> None:
        self._now = IdTable(*ask.columns(_CHAPTERS, ("id", "teacher_id"), none=NO_ID))
        chapters, since, teachers = ask.columns(_TAUGHT, ("chapter_id", "since_at", "teacher_id"), none=NO_ID)
        self._chapters, self._since = distinct(chapters), distinct(since)
        # a chapter and a rank of an instant in one number; an instant before all others has rank 0
        places = np.searchsorted(self._chapters, chapters) * (self._since.size + 1)
        places += np.searchsorted(self._since, since) + 1
        order = np.argsort(places)
        self._places, self._teachers = places[order], teachers[order]

    def at(self, chapters: Integers, instants: Integers) -> Integers:
        """The teacher of each chapter at each instant, NO_ID where there is none; of a chapter of which nothing is kept
        so early, the one that it has now."""
        found = self._now.of(chapters)
        known = np.flatnonzero(np.isin(chapters, self._chapters))
        first = np.searchsorted(self._chapters, chapters[known]) * (self._since.size + 1)
        ranks = np.searchsorted(self._since, instants[known], side="right")
        places = np.searchsorted(self._places, first + ranks, side="right") - 1
        is_kept = (places >= 0) & (self._places[places] > first)
        found[known[is_kept]] = self._teachers[places[is_kept]]
        return found
