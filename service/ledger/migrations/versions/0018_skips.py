"""Records that analysts will not judge, and why."""

import sqlalchemy as sa
from alembic import op

from nearnorm.service.ledger.database import Milliseconds

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "skips",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("actor", sa.Text, primary_key=True),
        sa.Column("analyst", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", Milliseconds, nullable=False),
        sa.Index("skips_by_actor", "actor"),
    )
