"""Which releases may use the ledger though it is newer than they are."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.create_table("usable_from", sa.Column("revision", sa.Text, primary_key=True))
    op.execute("INSERT INTO usable_from (revision) VALUES ('0029')")
