"""The ledger's first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "clock",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("record_id", sa.Text),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("percentile", sa.Double, nullable=False),
        sa.Column("anomaly", sa.Boolean, nullable=False),
        sa.Column("prototype", sa.Integer, nullable=False),
        sa.Column("audit", sa.Boolean, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
    )
    op.create_index("events_by_record", "events", ["record_id", "event_id"])
    op.create_index("events_by_rank", "events", ["model", "percentile", "score", "event_id", "digest"])
    op.create_index(
        "events_of_audit",
        "events",
        ["model", "event_id"],
        postgresql_where=sa.text("audit"),
        sqlite_where=sa.text("audit = 1"),
    )
    op.create_table(
        "labels",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("feedback_id", sa.Text, nullable=False, unique=True),
        sa.Column("change", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("retracts", sa.Text),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text),
        sa.Column("record_id", sa.Text),
        sa.Column("analyst", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("class", sa.Text),
        sa.Column("comment", sa.Text),
        sa.Column("score_before", sa.Double),
        sa.Column("score_after", sa.Double),
        sa.Column("score_held_out", sa.Double),
        sa.Column("job_id", sa.Text),
        sa.Column("model_version", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("labels_by_digest", "labels", ["model", "digest"])
    op.create_index("labels_retracted", "labels", ["retracts"])
    op.create_index("labels_by_job", "labels", ["model", "job_id"])
    op.create_table(
        "verdicts",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("feedback_id", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
    )
    op.create_index("verdicts_by_change", "verdicts", ["model", "change"])
    op.create_table(
        "requests",
        sa.Column("actor", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("requests_by_age", "requests", ["at"])
    op.create_table(
        "policies",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("suppress_confirmed_normals", sa.Boolean, nullable=False),
        sa.Column("suppress_days", sa.Double, nullable=False),
        sa.Column("beneath", sa.Integer),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
    )
    op.create_table(
        "traffic",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("bin", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
    )
    op.create_table(
        "audit",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
