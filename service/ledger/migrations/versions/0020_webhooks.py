"""Webhooks, their outbox, and the conditions that they are told of."""

import sqlalchemy as sa
from alembic import op

from nearnorm.service.ledger.database import Milliseconds, Number

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("webhook_id", sa.Text, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("kinds", sa.Text, nullable=False),
        sa.Column("format", sa.Text, nullable=False),
        sa.Column("records", sa.Boolean, nullable=False),
        sa.Column("analyst", sa.Text),
        sa.Column("routing_key", sa.Text),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("old_secret", sa.Text),
        sa.Column("old_until", Milliseconds),
        sa.Column("link_secret", sa.Text, nullable=False),
        sa.Column("at", Milliseconds, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("dropped", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "webhook_messages",
        sa.Column("number", Number, primary_key=True, autoincrement=True),
        sa.Column("message_id", sa.Text, nullable=False, unique=True),
        sa.Column("webhook_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("at", Milliseconds, nullable=False),
        sa.Column("since", Milliseconds, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("parts", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", Milliseconds, nullable=False),
        sa.Column("lease", Milliseconds),
        sa.Column("ended_at", Milliseconds),
        sa.Column("status", sa.Integer),
        sa.Column("problem", sa.Text),
        sa.Index("webhook_messages_by_state", "webhook_id", "state", "number"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "webhook_messages_waiting",
        "webhook_messages",
        ["webhook_id", "subject", "number"],
        postgresql_where=sa.text("state = 'waiting'"),
        sqlite_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "webhook_conditions",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("until", Milliseconds, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
