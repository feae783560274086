"""Indexes for reads that run by themselves: the first user, subscriptions that wait, and the console's overview."""

from shared.schema.migrations.concurrently import create_index

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    create_index("ix_users_created_at", "users (created_at)")
    create_index("ix_dead_letters_died_at", "dead_letters (died_at)")
    create_index("ix_transcode_jobs_finished_at", "transcode_jobs (finished_at)")
    create_index("ix_subscriptions_pending", "subscriptions (user_id, created_at, id) WHERE status = 'pending_payment'")
