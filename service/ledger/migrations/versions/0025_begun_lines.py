"""When a line began anew, after the starter. One that holds anything already goes on as it is."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.add_column("lines", sa.Column("begun", sa.BigInteger))
    used = "EXISTS (SELECT 1 FROM {} WHERE model = 'default')"
    anything = " OR ".join(used.format(table) for table in ("events", "labels", "policies", "jobs"))
    op.execute(
        "INSERT INTO lines (model, at, actor, begun) "
        f"SELECT 'default', 0, '', 0 WHERE ({anything}) AND NOT {used.format('lines')}"
    )
    op.execute("UPDATE lines SET begun = 0 WHERE model = 'default'")
