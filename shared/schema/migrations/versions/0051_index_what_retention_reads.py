"""What retention reads every few minutes: each index leaves out what is erased already."""

from shared.schema.migrations.concurrently import create_index

revision = "0051"
down_revision = "0050"


def upgrade() -> None:
    create_index(
        "ix_dead_letters_kept_messages", "dead_letters (died_at) WHERE state <> 'dead' AND message <> ''::bytea"
    )
    create_index("ix_operator_acts_kept", "operator_acts (acted_at) WHERE erased_at IS NULL")
    create_index("ix_daily_stats_computed_at", "daily_stats (computed_at)")
    create_index("ix_transcode_jobs_kept_sources", "transcode_jobs (finished_at) WHERE source_removed_at IS NULL")
    create_index("ix_transcode_jobs_source_key", "transcode_jobs (source_key)")
