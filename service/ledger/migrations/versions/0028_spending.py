"""What each process has let callers send, where limits count over several."""

import sqlalchemy as sa
from alembic import op

from nearnorm.service.ledger.database import Milliseconds

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.create_table(
        "spending",
        sa.Column("process", sa.Text, primary_key=True),
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("at", Milliseconds, nullable=False),
    )
