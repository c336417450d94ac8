"""Traffic with a sketch of its scores, in the place of counts by rarity."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "traffic_hours",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("version", "caller", "writer")),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("rows", "by_score", "by_novelty", "by_label", "held_back")
        ),
        sa.Column("bins", sa.Text, nullable=False),
    )
    op.drop_table("traffic")
