"""Candidates for review, one a record: events keep only the indexes that grow at their end."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "candidates",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("percentile", sa.Double, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("audit", sa.Boolean, nullable=False),
        sa.Column("judged", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        """
        INSERT INTO candidates (model, digest, event_id, percentile, score, audit, judged)
        SELECT model, digest, event_id, percentile, score, audit, EXISTS (
            SELECT 1 FROM verdicts
            WHERE verdicts.model = newest.model AND verdicts.digest = newest.digest
            AND verdicts.verdict <> 'none'
        )
        FROM (
            SELECT *, row_number() OVER (PARTITION BY model, digest ORDER BY event_id DESC) AS age FROM events
        ) AS newest
        WHERE age = 1
        """
    )
    op.create_index(
        "candidates_by_rank",
        "candidates",
        ["model", "percentile", "score", "event_id"],
        postgresql_where=sa.text("NOT judged"),
        sqlite_where=sa.text("judged = 0"),
    )
    op.create_index(
        "candidates_of_audit",
        "candidates",
        ["model", "event_id"],
        postgresql_where=sa.text("audit AND NOT judged"),
        sqlite_where=sa.text("audit = 1 AND judged = 0"),
    )
    op.create_index("candidates_by_event", "candidates", ["event_id"])
    op.drop_index("events_by_digest", "events")
    op.drop_index("events_by_rank", "events")
    op.drop_index("events_by_record", "events")
    op.create_index(
        "events_by_record",
        "events",
        ["record_id", "event_id"],
        postgresql_where=sa.text("record_id IS NOT NULL"),
        sqlite_where=sa.text("record_id IS NOT NULL"),
    )
