"""Lines of versions: what the retrainings of each begin with."""

import sqlalchemy as sa
from alembic import op

from nearnorm.service.ledger.database import Milliseconds

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.create_table(
        "lines",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("training_data", sa.Text),
        sa.Column("reference_data", sa.Text),
        sa.Column("training_config", sa.Text),
        sa.Column("at", Milliseconds, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
    )
