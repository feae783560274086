"""Replays and discards dead letters, with an entry in the audit log.

A replay is a row of the outbox, in the transaction that marks its letter. So the message is sent if and only if its
letter says `replayed`, whichever process is killed. The relay publishes it with a confirm, under its old id.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, exists, func, insert, select, update

from shared.contracts.routes import GATEWAY
from shared.operations import audit_log
from shared.operations.dead_letters.parse import storable
from shared.operations.dead_letters.queries import DeadFilter
from shared.runtime.failpoints import failpoint
from shared.runtime.translatable_sentence import Sentence
from shared.schema.tables import dead_letters, outbox

#: Letters of one transaction.
BATCH_SIZE = 100
#: Whose relay sends them: the operators' seat is at the gateway, whose account may publish to every queue.
#: What dramatiq and the worker's broker had noted about the attempts that failed.
_OF_THE_LAST_LIFE = ("retries", "eta", "error", "traceback", "requeue_timestamp")

Progress = Callable[[int], None]


@dataclass(slots=True)
class Decided:
    """How many letters were decided; `refused` are those that no replay can help, and why."""

    done: int = 0
    refused: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who decided, why, about which of the dead letters, and how fast: `rate` is letters a second."""

    who: str
    why: str | None = None
    chosen: DeadFilter
    limit: int | None = None
    rate: float | None = None


def replay(engine: Engine, decision: Decision, progress: Progress = lambda done: None) -> Decided:
    """Replay the dead letters, oldest first; `progress` gets the number of those that are done."""
    return _decide(engine, decision, "dead.replay", _replay, progress)


def discard(engine: Engine, decision: Decision, progress: Progress = lambda done: None) -> Decided:
    """Give the letters up for good; the rows stay. Raises ValueError where nobody says why."""
    if not decision.why:
        raise ValueError("Say why they are discarded.")
    return _decide(engine, decision, "dead.discard", _discard, progress)


_Row = Row[int, str, str, bytes, int]
_Act = Callable[[Connection, Sequence[_Row], dict[str, Any]], dict[int, str]]


def _decide(engine: Engine, decision: Decision, what: str, act: _Act, progress: Progress) -> Decided:
    decided, after_id, began = Decided(), 0, time.monotonic()
    with engine.connect() as connection:
        # A message may die again while this runs; each is sent once.
        until = connection.scalar(select(func.clock_timestamp()))
    while (wanted := _next_batch(decision, decided.done)) > 0:
        with engine.begin() as connection:
            rows = _claim(connection, decision.chosen, after_id, until, wanted)
            if not rows:
                break
            verdict = {"decided_by": decision.who, "decided_why": decision.why, "decided_at": func.now()}
            refused = act(connection, rows, verdict)
            ids = [row.id for row in rows if row.id not in refused]
            chosen_by = decision.chosen.as_json()
            if ids:
                audit_log.record(
                    connection, who=decision.who, what=what, why=decision.why, ids=ids, chosen_by=chosen_by
                )
            failpoint(f"{what}.before_commit")
        failpoint(f"{what}.after_commit")
        after_id = rows[-1].id
        decided.done += len(ids)
        decided.refused |= refused
        progress(decided.done)
        if decision.rate and _is_more_to_do(engine, decision, decided.done, after_id, until):
            time.sleep(max(0.0, began + decided.done / decision.rate - time.monotonic()))
    return decided


def _next_batch(decision: Decision, done: int) -> int:
    left = BATCH_SIZE if decision.limit is None else decision.limit - done
    paced = BATCH_SIZE if decision.rate is None else max(1, int(decision.rate))
    return min(BATCH_SIZE, left, paced)


def _is_more_to_do(engine: Engine, decision: Decision, done: int, after_id: int, until: Any) -> bool:
    if _next_batch(decision, done) <= 0:
        return False
    # read without a lock, which no one may hold while waiting
    with engine.connect() as connection:
        return bool(connection.scalar(select(exists().where(*_wanted(decision.chosen, after_id, until)))))


def _wanted(chosen: DeadFilter, after_id: int, until: Any) -> Sequence[ColumnElement[bool]]:
    column = dead_letters.c
    return *chosen.conditions(), column.state == "dead", column.id > after_id, column.collected_at <= until


def _claim(connection: Connection, chosen: DeadFilter, after_id: int, until: Any, limit: int) -> Sequence[_Row]:
    column = dead_letters.c
    return connection.execute(
        select(column.id, column.queue, column.message_id, column.message, column.replays)
        .where(*_wanted(chosen, after_id, until))
        .order_by(column.id)
        .limit(limit)
        # two operators share the letters, and none is decided twice
        .with_for_update(skip_locked=True)
    ).all()


def _replay(connection: Connection, rows: Sequence[_Row], verdict: dict[str, Any]) -> dict[int, str]:
    refused: dict[int, str] = {}
    for row in rows:
        try:
            message = _revived(row)
        except ValueError as error:
            refused[row.id] = error.args[0]
            continue
        connection.execute(insert(outbox).values(service=GATEWAY, message=message))
        connection.execute(
            update(dead_letters)
            .where(dead_letters.c.id == row.id)
            .values(state="replayed", replays=row.replays + 1, replayed_at=func.now(), **verdict)
        )
    return refused


def _discard(connection: Connection, rows: Sequence[_Row], verdict: dict[str, Any]) -> dict[int, str]:
    ids = [row.id for row in rows]
    connection.execute(update(dead_letters).where(dead_letters.c.id.in_(ids)).values(state="discarded", **verdict))
    return {}


def _revived(row: _Row) -> dict[str, Any]:
    """The message as if it were new, under its own id. Raises ValueError where it never was one."""
    try:
        message = json.loads(bytes(row.message))
        options = dict(message["options"])
        same = message["message_id"] == row.message_id and storable(message) == message
    except (ValueError, TypeError, KeyError, RecursionError):
        same = False
    if not same:
        raise ValueError(Sentence("its body is no message, so every worker would refuse it again: discard it"))
    options = {name: value for name, value in options.items() if name not in _OF_THE_LAST_LIFE}
    options |= {"replays": row.replays + 1, "enqueued_at_ms": int(time.time() * 1000)}
    return {**message, "queue_name": row.queue, "options": options}
