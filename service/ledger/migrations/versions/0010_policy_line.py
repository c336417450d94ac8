"""The line of versions that a policy was set for."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("policies", sa.Column("line", sa.Text))
