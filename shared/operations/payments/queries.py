"""Payment queries for support: by reference, order or user, with their history.

Nothing here names a person: an e-mail address is searched for, never shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, text

from shared.runtime.currency import Money
from shared.runtime.translatable_sentence import Sentence, join

#: PostgreSQL's bigint: a larger number is no id.
_LARGEST_ID = 2**63 - 1

#: What the provider has begun, and not ended.
_UNDECIDED_OBJECTS = {("refund", "pending"), ("dispute", "inquiry"), ("dispute", "open")}

_COLUMNS = """payment.id, payment.provider, payment.provider_reference AS reference, payment.order_number,
    payment.user_id, payment.amount_minor, payment.currency, payment.status, payment.method, payment.refunded_minor,
    payment.credited_minor, coalesce(payment.fee_minor, 0) AS fee_minor, payment.failure_reason, payment.created_at,
    payment.completed_at, payment.next_ask_at, payment.registered_minor, payment.subscription_id"""
# The indexes begin with the provider, of which there are few: each is read once, whatever the size of the table.
_NAMES = """WITH RECURSIVE names AS (
    (SELECT provider FROM payments ORDER BY provider LIMIT 1)
    UNION ALL
    SELECT (SELECT provider FROM payments WHERE provider > names.provider ORDER BY provider LIMIT 1)
    FROM names WHERE names.provider IS NOT NULL
)"""
_REFUND_REQUESTS = """SELECT id, amount_minor, actor_name, state, note FROM refund_requests
    WHERE payment_id = :id AND state <> 'accepted' ORDER BY id"""
_BY_REFERENCE = "SELECT one.id FROM names JOIN payments AS one USING (provider) WHERE one.provider_reference = :{0}"
_BY_ORDER = "SELECT one.id FROM names JOIN payments AS one USING (provider) WHERE one.order_number = :{0}"
_BY_USER = "SELECT one.id FROM payments AS one WHERE one.user_id = :{0}"
_BY_ID = "SELECT one.id FROM payments AS one WHERE one.id = :{0}"
_BY_EMAIL = """SELECT one.id FROM users JOIN payments AS one ON one.user_id = users.id
    WHERE lower(users.email) = lower(:{0})"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFilter:
    """Which payments are meant; all that is given has to hold.

    `words` is whatever a student or a bank statement has: the provider's reference, the order number, the number of the
    payment or of the user.
    """

    words: str | None = None
    reference: str | None = None
    order_number: str | None = None
    user_id: int | None = None
    email: str | None = None
    status: str | None = None

    def is_empty(self) -> bool:
        return not any(asdict(self).values())


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentLine:
    """One payment as its row has it."""

    id: int
    provider: str
    reference: str | None
    order_number: str | None
    user_id: int
    amount_minor: int
    currency: str
    status: str
    method: str | None
    refunded_minor: int
    credited_minor: int
    fee_minor: int
    failure_reason: str | None
    created_at: datetime
    completed_at: datetime | None
    next_ask_at: datetime | None
    #: What the school's checkout registered, where another amount was collected.
    registered_minor: int | None
    #: The subscription that it was made for, where somebody named one.
    subscription_id: int | None

    def as_json(self) -> dict[str, Any]:
        return _json(asdict(self))


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """A webhook about the payment."""

    id: int
    received_at: datetime
    state: str
    resolution: str | None
    reason: str | None
    next_attempt_at: datetime | None

    @property
    def is_undecided(self) -> bool:
        return self.state in ("quarantined", "dead") and self.resolution is None


@dataclass(frozen=True, slots=True)
class PaymentObject:
    """A capture, a refund, a dispute or a fee of the payment, as the provider has it; a fee's state is its kind."""

    kind: str
    object_id: str
    state: str
    amount_minor: int
    began_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Posting:
    """A ledger transaction and its entries: (account, amount in minor units, currency)."""

    id: int
    kind: str
    at: datetime
    event_id: int | None
    entries: Sequence[tuple[str, int, str]]


@dataclass(frozen=True, slots=True)
class PaymentDetails:
    """A payment with its objects, its webhooks and its entries; `notes` say where it stands, in sentences."""

    payment: PaymentLine
    objects: Sequence[PaymentObject]
    events: Sequence[PaymentEvent]
    postings: Sequence[Posting]
    #: Other payments of the same order.
    others: Sequence[PaymentLine]
    notes: Sequence[Sentence]

    def as_json(self) -> dict[str, Any]:
        return {
            "payment": self.payment.as_json(),
            "objects": [_json(asdict(one)) for one in self.objects],
            "events": [_json(asdict(one)) for one in self.events],
            "postings": [
                {
                    **_json({"id": one.id, "kind": one.kind, "at": one.at, "event_id": one.event_id}),
                    "entries": [
                        {"account": account, "amount_minor": amount, "currency": currency}
                        for account, amount, currency in one.entries
                    ],
                }
                for one in self.postings
            ],
            "other_payments_of_the_order": [one.as_json() for one in self.others],
            "notes": list(self.notes),
        }


