"""Tables of every service: outbox, dead letters, pauses, audit log."""

from sqlalchemy import CheckConstraint, Column, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB

from shared.schema.metadata import INSTANT, created_at_column, id_column, metadata

# A row is a message that its transaction enqueued; it goes when RabbitMQ has confirmed the message.
outbox = Table(
    "outbox",
    metadata,
    id_column(),
    Column("service", Text, nullable=False),
    Column("message", JSONB, nullable=False),
    created_at_column(),
    Index(None, "service", "id"),
    # the relay publishes each queue by itself
    Index("ix_outbox_service_queue", "service", text("(message ->> 'queue_name')"), "id"),
    info={"writer": "every service, its own rows"},
)

# A message that nobody could handle, as it lay in the queue's .XQ, and what an operator decided about it.
dead_letters = Table(
    "dead_letters",
    metadata,
    id_column(),
    Column("queue", Text, nullable=False),
    # the message's own, or a digest of a body that has none
    Column("message_id", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="dead"),
    # retries, contract, permanent, unknown_actor, undecodable; else RabbitMQ's word: delivery_limit, expired, maxlen
    Column("cause", Text, nullable=False),
    # a sentence for the operator, without personal data; empty until the worker that gave it up has reported
    Column("error", Text),
    Column("actor", Text),
    Column("arguments", JSONB),
    Column("attempts", Integer, nullable=False),
    # the bytes, exactly
    Column("message", LargeBinary, nullable=False),
    Column("x_death", JSONB),
    # which death this is: the same one, delivered twice, is kept once
    Column("death", Text, nullable=False),
    Column("deaths", Integer, nullable=False, server_default=text("1")),
    Column("replays", Integer, nullable=False, server_default=text("0")),
    Column("died_at", INSTANT, nullable=False),
    Column("collected_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("replayed_at", INSTANT),
    Column("decided_by", Text),
    Column("decided_why", Text),
    Column("decided_at", INSTANT),
    UniqueConstraint("queue", "message_id"),
    CheckConstraint("state IN ('dead', 'replayed', 'discarded')", name="state_known"),
    Index(None, "state", "queue", "id"),
    Index("ix_dead_letters_died_at", "died_at"),
    # the letters that name a row, such as {"event_id": 7}
    Index(
        "ix_dead_letters_arguments",
        "arguments",
        postgresql_using="gin",
        postgresql_ops={"arguments": "jsonb_path_ops"},
    ),
    Index(
        "ix_dead_letters_kept_messages",
        "died_at",
        postgresql_where=text("((state <> 'dead'::text) AND (message <> '\\x'::bytea))"),
    ),
    info={"writer": "runtime"},
)

# What an operator did to many things at once, written in the transaction that did it.
operator_acts = Table(
    "operator_acts",
    metadata,
    id_column(),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("why", Text),
    # which of the console's credentials or API tokens was used; null on the command line
    Column("credential", Text),
    # to which rows, and how they were chosen
    Column("ids", JSONB, nullable=False, server_default=text("'[]'")),
    Column("chosen_by", JSONB, nullable=False, server_default=text("'{}'")),
    Column("acted_at", INSTANT, nullable=False, server_default=text("now()")),
    # when retention emptied the act, and the digest that it had
    Column("erased_at", INSTANT),
    Column("sealed_digest", LargeBinary),
    Index(None, "what", "id"),
    Index("ix_operator_acts_ids", "ids", postgresql_using="gin", postgresql_ops={"ids": "jsonb_path_ops"}),
    Index("ix_operator_acts_kept", "acted_at", postgresql_where=text("erased_at IS NULL")),
    info={"writer": "runtime"},
)

# An open session of the console: the browser holds the id, this table its SHA-256.
console_sessions = Table(
    "console_sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("name", Text, nullable=False),
    Column("credential", Text, nullable=False),
    Column("entered_at", INSTANT, nullable=False, server_default=text("now()")),
    # what the identity provider said at sign-in; null for a token, whose role the settings have
    Column("role", Text),
    CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
    CheckConstraint("role IN ('viewer', 'operator')", name="role_known"),
    info={"writer": "console"},
)

# A queue in here is consumed by no worker until its row is gone.
queue_pauses = Table(
    "queue_pauses",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("who", Text, nullable=False),
    Column("why", Text),
    Column("paused_at", INSTANT, nullable=False, server_default=text("now()")),
    info={"writer": "runtime"},
)
