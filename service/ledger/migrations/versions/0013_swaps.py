"""Versions that the loop put into service, and what the watch found of them."""

import sqlalchemy as sa
from alembic import op

from nearnorm.service.ledger.database import Milliseconds

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "swaps",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("since", Milliseconds, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
    )
