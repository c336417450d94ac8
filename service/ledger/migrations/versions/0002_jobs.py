"""Retraining jobs and their workers; the newest event of equal records."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("progress", sa.Double, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("lease", sa.BigInteger),
        sa.Column("cancelled_by", sa.Text),
        sa.Column("watermark", sa.BigInteger),
        sa.Column("digest", sa.Text),
        sa.Column("champion", sa.Text),
        sa.Column("version", sa.Text),
        sa.Column("activated", sa.Boolean, nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("log", sa.Text, nullable=False),
    )
    for name, state in (("jobs_waiting", "queued"), ("jobs_running", "running")):
        only = sa.text(f"state = '{state}'")
        op.create_index(name, "jobs", ["model"], unique=True, sqlite_where=only, postgresql_where=only)
    op.create_index("jobs_by_version", "jobs", ["version"])
    op.create_index("events_by_digest", "events", ["model", "digest", "event_id"])
    op.create_index("labels_by_change", "labels", ["model", "change"])
    op.create_table(
        "workers",
        sa.Column("worker", sa.Text, primary_key=True),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
    )
