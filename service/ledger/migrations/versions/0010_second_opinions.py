"""Labels that contradict the models, and wait for a second opinion."""

import sqlalchemy as sa
from alembic import op

from nearnorm.service.ledger.database import Milliseconds

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "second_opinions",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("feedback_id", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("at", Milliseconds, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
        sa.Column("score", sa.DOUBLE_PRECISION, nullable=False),
        sa.Column("percentile", sa.DOUBLE_PRECISION, nullable=False),
        sa.Column("prototype", sa.Integer, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("confirmed", sa.BigInteger),
        sa.Index("second_opinions_by_actor", "actor", "at"),
    )
