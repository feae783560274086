"""Events for the school's own programs: triggers record each in the transaction of its cause.

Triggers, and not the services: the school's application changes subscriptions too, and an event must follow from the
row whichever program or release wrote it. They run with the owner's rights, so no role needs to write events.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0040"
down_revision = "0051"

_INSTANT = sa.TIMESTAMP(timezone=True)


def _function(name: str, body: str, declare: str = "") -> str:
    return f"""
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
{declare}BEGIN{body}
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION {name} FROM PUBLIC;
"""


# in one order: a receiver hears of the collection before the refund
_PAYMENT = _function(
    "record_payment_events",
    """
    IF TG_OP = 'UPDATE' THEN
        before := OLD;
    ELSE
        before.status := 'pending';
        before.refunded_minor := 0;
        before.dispute := 'none';
    END IF;
    IF NEW.status = ANY(collected) AND before.status <> ALL(collected) THEN
        types := types || 'payment.completed'::text;
    ELSIF NEW.status <> before.status AND NEW.status IN ('failed', 'canceled', 'expired') THEN
        types := types || 'payment.failed'::text;
    END IF;
    IF NEW.refunded_minor <> before.refunded_minor THEN
        types := types || 'payment.refunded'::text;
    END IF;
    IF NEW.dispute <> before.dispute THEN
        types := types || 'payment.disputed'::text;
    END IF;
    INSERT INTO events (type, key, payload)
    SELECT one, NEW.id, jsonb_build_object('payment_id', NEW.id, 'provider', NEW.provider,
        'reference', NEW.provider_reference, 'order_number', NEW.order_number, 'user_id', NEW.user_id,
        'status', NEW.status, 'amount_minor', NEW.amount_minor, 'currency', NEW.currency,
        'refunded_minor', NEW.refunded_minor, 'dispute', NEW.dispute)
    FROM unnest(types) WITH ORDINALITY AS named (one, place) ORDER BY place;""",
    """DECLARE
    before payments;
    collected CONSTANT text[] := '{completed,partially_refunded,refunded,disputed,charged_back}';
    types text[] := '{}';
""",
)
_SUBSCRIPTION = _function(
    "record_subscription_event",
    """
    INSERT INTO events (type, key, payload, once)
    SELECT named, NEW.id, jsonb_build_object('subscription_id', NEW.id, 'user_id', NEW.user_id,
        'chapter_id', NEW.chapter_id, 'status', NEW.status, 'ends_at', CASE WHEN isfinite(NEW.ends_at) THEN NEW.ends_at END),
        CASE named WHEN 'subscription.expired' THEN
            format('subscription.expired:%s:%s', NEW.id, coalesce(extract(epoch FROM NEW.ends_at)::text, txid_current()::text)) END
    FROM (SELECT CASE WHEN NEW.status = 'active' THEN 'subscription.activated'
        WHEN NEW.status = 'expired' THEN 'subscription.expired'
        WHEN OLD.status = 'active' THEN 'subscription.suspended' END AS named) AS found
    WHERE named IS NOT NULL
    ON CONFLICT (once) DO NOTHING;""",
)
_WALLET = _function(
    "record_wallet_event",
    """
    INSERT INTO events (type, key, payload) VALUES ('wallet.changed', NEW.id,
        jsonb_build_object('user_id', NEW.id, 'balance_minor', NEW.balance_minor));""",
)
_LESSON = _function(
    "record_lesson_event",
    """
    INSERT INTO events (type, key, payload) VALUES (CASE NEW.transcoding_status WHEN 'completed' THEN 'lesson.ready'
        WHEN 'failed' THEN 'lesson.failed' ELSE 'lesson.processing' END, NEW.id, jsonb_build_object('course_id', NEW.id));""",
)
_WARNING = _function(
    "record_lesson_warnings",
    """
    INSERT INTO events (type, key, payload)
    SELECT 'lesson.warning', NEW.course_id, jsonb_build_object('course_id', NEW.course_id, 'code', warning ->> 'code')
    FROM jsonb_array_elements(NEW.warnings) WITH ORDINALITY AS told (warning, place) ORDER BY place;""",
)
_DAY = _function(
    "record_day_event",
    """
    INSERT INTO events (type, key, payload) VALUES ('statistics.day_ready', NEW.day,
        jsonb_build_object('day', NEW.day, 'day_version', NEW.version));""",
)
_WEBHOOK = _function(
    "record_webhook_event",
    """
    INSERT INTO events (type, key, payload) VALUES ('webhook.needs_attention', NEW.id,
        jsonb_build_object('webhook_event_id', NEW.id, 'provider', NEW.provider, 'state', NEW.state));""",
)
_TRIGGERS = """
CREATE TRIGGER payments_new_events AFTER INSERT ON payments FOR EACH ROW WHEN (NEW.status <> 'pending')
    EXECUTE FUNCTION record_payment_events();
