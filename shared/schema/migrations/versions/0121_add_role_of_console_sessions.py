"""Console sessions by OpenID Connect keep the role that the provider gave."""

from alembic import op

revision = "0121"
down_revision = "0115"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE console_sessions
            ADD COLUMN role text,
            ADD CONSTRAINT ck_console_sessions_role_known CHECK (role IN ('viewer', 'operator'))
        """
    )
