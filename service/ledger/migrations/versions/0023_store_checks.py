"""The checks of model stores."""

import sqlalchemy as sa
from alembic import op

from nearnorm.service.ledger.database import Milliseconds

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.create_table(
        "store_checks",
        sa.Column("store", sa.Text, primary_key=True),
        sa.Column("begun", Milliseconds, nullable=False),
        sa.Column("ended", Milliseconds, nullable=False),
        sa.Column("versions", sa.Integer, nullable=False),
        sa.Column("problems", sa.Text, nullable=False),
    )
