"""Who is signed in: sessions of browsers."""

import sqlalchemy as sa
from alembic import op

from nearnorm.service.ledger.database import Milliseconds

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("key_id", sa.Text),
        sa.Column("analyst", sa.Text, nullable=False),
        sa.Column("at", Milliseconds, nullable=False),
        sa.Column("until", Milliseconds, nullable=False),
    )
