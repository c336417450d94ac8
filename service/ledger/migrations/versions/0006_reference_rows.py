"""Reference rows that people can review."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "reference_rows",
        sa.Column("model_version", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Text, nullable=False, unique=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("score", sa.DOUBLE_PRECISION, nullable=False),
        sa.Column("prototype", sa.Integer, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
    )
