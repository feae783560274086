"""What pages of rows behind numbers of subscriptions read: who has a term of which chapter, and when it ends."""

from shared.schema.migrations.concurrently import create_index

revision = "0100"
down_revision = "0088"


def upgrade() -> None:
    create_index(
        "ix_subscriptions_terms",
        "subscriptions (chapter_id, ends_at) INCLUDE (activated_at, id, user_id, access_level)"
        " WHERE status <> 'pending_payment'",
    )
