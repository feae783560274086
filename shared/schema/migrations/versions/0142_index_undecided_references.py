"""Undecided events by their order: the planner took all that were ever quarantined for a page of one payment."""

from shared.schema.migrations.concurrently import create_index

revision = "0142"
down_revision = "0141"


def upgrade() -> None:
    create_index(
        "ix_webhook_events_undecided_reference",
        "webhook_events (reference, provider) WHERE state IN ('quarantined', 'dead') AND resolution IS NULL",
    )
