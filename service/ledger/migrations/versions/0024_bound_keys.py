"""Keys and webhooks that see some lines alone; those of before see every one."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.add_column("keys", sa.Column("lines", sa.Text))
    op.add_column("webhooks", sa.Column("lines", sa.Text))
