"""Replays webhook events: enqueues them for settlement again, with an entry in the audit log."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from shared.contracts.routes import GATEWAY
from shared.contracts.webhooks import EventState, WebhookReceived
from shared.messaging.actors import encode_message
from shared.operations import audit_log
from shared.operations.webhook_events.queries import EventFilter
from shared.runtime.failpoints import failpoint
from shared.runtime.translatable_sentence import Sentence
from shared.schema.tables import outbox, webhook_events

BATCH_SIZE = 100
#: What can be settled again: the others are settled.
REPLAYABLE = (EventState.RECEIVED, EventState.QUARANTINED, EventState.DEAD)
#: Settlement would only quarantine this again; the replay is refused at once.
MODE_MISMATCH = "signed with a"
#: A lost message is enqueued again after this.
_ENQUEUED_AGAIN = func.now() + func.make_interval(0, 0, 0, 0, 0, 15)


def replay_events(
    engine: Engine, chosen: EventFilter, *, who: str, why: str | None = None, limit: int | None = None
) -> tuple[list[int], dict[int, str]]:
    """Have the events settled again that are not: the ids that are enqueued again, and why others are not.

    The state and the message are one transaction. An event that was settled meanwhile is left as it is, and settling
    is idempotent, so to replay twice is to replay once.
    """
    enqueued: list[int] = []
    refused: dict[int, str] = {}
    after_id = 0
    with engine.connect() as connection:
        last_id = connection.scalar(select(func.max(webhook_events.c.id))) or 0
    while (wanted := BATCH_SIZE if limit is None else min(BATCH_SIZE, limit - len(enqueued))) > 0:
        with engine.begin() as connection:
            rows = _claim(connection, chosen, after_id, last_id, wanted)
            if not rows:
                break
            hopeless = {row.id: why_not for row in rows if (why_not := _why_not(row))}
            ids = [row.id for row in rows if row.id not in hopeless]
            if ids:
                enqueue_again(connection, ids)
                audit_log.record(
                    connection, who=who, what="webhook.replay", why=why, ids=ids, chosen_by=chosen.as_json()
                )
            failpoint("events.replay.before_commit")
        failpoint("events.replay.after_commit")
        after_id = rows[-1].id
        enqueued += ids
        refused |= hopeless
    # with a limit, those that are left out are not tried
    left_out = set(chosen.ids) - {*enqueued, *refused} if limit is None else set()
    return enqueued, refused | _explain_missing(engine, left_out)


def _explain_missing(engine: Engine, ids: Collection[int]) -> dict[int, str]:
    """Why events that were named were not found among those that can be settled again."""
    column = webhook_events.c
    with engine.connect() as connection:
        rows = connection.execute(select(column.id, column.state, column.reason).where(column.id.in_(ids))).all()
    known = {
        row.id: Sentence("a worker is settling it right now, or another option leaves it out")
        if row.state in REPLAYABLE
        else Sentence("it is %(state)s: %(reason)s", state=Sentence(row.state), reason=row.reason)
        for row in rows
    }
    return {event_id: known.get(event_id, Sentence("there is no such webhook")) for event_id in sorted(ids)}


def _claim(
    connection: Connection, chosen: EventFilter, after_id: int, last_id: int, limit: int
) -> Sequence[Row[int, str, str | None, str | None]]:
    column = webhook_events.c
    return connection.execute(
        select(column.id, column.state, column.reason, column.resolution)
        .where(*chosen.conditions(), column.state.in_(REPLAYABLE), column.id > after_id, column.id <= last_id)
        .order_by(column.id)
        .limit(limit)
        # one that is being settled right now needs no replay
        .with_for_update(skip_locked=True)
    ).all()


def _why_not(row: Row[int, str, str | None, str | None]) -> str | None:
    if row.resolution == "dismissed":
        return Sentence("it is dismissed; nouba webhooks resolve --undo undoes that")
    if row.state == EventState.QUARANTINED and (row.reason or "").startswith(MODE_MISMATCH):
        return Sentence("it was signed with a key of another mode: a test must not move money")
    return None


def enqueue_again(connection: Connection, ids: Sequence[int]) -> None:
    """Let these events be settled again, within the caller's transaction."""
    connection.execute(
        update(webhook_events)
        .where(webhook_events.c.id.in_(ids))
        .values(
            state=EventState.RECEIVED,
            attempts=0,
            tries=0,
            taken_up_at=func.now(),
            processed_at=None,
            next_attempt_at=_ENQUEUED_AGAIN,
        )
    )
    messages = [encode_message(WebhookReceived(event_id=event_id)) for event_id in ids]
    connection.execute(insert(outbox), [{"service": GATEWAY, "message": message} for message in messages])
