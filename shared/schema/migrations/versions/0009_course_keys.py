"""The keys of lessons that are paid for."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "course_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("course_id", sa.BigInteger(), nullable=False),
        sa.Column("content_key", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("octet_length(secret) = 16", name=op.f("ck_course_keys_secret_length")),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_course_keys_course_id_courses")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_course_keys")),
        sa.UniqueConstraint("course_id", "content_key", name=op.f("uq_course_keys_course_id_content_key")),
    )
