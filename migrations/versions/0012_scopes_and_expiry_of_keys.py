"""What a key may do, when it expires, and when it was last used."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

#: The scopes of this migration's time. Also the default, for a version that knows of none and
#: makes keys on this schema: the owner's role bounds what a key may do all the same.
ALL = "read submit manage admin"
OF_MEMBERS = "read submit manage"


def upgrade() -> None:
    """Apply the migration. A key that exists keeps what its owner's role allows."""
    op.add_column(
        "api_keys", sa.Column("scopes", sa.String(100), nullable=False, server_default=ALL)
    )
    for name in ("expires_at", "last_used_at"):
        op.add_column("api_keys", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.execute(
        f"UPDATE api_keys SET scopes = '{OF_MEMBERS}' "  # noqa: S608  # a constant of this file
        "WHERE user_id IN (SELECT id FROM users WHERE role <> 'admin')"
    )


def downgrade() -> None:
    """Revert the migration."""
    for name in ("last_used_at", "expires_at", "scopes"):
        op.drop_column("api_keys", name)
