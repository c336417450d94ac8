"""What a key may ask for."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for name in ("rows_per_second", "requests_per_second", "rows_per_request", "bytes_per_request"):
        op.add_column("keys", sa.Column(name, sa.BigInteger))
