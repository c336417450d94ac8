"""What is kept of the keys that events are counted by, over windows."""

import sqlalchemy as sa
from alembic import op

from nearnorm.service.ledger.database import Milliseconds

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.create_table(
        "aggregate_keys",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("key_column", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("events", sa.LargeBinary, nullable=False),
        sa.Column("until", Milliseconds, nullable=False),
        sa.Index("aggregate_keys_by_end", "until"),
    )
