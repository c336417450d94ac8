"""What a line may be asked for, and quarantine in one line alone."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    op.add_column("lines", sa.Column("rows_per_second", sa.BigInteger))
    op.add_column("lines", sa.Column("requests_per_second", sa.BigInteger))
    op.add_column("lines", sa.Column("rows_per_request", sa.BigInteger))
    op.create_table(
        "quarantined_in_lines",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
    )
