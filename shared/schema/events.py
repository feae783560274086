"""Tables of events for the school's own programs: events, endpoints, deliveries."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from shared.schema.metadata import INSTANT, created_at_column, id_column, metadata

# What happened, written by triggers in the transaction of the effect (migration 0040). Removed after some weeks.
events = Table(
    "events",
    metadata,
    id_column(),
    Column("type", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    # whose it is, such as the payment's id: events of one key keep their order
    Column("key", Text, nullable=False),
    # ids and states, no personal data
    Column("payload", JSONB, nullable=False),
    # names what may be recorded once only, such as the end of a term
    Column("once", Text),
    Column("occurred_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    # when its deliveries were made; null until then
    Column("fanned_out_at", INSTANT),
    UniqueConstraint("once"),
    Index("ix_events_waiting", "id", postgresql_where=text("fanned_out_at IS NULL")),
    Index("ix_events_occurred_at", "occurred_at"),
    info={"writer": "every service, its own rows"},
)

# Where events go. Apart from the deliveries it holds secrets: one role reads those.
webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    id_column(),
    Column("url", Text, nullable=False),
    Column("description", Text),
    # empty: every type
    Column("event_types", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # an event waits until the one before it of the same key is delivered or given up
    Column("ordered", Boolean, nullable=False, server_default=text("false")),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    # why it is disabled: operator, gone (it answered 410), failing (for days)
    Column("disabled_because", Text),
    Column("disabled_at", INSTANT),
    Column("secret", Text, nullable=False),
    # signs beside the new one until then
    Column("previous_secret", Text),
    Column("previous_until_at", INSTANT),
    # failures since the last success; from the first one on, `failing_since_at`
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("failing_since_at", INSTANT),
    # until then it gets nothing: it failed several times in a row
    Column("held_until_at", INSTANT),
    # a message for it is under way
    Column("queued_at", INSTANT),
    created_at_column(),
    CheckConstraint("disabled_because IN ('operator', 'gone', 'failing')", name="disabled_because_known"),
    CheckConstraint("enabled = (disabled_because IS NULL)", name="disabled_has_reason"),
    info={"writer": "gateway"},
)

# One event for one endpoint.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    id_column(),
    Column("endpoint_id", BigInteger, ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), nullable=False),
    Column("event_id", BigInteger, ForeignKey("events.id", ondelete="CASCADE"), nullable=False),
    # what keeps its order, such as `payment:7`
    Column("key", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="pending"),
    # since the last replay
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # when it is sent (again); a worker that has it in hand moves this ahead as its lease
    Column("due_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    # every attempt, the newest last: when, status, error, milliseconds
    Column("log", JSONB, nullable=False, server_default=text("'[]'")),
    # a replay begins anew
    Column("began_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("ended_at", INSTANT),
    UniqueConstraint("event_id", "endpoint_id"),
    CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="state_known"),
    Index("ix_webhook_deliveries_due", "endpoint_id", "due_at", "id", postgresql_where=text("state = 'pending'")),
    Index("ix_webhook_deliveries_order", "endpoint_id", "key", "event_id", postgresql_where=text("state = 'pending'")),
    Index("ix_webhook_deliveries_endpoint_id", "endpoint_id", "id"),
    Index("ix_webhook_deliveries_failed", "endpoint_id", "id", postgresql_where=text("state = 'failed'")),
    info={"writer": "gateway"},
)
