"""The message of a topic that an event came by: read again, it is the same event."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.add_column("events", sa.Column("source", sa.Text))
    op.create_index(
        "events_by_source",
        "events",
        ["source", "model"],
        unique=True,
        sqlite_where=sa.text("source IS NOT NULL"),
        postgresql_where=sa.text("source IS NOT NULL"),
    )
