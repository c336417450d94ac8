"""Records that nobody is to look at before a time."""

import sqlalchemy as sa
from alembic import op

from nearnorm.service.ledger.database import Milliseconds

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_table(
        "snoozes",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("analyst", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("until", Milliseconds, nullable=False),
        sa.Index("snoozes_by_actor", "actor"),
        sa.Index("snoozes_by_end", "model", "until"),
    )
