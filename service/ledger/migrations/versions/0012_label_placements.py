"""Where labelled records ranked before and after a retraining, and what a label named its record by."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("labels", sa.Column("named_by", sa.Text))
    for when in ("before", "after", "held_out"):
        op.add_column("labels", sa.Column(f"percentile_{when}", sa.Double))
        op.add_column("labels", sa.Column(f"anomaly_{when}", sa.Boolean))