def find_payments(
    engine: Engine, wanted: PaymentFilter, *, limit: int = 50, before_id: int | None = None
) -> list[PaymentLine]:
    """The newest first; `before_id` is the last id of the page before."""
    conditions, values = _conditions(wanted)
    if before_id is not None:
        conditions.append("payment.id < :before_id")
        values["before_id"] = before_id
    where = " AND ".join(conditions) or "true"
    query = f"{_NAMES} SELECT {_COLUMNS} FROM payments AS payment WHERE {where} ORDER BY payment.id DESC LIMIT :limit"  # noqa: S608
    with engine.connect() as connection:
        return [PaymentLine(**row) for row in connection.execute(text(query), {**values, "limit": limit}).mappings()]


def find_users(engine: Engine, words: str) -> list[int]:
    """The user of this number, or those with this e-mail address, in any case of letters."""
    condition = "id = CAST(:words AS bigint)" if _is_id(words) else "lower(email) = lower(:words)"
    with engine.connect() as connection:
        query = text(f"SELECT id FROM users WHERE {condition} ORDER BY id LIMIT 20")  # noqa: S608
        return list(connection.scalars(query, {"words": words}))


def show_payment(engine: Engine, payment_id: int) -> PaymentDetails | None:
    """All of one payment; None where there is none of that number."""
    with engine.connect() as connection:
        query = f"SELECT {_COLUMNS} FROM payments AS payment WHERE payment.id = :id"  # noqa: S608
        row = connection.execute(text(query), {"id": payment_id}).mappings().one_or_none()
        if row is None:
            return None
        payment = PaymentLine(**row)
        objects = _objects(connection, payment)
        requests = connection.execute(text(_REFUND_REQUESTS), {"id": payment_id}).all()
        events = _events(connection, payment)
        postings = read_postings(connection, "posting.payment_id = :id", {"id": payment_id})
    same_order = PaymentFilter(order_number=payment.order_number)
    others = [one for one in find_payments(engine, same_order) if one.id != payment_id] if payment.order_number else []
    return PaymentDetails(
        payment,
        objects,
        events,
        postings,
        others,
        _notes(payment, objects, events, others) + _refunds(payment, requests),
    )


def read_postings(connection: Connection, condition: str, values: Mapping[str, Any]) -> list[Posting]:
    """The ledger's transactions of `condition`, the oldest first; a user's wallet is named with its user."""
    query = f"""
        SELECT posting.id, posting.kind, posting.created_at, posting.event_id,
            json_agg(json_build_array(account.kind || coalesce(' ' || account.user_id, ' ' || account.provider, ''),
                entry.amount_minor, entry.currency) ORDER BY entry.id) AS entries
        FROM ledger_transactions AS posting
        JOIN ledger_entries AS entry ON entry.transaction_id = posting.id
        JOIN ledger_accounts AS account ON account.id = entry.account_id
        WHERE {condition} GROUP BY posting.id ORDER BY posting.id"""  # noqa: S608
    rows = connection.execute(text(query), values)
    return [
        Posting(row.id, row.kind, row.created_at, row.event_id, [(one[0], one[1], one[2]) for one in row.entries])
        for row in rows
    ]


def _conditions(wanted: PaymentFilter) -> tuple[list[str], dict[str, Any]]:
    values: dict[str, Any] = {name: value for name, value in asdict(wanted).items() if value}
    by_field = {"reference": _BY_REFERENCE, "order_number": _BY_ORDER, "user_id": _BY_USER, "email": _BY_EMAIL}
    conditions = [f"payment.id IN ({by_field[name].format(name)})" for name in by_field if name in values]
    if wanted.words:
        either = [_BY_REFERENCE.format("words"), _BY_ORDER.format("words")]
        if _is_id(wanted.words):
            values["number"] = int(wanted.words)
            either += [_BY_ID.format("number"), _BY_USER.format("number")]
        conditions.append(f"payment.id IN ({' UNION '.join(either)})")
    if wanted.status:
        conditions.append("payment.status = :status")
    return conditions, values


