"""Indexes for an old installation: jobs whose objects have to be removed, and rare events with their provider."""

from shared.schema.migrations.concurrently import create_index, drop_index

revision = "0140"
down_revision = "0121"


def upgrade() -> None:
    # every second a transcoder read all jobs that ever ended
    create_index(
        "ix_transcode_jobs_uncleaned",
        "transcode_jobs (finished_at, id) WHERE state IN ('failed', 'cancelled') AND cleaned_at IS NULL",
    )
    # a provider's events in these states are counted without the table
    create_index(
        "ix_webhook_events_rare",
        "webhook_events (state, id) INCLUDE (provider) WHERE state IN ('quarantined', 'dead', 'ignored')",
    )
    drop_index("ix_webhook_events_rare_states")
