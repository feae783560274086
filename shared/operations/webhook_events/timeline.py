"""The timeline of one webhook event: received, published, settled, credited."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, func, or_, select

from shared.contracts.routes import GATEWAY
from shared.contracts.webhooks import EventState, WebhookReceived, WebhooksReceived
from shared.operations.audit_log import list_entries
from shared.operations.webhook_events.queries import COLUMNS, EventLine
from shared.runtime.currency import Money
from shared.runtime.translatable_sentence import Sentence, join
from shared.schema.tables import (
    dead_letters,
    ledger_accounts,
    ledger_entries,
    ledger_transactions,
    outbox,
    payments,
    webhook_events,
)


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to the event, or to what it caused; without an instant where nobody noted one."""

    at: datetime | None
    what: str
    detail: str

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "at": self.at.isoformat() if self.at else None}


@dataclass(frozen=True, slots=True)
class Timeline:
    """The event and its steps, in order."""

    event: EventLine
    steps: Sequence[Step]

    def as_json(self) -> dict[str, Any]:
        return {"event": self.event.as_json(), "steps": [step.as_json() for step in self.steps]}


def event_timeline(engine: Engine, event_id: int) -> Timeline | None:
    """The way of one event so far; None where there is no such event. Nothing in it is personal."""
    with engine.connect() as connection:
        row = connection.execute(
            select(*COLUMNS, webhook_events.c.drained_at).where(webhook_events.c.id == event_id)
        ).one_or_none()
        if row is None:
            return None
        event = EventLine(**{name: row._mapping[name] for name in EventLine.__dataclass_fields__})
        proof = Sentence("its signature is valid")
        if not event.signed:
            proof = Sentence("unsigned: the provider is polled")
        arrival = [Step(event.received_at, Sentence("received"), proof), *_drained(row.drained_at)]
        steps = [*_published(connection, event), *_deaths(connection, event_id), *_settled(event)]
        steps += [*_credited(connection, event_id), *_payment(connection, event)]
    steps += [Step(act.acted_at, act.what, f"{act.who}: {act.why or '-'}") for act in _acts(engine, event_id)]
    # what has no instant stays where it stands: after the arrival, before all that is noted
    undated = [step for step in steps if step.at is None]
    dated = sorted((step for step in steps if step.at is not None), key=lambda step: step.at or event.received_at)
    return Timeline(event, [*arrival, *undated, *dated])


def _drained(drained_at: datetime | None) -> list[Step]:
    if drained_at is None:
        return []
    reason = Sentence("it had waited in the gateway's spool while the database was unavailable")
    return [Step(drained_at, Sentence("drained"), reason)]


def _published(connection: Connection, event: EventLine) -> list[Step]:
    enqueued_at = connection.scalar(
        select(func.min(outbox.c.created_at)).where(
            outbox.c.service == GATEWAY,
            or_(
                *(
                    outbox.c.message.contains({"actor_name": name, "kwargs": fields})
                    for name, fields in _named(event.id)
                )
            ),
        )
    )
    if enqueued_at is not None:
        return [Step(enqueued_at, Sentence("enqueued"), Sentence("its message waits in the outbox for RabbitMQ"))]
    if event.state == EventState.QUARANTINED and event.payment_id is None and event.attempts == 0:
        return []
    return [Step(None, Sentence("published"), Sentence("RabbitMQ has confirmed its message; the time is not recorded"))]


def _named(event_id: int) -> list[tuple[str, dict[str, object]]]:
    """The messages that name the event, as an actor's name and its arguments."""
    return [
        (WebhooksReceived.wire_name(), {"event_ids": [event_id]}),
        (WebhookReceived.wire_name(), {"event_id": event_id}),
    ]


def _deaths(connection: Connection, event_id: int) -> list[Step]:
    column = dead_letters.c
    rows = connection.execute(
        select(column.id, column.cause, column.error, column.died_at, column.state).where(
            or_(*(and_(column.actor == name, column.arguments.contains(fields)) for name, fields in _named(event_id)))
        )
    )
    return [
        Step(
            row.died_at,
            Sentence("message died"),
            Sentence(
                "dead letter %(id)s (%(state)s): %(error)s",
                id=row.id,
                state=Sentence(row.state),
                error=row.error or row.cause,
            ),
        )
        for row in rows
    ]


def _settled(event: EventLine) -> list[Step]:
    if event.state == EventState.RECEIVED:
        if event.attempts == 0:
            return []
        due = Sentence("attempt %(n)s is due then: %(reason)s", n=event.attempts + 1, reason=event.reason or "-")
        return [Step(event.next_attempt_at, Sentence("waits"), due)]
    state = Sentence(event.state)
    if event.resolution:
        state = Sentence("%(state)s (%(decision)s)", state=state, decision=Sentence(event.resolution))
    return [Step(event.processed_at, state, event.reason or "-")]


def _credited(connection: Connection, event_id: int) -> list[Step]:
    rows = connection.execute(
        select(
            ledger_transactions.c.id,
            ledger_transactions.c.kind,
            ledger_transactions.c.created_at,
            ledger_accounts.c.kind.label("account"),
            ledger_entries.c.amount_minor,
            ledger_entries.c.currency,
        )
        .join_from(ledger_transactions, ledger_entries)
        .join(ledger_accounts, ledger_accounts.c.id == ledger_entries.c.account_id)
        .where(ledger_transactions.c.event_id == event_id)
        .order_by(ledger_entries.c.id)
    ).all()
    by_transaction: dict[int, list[Row[Any, Any, Any, Any, Any, Any]]] = {}
    for row in rows:
        by_transaction.setdefault(row.id, []).append(row)
    return [
        Step(
            entries[0].created_at,
            Sentence("booked: %(kind)s", kind=Sentence(entries[0].kind)),
            join([_entry(entry) for entry in entries], ", "),
        )
        for entries in by_transaction.values()
    ]


def _entry(entry: Row[Any, Any, Any, Any, Any, Any]) -> Sentence:
    amount = Money(entry.amount_minor, entry.currency, with_sign=True)
    return Sentence("%(account)s %(amount)s", account=entry.account, amount=amount)


def _payment(connection: Connection, event: EventLine) -> list[Step]:
    if event.payment_id is None:
        return []
    column = payments.c
    row = connection.execute(
        select(
            column.id, column.status, column.amount_minor, column.currency, column.created_at, column.completed_at
        ).where(column.id == event.payment_id)
    ).one()
    # the payment as it is now: later events may have changed it
    amount = Sentence(
        "payment %(id)s of %(amount)s, now %(state)s",
        id=row.id,
        amount=Money(row.amount_minor, row.currency),
        state=Sentence(row.status),
    )
    what = Sentence("payment completed") if row.completed_at else Sentence("payment")
    return [Step(row.completed_at, what, amount)]


def _acts(engine: Engine, event_id: int) -> list[Any]:
    # of a webhook; Nouba 0.2 wrote them as `event`
    kinds = [f"{group}.{what}" for group in ("webhook", "event") for what in ("replay", "accept", "dismiss", "undo")]
    return [entry for what in kinds for entry in list_entries(engine, what=what, of_id=event_id)]
