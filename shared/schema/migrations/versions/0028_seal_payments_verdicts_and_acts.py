"""Payments, verdicts and operators' acts are sealed, too, and tables of record are not emptied.

A payment and a verdict change, so each of their states is recorded as a digest, by triggers with the owner's rights.
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"

_RECORDED = """
CREATE FUNCTION record_payment() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO row_versions (kind, row_id, state, digest) VALUES ('payment', NEW.id, NEW.status, sha256(convert_to(jsonb_build_array(
        'payment', NEW.id, NEW.provider, NEW.provider_reference, NEW.order_number, NEW.user_id, NEW.amount_minor,
        NEW.amount_is_final, NEW.currency, NEW.status, NEW.refunded_minor, NEW.dispute, NEW.credited_minor,
        NEW.fee_minor, (extract(epoch FROM NEW.completed_at) * 1000000)::bigint)::text, 'UTF8')));
    RETURN NULL;
END $$;
CREATE TRIGGER payments_recorded AFTER INSERT ON payments FOR EACH ROW WHEN (NEW.status <> 'pending')
    EXECUTE FUNCTION record_payment();
CREATE TRIGGER payments_changes_recorded AFTER UPDATE ON payments FOR EACH ROW WHEN (
    NEW.status <> 'pending' OR OLD.status <> 'pending') EXECUTE FUNCTION record_payment();

CREATE FUNCTION record_verdict() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO row_versions (kind, row_id, state, digest) VALUES ('verdict', NEW.id, NEW.state, sha256(convert_to(jsonb_build_array(
        'verdict', NEW.id, NEW.state, NEW.reason, NEW.resolution, NEW.payment_id)::text, 'UTF8')));
    RETURN NULL;
END $$;
CREATE TRIGGER verdicts_recorded AFTER INSERT ON webhook_events FOR EACH ROW
    WHEN (NEW.state IN ('quarantined', 'dead')) EXECUTE FUNCTION record_verdict();
CREATE TRIGGER verdicts_changes_recorded AFTER UPDATE OF state, reason, resolution, payment_id ON webhook_events FOR EACH ROW WHEN (
    NEW.state IN ('quarantined', 'dead') OR OLD.state IN ('quarantined', 'dead')
    OR NEW.resolution IS NOT NULL OR OLD.resolution IS NOT NULL) EXECUTE FUNCTION record_verdict();
"""
# what was there before is recorded as it is found
_EXISTING = """
INSERT INTO row_versions (kind, row_id, state, digest)
SELECT 'payment', id, status, sha256(convert_to(jsonb_build_array('payment', id, provider, provider_reference, order_number,
    user_id, amount_minor, amount_is_final, currency, status, refunded_minor, dispute, credited_minor, fee_minor,
    (extract(epoch FROM completed_at) * 1000000)::bigint)::text, 'UTF8'))
FROM payments WHERE status <> 'pending' ORDER BY id;
INSERT INTO row_versions (kind, row_id, state, digest)
SELECT 'verdict', id, state, sha256(convert_to(jsonb_build_array('verdict', id, state, reason, resolution, payment_id)::text,
    'UTF8'))
FROM webhook_events WHERE state IN ('quarantined', 'dead') ORDER BY id;
"""
_REFUSED = """
CREATE FUNCTION refuse_change_of_records() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'nouba ledger verify names what was changed beneath them';
END $$;
CREATE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is a record, and is not emptied', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
"""
APPEND_ONLY = ("operator_acts", "row_versions")
RECORDS = (
    "webhook_events",
    "payments",
    "ledger_accounts",
    "ledger_transactions",
    "ledger_entries",
    "ledger_adjustments",
    "operator_acts",
    "row_versions",
)


def upgrade() -> None:
    op.create_table(
        "row_versions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('payment', 'verdict')", name=op.f("ck_row_versions_kind_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_row_versions")),
    )
    op.create_index(op.f("ix_row_versions_kind_row_id_id"), "row_versions", ["kind", "row_id", "id"])
    op.execute("ALTER TABLE seals DROP CONSTRAINT ck_seals_what_known")
    # every row satisfied the narrower one, so none has to be read
    op.execute(
        "ALTER TABLE seals ADD CONSTRAINT ck_seals_what_known"
        " CHECK (what IN ('event', 'account', 'transaction', 'act', 'version')) NOT VALID"
    )
    op.execute(_RECORDED)
    op.execute(_EXISTING)
    op.execute(_REFUSED)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_records()"
        )
    for table in RECORDS:
        op.execute(
            f"CREATE TRIGGER {table}_not_truncated BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate()"
        )
