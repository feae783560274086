"""Tables of the API: tokens, idempotency keys, checkouts."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from shared.schema.metadata import INSTANT, created_at_column, id_column, metadata

# A token of the API by its SHA-256. A row stays after the token is revoked.
api_tokens = Table(
    "api_tokens",
    metadata,
    id_column(),
    # the person or the application that the token was given to
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("created_by", Text, nullable=False),
    created_at_column(),
    Column("expires_at", INSTANT),
    Column("revoked_at", INSTANT),
    # to the minute
    Column("last_used_at", INSTANT),
    CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
    CheckConstraint("cardinality(scopes) > 0", name="scopes_not_empty"),
    Index("uq_api_tokens_name_active", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
    info={"writer": "console"},
)

# The answer to the first request of an Idempotency-Key; without a status that request is still running, or was lost.
api_idempotency_keys = Table(
    "api_idempotency_keys",
    metadata,
    # the token's id, which begins with its name
    Column("token_name", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_sha256", LargeBinary, nullable=False),
    Column("begun_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("status", SmallInteger),
    Column("body", LargeBinary),
    CheckConstraint("octet_length(request_sha256) = 32", name="digest_is_sha256"),
    Index(None, "begun_at"),
    info={"writer": "gateway"},
)

# A checkout that the API made, or is making, at a provider: one for each order there.
checkouts = Table(
    "checkouts",
    metadata,
    id_column(),
    Column("payment_id", BigInteger, ForeignKey("payments.id"), nullable=False),
    Column("provider", Text, nullable=False),
    Column("order_number", Text, nullable=False),
    Column("return_url", Text, nullable=False),
    Column("token_name", Text, nullable=False),
    # when a request last began to make it at the provider: a later one may try again where that one was lost
    Column("begun_at", INSTANT, nullable=False, server_default=text("now()")),
    # the provider's own id of the checkout, and where the payer goes
    Column("provider_checkout_id", Text),
    Column("redirect_url", Text),
    created_at_column(),
    UniqueConstraint("provider", "order_number"),
    Index(None, "payment_id"),
    Index("ix_checkouts_lost", "begun_at", postgresql_where=text("redirect_url IS NULL")),
    info={"writer": "gateway"},
)
