"""The chain of seals over inbox and ledger, and when an event left the gateway's spool."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_APPEND_ONLY = """
CREATE FUNCTION refuse_change_of_seals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'seals are only ever added'
        USING ERRCODE = 'restrict_violation', HINT = 'nouba ledger verify says what was changed beneath them';
END $$;
CREATE TRIGGER seals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON seals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_seals();
"""


def upgrade() -> None:
    op.create_table(
        "seals",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("what IN ('event', 'account', 'transaction')", name=op.f("ck_seals_what_known")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_seals_digest_is_sha256")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_seals")),
        sa.UniqueConstraint("what", "row_id", name=op.f("uq_seals_what_row_id")),
    )
    op.execute(_APPEND_ONLY)
    op.add_column("webhook_events", sa.Column("drained_at", sa.TIMESTAMP(timezone=True), nullable=True))
