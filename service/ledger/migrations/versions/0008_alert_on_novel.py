"""Whether what training never saw alerts by itself."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column(
        "policies", sa.Column("alert_on_novel", sa.Boolean, nullable=False, server_default=sa.true())
    )
