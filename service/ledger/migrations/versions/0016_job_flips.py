"""What each job's challenger would have said otherwise of recent events."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_table(
        "job_flips",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("comparison", sa.Text, nullable=False),
    )
