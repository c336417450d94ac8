"""Verdicts on groups of records, and the events of equal records by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("labels", sa.Column("group_id", sa.Text))
    op.create_index("labels_by_group", "labels", ["group_id"])
    op.create_index("events_by_digest", "events", ["digest", "event_id"])
