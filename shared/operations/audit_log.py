"""The audit log: a row for each operator action, in the action's transaction."""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from shared.schema.tables import operator_acts

#: The credential that acts in this context, set for each request: a person's in the console, or an API token's id.
#: None on the command line.
acting_credential: ContextVar[str | None] = ContextVar("acting_credential", default=None)


def record(
    connection: Connection,
    *,
    who: str,
    what: str,
    why: str | None,
    ids: Sequence[int | str] = (),
    chosen_by: Mapping[str, Any] | None = None,
) -> None:
    """Write the act down within the caller's transaction; `chosen_by` is the filter that found `ids`."""
    values = {"who": who, "what": what, "why": why, "ids": list(ids), "chosen_by": dict(chosen_by or {})}
    connection.execute(insert(operator_acts).values(values | {"credential": acting_credential.get()}))


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit."""

    id: int
    acted_at: datetime
    who: str
    what: str
    why: str | None
    ids: Sequence[int | str]
    chosen_by: Mapping[str, Any]
    credential: str | None = None


def list_entries(
    engine: Engine,
    *,
    what: str | None = None,
    of_id: int | str | None = None,
    limit: int = 50,
    before_id: int | None = None,
) -> list[AuditEntry]:
    """The newest acts first; of one kind such as `dead.replay`, or those that touched `of_id`.

    `before_id` is the last id of the page before.
    """
    query = select(*operator_acts.c["id", "acted_at", "who", "what", "why", "ids", "chosen_by", "credential"])
    if what is not None:
        query = query.where(operator_acts.c.what == what)
    if of_id is not None:
        query = query.where(operator_acts.c.ids.contains([of_id]))
    if before_id is not None:
        query = query.where(operator_acts.c.id < before_id)
    with engine.connect() as connection:
        return [AuditEntry(*row) for row in connection.execute(query.order_by(operator_acts.c.id.desc()).limit(limit))]
