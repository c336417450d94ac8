"""The line of versions that a policy was set for."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("policies", sa.Column("line", sa.Text))
