"""Jobs of the transcoder, and the parts of their work."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "transcode_jobs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("course_id", sa.BigInteger(), nullable=False),
        sa.Column("source_key", sa.Text(), nullable=False),
        sa.Column("source_etag", sa.Text(), nullable=False),
        sa.Column("source_bytes", sa.BigInteger(), nullable=False),
        sa.Column("uploaded_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("plan", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("content_key", sa.Text(), nullable=True),
        sa.Column("encoder", sa.Text(), nullable=True),
        sa.Column("rewrapped", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("duration_seconds", sa.Double(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("planned_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("first_shown_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("cleaned_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'probing', 'encoding', 'publishing', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_transcode_jobs_state_known"),
        ),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_transcode_jobs_course_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transcode_jobs")),
        sa.UniqueConstraint(
            "course_id", "source_key", "source_etag", name=op.f("uq_transcode_jobs_course_id_source_key_source_etag")
        ),
    )
    op.create_index(
        "ix_transcode_jobs_active", "transcode_jobs", ["id"], postgresql_where=sa.text("finished_at IS NULL")
    )
    op.create_table(
        "transcode_chunks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("due_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("done_seconds", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('plan', 'first', 'video', 'audio', 'stills', 'publish')",
            name=op.f("ck_transcode_chunks_kind_known"),
        ),
        sa.CheckConstraint("state IN ('waiting', 'running', 'done')", name=op.f("ck_transcode_chunks_state_known")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["transcode_jobs.id"], name=op.f("fk_transcode_chunks_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transcode_chunks")),
        sa.UniqueConstraint("job_id", "kind", "number", name=op.f("uq_transcode_chunks_job_id_kind_number")),
    )
    op.create_index(
        "ix_transcode_chunks_due", "transcode_chunks", ["due_at"], postgresql_where=sa.text("state <> 'done'")
    )
