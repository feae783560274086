"""Jobs of which something is asked, and the jobs of one course, are found without reading all of them."""

from alembic import op

from shared.schema.migrations.concurrently import create_index

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.execute("ALTER TABLE transcode_jobs VALIDATE CONSTRAINT ck_transcode_jobs_requested_known")
    create_index("ix_transcode_jobs_requested", "transcode_jobs (id) WHERE requested IS NOT NULL")
    create_index("ix_transcode_jobs_course_id", "transcode_jobs (course_id, id)")
