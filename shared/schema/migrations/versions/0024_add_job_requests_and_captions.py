"""The school's requests about a job (cancel, retry, delete), when a lesson was deleted, and captions of lessons."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0028"


def upgrade() -> None:
    op.add_column("transcode_jobs", sa.Column("requested", sa.Text(), nullable=True))
    op.add_column("transcode_jobs", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        "ALTER TABLE transcode_jobs ADD CONSTRAINT ck_transcode_jobs_requested_known"
        " CHECK (requested IN ('cancel', 'retry', 'delete', 'captions')) NOT VALID"
    )
    op.create_table(
        "captions",
        sa.Column("course_id", sa.BigInteger(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("automatic", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_captions_course_id")),
        sa.PrimaryKeyConstraint("course_id", "language", name=op.f("pk_captions")),
    )
