"""Backups that were taken whole."""

import sqlalchemy as sa
from alembic import op

from nearnorm.service.ledger.database import Milliseconds

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    op.create_table(
        "backups",
        sa.Column("place", sa.Text, primary_key=True),
        sa.Column("ended", Milliseconds, nullable=False),
    )
