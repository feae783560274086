"""What a subscription was when it was sold, and who taught a chapter when: past days keep their numbers.

A row of `subscription_terms` is written where the school or a refund changes a term that has begun. Most terms never
change, so the table stays small and settlement writes nothing to it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"

_INSTANT = sa.TIMESTAMP(timezone=True)

# An unknown stop: such a row was cancelled or expired before anybody saw it run.
_NEVER_RAN = """
({row}.status = 'cancelled' AND {row}.ends_at IS NULL
 OR {row}.status = 'expired' AND ({row}.ends_at IS NULL OR {row}.ends_at > now()))
"""

_KEEP_TERM = f"""
CREATE FUNCTION keep_subscription_term() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    returned boolean := TG_OP = 'UPDATE' AND NEW.status = 'pending_payment';
    stops boolean := returned OR {_NEVER_RAN.format(row="NEW")};
    kept subscription_terms;
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO subscription_terms
        VALUES (NEW.id, NEW.activated_at, NEW.user_id, NEW.chapter_id, NEW.access_level, NEW.amount_minor, NEW.ends_at,
                NEW.activated_at, false)
        ON CONFLICT DO NOTHING;
        RETURN NULL;
    END IF;
    SELECT * INTO kept FROM subscription_terms WHERE subscription_id = OLD.id AND activated_at = OLD.activated_at;
    IF kept.stopped_at IS NOT NULL AND NOT stops THEN
        -- it runs again, and has run since
        UPDATE subscription_terms SET stopped_at = NULL, is_returned = false
        WHERE subscription_id = OLD.id AND activated_at = OLD.activated_at;
        INSERT INTO late_days (first_day, last_day)
        SELECT (kept.stopped_at AT TIME ZONE 'UTC' - interval '12 hours')::date,
               (now() AT TIME ZONE 'UTC' + interval '14 hours')::date;
    ELSIF stops OR (OLD.ends_at, OLD.amount_minor) IS DISTINCT FROM (NEW.ends_at, NEW.amount_minor) THEN
        INSERT INTO subscription_terms AS term
        VALUES (OLD.id, OLD.activated_at, OLD.user_id, OLD.chapter_id, OLD.access_level, OLD.amount_minor, OLD.ends_at,
                CASE WHEN stops THEN now() END, returned)
        ON CONFLICT (subscription_id, activated_at) DO UPDATE
        SET stopped_at = coalesce(term.stopped_at, EXCLUDED.stopped_at),
            is_returned = term.is_returned OR EXCLUDED.is_returned;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION keep_subscription_term FROM PUBLIC;
CREATE TRIGGER subscriptions_keep_term AFTER UPDATE ON subscriptions FOR EACH ROW
    WHEN (OLD.activated_at IS NOT NULL AND OLD.status <> 'pending_payment'
          AND (NEW.status = 'pending_payment' OR OLD.activated_at = NEW.activated_at)
          AND (OLD.status, OLD.activated_at, OLD.ends_at, OLD.amount_minor)
              IS DISTINCT FROM (NEW.status, NEW.activated_at, NEW.ends_at, NEW.amount_minor))
    EXECUTE FUNCTION keep_subscription_term();
CREATE TRIGGER subscriptions_keep_term_that_never_ran AFTER INSERT ON subscriptions FOR EACH ROW
    WHEN (NEW.activated_at IS NOT NULL AND {_NEVER_RAN.format(row="NEW")})
    EXECUTE FUNCTION keep_subscription_term();
"""  # noqa: S608

_KEEP_TEACHER = """
CREATE FUNCTION keep_chapter_teacher() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO chapter_teachers (chapter_id, teacher_id, since)
    VALUES (NEW.id, NEW.teacher_id, CASE TG_OP WHEN 'INSERT' THEN '-infinity' ELSE now() END)
    ON CONFLICT (chapter_id, since) DO UPDATE SET teacher_id = EXCLUDED.teacher_id;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION keep_chapter_teacher FROM PUBLIC;
CREATE TRIGGER chapters_keep_teacher AFTER INSERT ON chapters FOR EACH ROW EXECUTE FUNCTION keep_chapter_teacher();
CREATE TRIGGER chapters_keep_next_teacher AFTER UPDATE OF teacher_id ON chapters FOR EACH ROW
    WHEN (OLD.teacher_id IS DISTINCT FROM NEW.teacher_id) EXECUTE FUNCTION keep_chapter_teacher();
INSERT INTO chapter_teachers (chapter_id, teacher_id, since) SELECT id, teacher_id, '-infinity' FROM chapters;
"""


def upgrade() -> None:
    op.create_table(
        "subscription_terms",
        sa.Column("subscription_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("activated_at", _INSTANT, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("chapter_id", sa.BigInteger(), nullable=True),
        sa.Column("access_level", sa.Text(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", _INSTANT, nullable=True),
        sa.Column("stopped_at", _INSTANT, nullable=True),
        sa.Column("is_returned", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("subscription_id", "activated_at", name=op.f("pk_subscription_terms")),
    )
    op.create_table(
        "chapter_teachers",
        sa.Column("chapter_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("since", _INSTANT, nullable=False),
        sa.Column("teacher_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("chapter_id", "since", name=op.f("pk_chapter_teachers")),
    )
    op.execute(_KEEP_TERM)
    op.execute(_KEEP_TEACHER)
