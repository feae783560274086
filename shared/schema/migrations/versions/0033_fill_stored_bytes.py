"""The same for lessons that are complete, in a transaction of its own: no table is locked while it reads."""

from alembic import op

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    op.execute(
        """
        UPDATE transcode_jobs AS job SET stored_bytes = stored.bytes
        FROM (
            SELECT job_id, sum(size::bigint)::bigint AS bytes
            FROM transcode_chunks, jsonb_each_text(result -> 'files') AS file (name, size)
            WHERE kind IN ('video', 'audio', 'stills') GROUP BY job_id
        ) AS stored
        WHERE stored.job_id = job.id AND job.state = 'completed' AND job.stored_bytes IS NULL
        """
    )
