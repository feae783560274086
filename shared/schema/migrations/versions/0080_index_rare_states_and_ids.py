"""Indexes for pages of long histories: letters and acts that name a row, and payments in a rare state."""

from shared.schema.migrations.concurrently import create_index

revision = "0080"
down_revision = "0074"


def upgrade() -> None:
    create_index("ix_dead_letters_arguments", "dead_letters USING gin (arguments jsonb_path_ops)")
    create_index("ix_operator_acts_ids", "operator_acts USING gin (ids jsonb_path_ops)")
    create_index("ix_subscriptions_pending_id", "subscriptions (id) WHERE status = 'pending_payment'")
    create_index(
        "ix_webhook_events_rare_states",
        "webhook_events (state, id) WHERE state IN ('quarantined', 'dead', 'ignored')",
    )
    create_index("ix_webhook_events_reasons", "webhook_events (id) WHERE reason IS NOT NULL")
    # of the other states there are so many that a page of them is found among the newest payments
    create_index(
        "ix_payments_rare_states",
        "payments (status, id) WHERE status IN"
        " ('pending', 'authorized', 'disputed', 'charged_back', 'refunded', 'partially_refunded')",
    )
