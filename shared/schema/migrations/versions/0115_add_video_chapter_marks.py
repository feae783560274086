"""Table of the video chapter marks that the school sends for a course's video."""

from alembic import op

revision = "0115"
down_revision = "0100"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE course_chapters (
            course_id bigint CONSTRAINT pk_course_chapters PRIMARY KEY
                CONSTRAINT fk_course_chapters_course_id REFERENCES courses (id),
            chapters jsonb NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
