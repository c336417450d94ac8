"""Whose events are whose, and how large: the event log and the queue have a fair share for every caller."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("events", sa.Column("caller", sa.Text))
    op.add_column("events", sa.Column("size", sa.Integer))
    op.create_index("events_by_caller", "events", ["caller", "anomaly", "event_id", "size"])
    op.add_column("candidates", sa.Column("caller", sa.Text, nullable=False, server_default=""))
    op.add_column("candidates", sa.Column("size", sa.Integer, nullable=False, server_default="0"))
    op.drop_index("candidates_by_rank", "candidates")
    op.create_index(
        "candidates_by_rank",
        "candidates",
        ["model", "caller", "percentile", "score", "event_id"],
        postgresql_where=sa.text("NOT judged"),
        sqlite_where=sa.text("judged = 0"),
    )
    op.create_table(
        "event_cuts",
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("until", sa.Text, nullable=False),
    )
