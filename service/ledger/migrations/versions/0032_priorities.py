"""How soon a line's retrainings have their turn."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    op.add_column("lines", sa.Column("priority", sa.Integer))
