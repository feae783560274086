"""What every service writes for itself: the messages it has promised to send."""

from sqlalchemy import Column, Index, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from shared.schema.metadata import created_at_column, id_column, metadata

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
