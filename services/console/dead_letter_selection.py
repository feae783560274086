"""Selection and preview of dead letters for a bulk action."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, func, select

from shared.operations.dead_letters.queries import DeadFilter
from shared.operations.dead_letters.replay import Decision
from shared.schema.tables import dead_letters


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFilter(DeadFilter):
    """The letters that a page has counted: what died since is not meant, though the page's filter finds it."""

    #: A new letter has a larger id.
    up_to: int
    #: One that was sent again and died once more keeps its id, and is collected later.
    last_at: datetime

    def conditions(self) -> list[ColumnElement[bool]]:
        column = dead_letters.c
        # not by super(): a dataclass with slots is another class than the one that stands here
        found = DeadFilter.conditions(self)
        return [*found, column.id <= self.up_to, column.collected_at <= self.last_at]


@dataclass(frozen=True, slots=True)
class Shown:
    """How many letters wait for a decision, and what separates them from later ones; None where there is none."""

    count: int
    up_to: int | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Group:
    """Letters of one queue, actor and cause, and when the first and the last of them died."""

    queue: str
    actor: str | None
    cause: str
    letters: int
    first_at: datetime
    last_at: datetime


def count_all(engine: Engine, chosen: DeadFilter) -> Shown:
    """What "all" would be now: of the letters that the filter finds those that are not decided."""
    column = dead_letters.c
    # one statement: whatever is counted is within the bounds
    query = select(func.count(), func.max(column.id), func.max(column.collected_at))
    with engine.connect() as connection:
        return Shown(*connection.execute(query.where(*replace(chosen, state="dead").conditions())).one())


def preview(engine: Engine, decision: Decision) -> Sequence[Group]:
    """The letters that the decision would be about, by what they are; the largest group first. Nothing is changed."""
    column = dead_letters.c
    meant = (
        select(column.queue, column.actor, column.cause, column.died_at)
        .where(*decision.chosen.conditions(), column.state == "dead")
        .order_by(column.id)
        .limit(decision.limit)
        .subquery()
    )
    kind = (meant.c.queue, meant.c.actor, meant.c.cause)
    query = (
        select(*kind, func.count(), func.min(meant.c.died_at), func.max(meant.c.died_at))
        .group_by(*kind)
        .order_by(func.count().desc(), *kind)
    )
    with engine.connect() as connection:
        return [Group(*row) for row in connection.execute(query)]
