"""Table of payments taken at the school's office, outside wallets and ledger, and the trigger that notes late ones."""

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"

_INSTANT = sa.TIMESTAMP(timezone=True)

# as in 0012: each day that has the instant in any zone
_LATE = """
CREATE FUNCTION note_late_office_payments() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO late_days (first_day, last_day)
    SELECT (at AT TIME ZONE 'UTC' - interval '12 hours')::date, (at AT TIME ZONE 'UTC' + interval '14 hours')::date
    FROM (SELECT OLD.received_at AS at WHERE TG_OP <> 'INSERT'
          UNION SELECT NEW.received_at WHERE TG_OP <> 'DELETE') AS moved
    WHERE isfinite(at) AND at < now() - interval '2 days';
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION note_late_office_payments FROM PUBLIC;
CREATE TRIGGER office_payments_late AFTER INSERT OR UPDATE OR DELETE ON office_payments
    FOR EACH ROW EXECUTE FUNCTION note_late_office_payments();
"""


def upgrade() -> None:
    op.create_table(
        "office_payments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), server_default="DZD", nullable=False),
        sa.Column("received_at", _INSTANT, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("amount_minor <> 0", name=op.f("ck_office_payments_amount_not_zero")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_office_payments_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_office_payments")),
    )
    op.create_index(
        "brin_office_payments_received_at",
        "office_payments",
        ["received_at"],
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 32, "autosummarize": "on"},
    )
    op.execute(_LATE)