def _objects(connection: Connection, payment: PaymentLine) -> list[PaymentObject]:
    query = """
        SELECT kind, object_id, state, amount_minor, began_at, ended_at FROM payment_objects WHERE payment_id = :id
        ORDER BY array_position(ARRAY['refund', 'dispute', 'fee'], kind), began_at, object_id"""
    found = [PaymentObject(*row) for row in connection.execute(text(query), {"id": payment.id})]
    if payment.completed_at is None:
        return found
    reference = payment.reference or payment.order_number or ""
    return [PaymentObject("capture", reference, "collected", payment.amount_minor, payment.completed_at, None), *found]


def _is_id(words: str) -> bool:
    return words.isascii() and words.isdigit() and int(words) <= _LARGEST_ID


def _events(connection: Connection, payment: PaymentLine) -> list[PaymentEvent]:
    # One that waits or is quarantined may not be joined to its payment yet, and has its reference. Each part has an
    # index of its own.
    query = """
        SELECT id, received_at, state, resolution, reason,
            -- of one that was never tried, it is when it is taken for lost
            CASE WHEN attempts > 0 AND state = 'received' THEN next_attempt_at END AS next_attempt_at
        FROM webhook_events WHERE id IN (
            SELECT id FROM webhook_events WHERE payment_id = :id
            UNION SELECT id FROM webhook_events
            WHERE state = 'received' AND provider = :provider AND reference = :reference
            UNION SELECT id FROM webhook_events
            WHERE state IN ('quarantined', 'dead') AND resolution IS NULL
                AND provider = :provider AND reference = :reference
        ) ORDER BY id"""
    values = {"id": payment.id, "provider": payment.provider, "reference": payment.reference}
    return [PaymentEvent(*row) for row in connection.execute(text(query), values)]


def _notes(
    payment: PaymentLine,
    objects: Sequence[PaymentObject],
    events: Sequence[PaymentEvent],
    others: Sequence[PaymentLine],
) -> list[Sentence]:
    """Where the payment is, in sentences: what is done, and what it waits for."""
    notes = [_state_note(payment)]
    for one in objects:
        if (one.kind, one.state) in _UNDECIDED_OBJECTS:
            pattern = "The %(kind)s %(id)s of %(amount)s is %(state)s: the provider has not decided."
            amount = Money(one.amount_minor, payment.currency)
            words = {"kind": Sentence(one.kind), "state": Sentence(one.state)}
            notes.append(Sentence(pattern, id=one.object_id, amount=amount, **words))
    for event in events:
        if event.is_undecided:
            pattern = "Webhook %(id)s is %(state)s, and nobody has decided: %(reason)s."
            notes.append(Sentence(pattern, id=event.id, state=Sentence(event.state), reason=event.reason))
        elif event.state == "received":
            reason = event.reason or Sentence("no worker has tried it yet")
            notes.append(Sentence("Webhook %(id)s waits: %(reason)s.", id=event.id, reason=reason))
    paid = [str(one.id) for one in others if one.credited_minor]
    if payment.credited_minor and paid:
        pattern = "The same order was paid by payment %(ids)s, too: there is a surplus."
        notes.append(Sentence(pattern, ids=", ".join(paid)))
    return notes


def _refunds(payment: PaymentLine, requests: Sequence[Row[Any]]) -> list[Sentence]:
    """What became of the refunds that operators asked for, and that the provider has not begun."""
    words = {
        "requested": Sentence("waits for a worker"),
        "sending": Sentence("was sent to the provider, which has not answered"),
        "refused": Sentence("was refused"),
        "unknown": Sentence("may have been made"),
    }
    return [
        Sentence(
            "The refund of %(amount)s requested by %(who)s %(state)s%(note)s.",
            amount=Money(one.amount_minor, payment.currency),
            who=one.actor_name,
            state=words[one.state],
            note=Sentence(": %(note)s", note=one.note) if one.note else Sentence(""),
        )
        for one in requests
    ]


def _state_note(payment: PaymentLine) -> Sentence:
    match payment.status:
        case "pending" | "authorized" if payment.next_ask_at is not None:
            return Sentence(
                "Not paid yet: the provider has not reported the outcome. Where it can be polled, it is polled again."
            )
        case "pending" | "authorized":
            return Sentence("Not paid: the provider has not reported the outcome, and polling has stopped.")
        case "failed" | "canceled" | "expired":
            said = Sentence("Not paid: the provider says %(state)s.", state=Sentence(payment.status))
            reason = Sentence("%(reason)s", reason=payment.failure_reason)
            return join([said, reason]) if payment.failure_reason else said
        case _:
            return Sentence(
                "The provider says %(state)s: %(amount)s of it are in the wallet of user %(user)s.",
                state=Sentence(payment.status),
                amount=Money(payment.credited_minor, payment.currency),
                user=payment.user_id,
            )


def _json(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
