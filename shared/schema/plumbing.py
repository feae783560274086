"""What every service writes for itself: the messages it has promised to send."""

from sqlalchemy import Column, Date, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from shared.schema.metadata import INSTANT, created_at_column, id_column, metadata

# A row is a message that its transaction promised; it goes when RabbitMQ has confirmed the message.
outbox = Table(
    "outbox",
    metadata,
    id_column(),
    Column("service", Text, nullable=False),
    Column("message", JSONB, nullable=False),
    created_at_column(),
    Index(None, "service", "id"),
    info={"writer": "every service, its own rows"},
)

# A day whose facts changed since its statistics were computed.
changed_days = Table(
    "changed_days",
    metadata,
    Column("day", Date, primary_key=True),
    Column("changed_at", INSTANT, nullable=False, server_default=text("now()")),
    info={"writer": "stats"},
)