CREATE TRIGGER payments_events AFTER UPDATE OF status, refunded_minor, dispute ON payments FOR EACH ROW WHEN (
    NEW.status <> OLD.status OR NEW.refunded_minor <> OLD.refunded_minor OR NEW.dispute <> OLD.dispute)
    EXECUTE FUNCTION record_payment_events();
CREATE TRIGGER subscriptions_events AFTER UPDATE OF status ON subscriptions FOR EACH ROW WHEN (NEW.status <> OLD.status)
    EXECUTE FUNCTION record_subscription_event();
CREATE TRIGGER users_wallet_events AFTER UPDATE OF balance_minor ON users FOR EACH ROW WHEN (
    NEW.balance_minor <> OLD.balance_minor) EXECUTE FUNCTION record_wallet_event();
CREATE TRIGGER courses_lesson_events AFTER UPDATE OF transcoding_status ON courses FOR EACH ROW WHEN (
    NEW.transcoding_status IS DISTINCT FROM OLD.transcoding_status
    AND NEW.transcoding_status IN ('processing', 'completed', 'failed')) EXECUTE FUNCTION record_lesson_event();
CREATE TRIGGER transcode_jobs_warning_events AFTER UPDATE OF warnings ON transcode_jobs FOR EACH ROW WHEN (
    NEW.warnings IS NOT NULL AND NEW.warnings IS DISTINCT FROM OLD.warnings) EXECUTE FUNCTION record_lesson_warnings();
CREATE TRIGGER daily_stats_new_events AFTER INSERT ON daily_stats_newest FOR EACH ROW WHEN (
    NEW.version IS NOT NULL) EXECUTE FUNCTION record_day_event();
CREATE TRIGGER daily_stats_events AFTER UPDATE OF version ON daily_stats_newest FOR EACH ROW WHEN (
    NEW.version IS NOT NULL AND NEW.version IS DISTINCT FROM OLD.version) EXECUTE FUNCTION record_day_event();
CREATE TRIGGER webhook_events_new_events AFTER INSERT ON webhook_events FOR EACH ROW WHEN (
    NEW.state IN ('quarantined', 'dead')) EXECUTE FUNCTION record_webhook_event();
CREATE TRIGGER webhook_events_events AFTER UPDATE OF state ON webhook_events FOR EACH ROW WHEN (
    NEW.state <> OLD.state AND NEW.state IN ('quarantined', 'dead')) EXECUTE FUNCTION record_webhook_event();
"""


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.Column("once", sa.Text(), nullable=True),
        sa.Column("occurred_at", _INSTANT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("fanned_out_at", _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("once", name=op.f("uq_events_once")),
    )
    op.create_index("ix_events_waiting", "events", ["id"], postgresql_where=sa.text("fanned_out_at IS NULL"))
    op.create_index("ix_events_occurred_at", "events", ["occurred_at"])
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("event_types", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("ordered", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("disabled_because", sa.Text(), nullable=True),
        sa.Column("disabled_at", _INSTANT, nullable=True),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        sa.Column("previous_until_at", _INSTANT, nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failing_since_at", _INSTANT, nullable=True),
        sa.Column("held_until_at", _INSTANT, nullable=True),
        sa.Column("queued_at", _INSTANT, nullable=True),
        sa.Column("created_at", _INSTANT, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "disabled_because IN ('operator', 'gone', 'failing')",
            name=op.f("ck_webhook_endpoints_disabled_because_known"),
        ),
        sa.CheckConstraint(
            "enabled = (disabled_because IS NULL)", name=op.f("ck_webhook_endpoints_disabled_has_reason")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("endpoint_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", _INSTANT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("log", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("began_at", _INSTANT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("ended_at", _INSTANT, nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'delivered', 'failed')", name=op.f("ck_webhook_deliveries_state_known")
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name=op.f("fk_webhook_deliveries_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("fk_webhook_deliveries_event_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint("event_id", "endpoint_id", name=op.f("uq_webhook_deliveries_event_id_endpoint_id")),
    )
    pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_webhook_deliveries_due", "webhook_deliveries", ["endpoint_id", "due_at", "id"], postgresql_where=pending
    )
    op.create_index(
        "ix_webhook_deliveries_order",
        "webhook_deliveries",
        ["endpoint_id", "key", "event_id"],
        postgresql_where=pending,
    )
    op.create_index("ix_webhook_deliveries_endpoint_id", "webhook_deliveries", ["endpoint_id", "id"])
    op.execute(_PAYMENT + _SUBSCRIPTION + _WALLET + _LESSON + _WARNING + _DAY + _WEBHOOK)
    op.execute(_TRIGGERS)
