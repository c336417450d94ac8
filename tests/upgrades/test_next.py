"""Today's release on the ledger of one that comes after it: it starts again there, or is put back."""

from contextlib import closing
from pathlib import Path

import httpx
import sqlalchemy as sa

from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from tests.service.process.test_server import process
from tests.upgrades.conftest import label, scored


def test_a_service_starts_on_a_ledger_to_which_a_later_release_only_added(tmp_path: Path) -> None:
    with closing(Ledger.at(None, tmp_path)) as ledger:
        migrate(ledger)
        with ledger.write() as connection:
            for statement in (
                "UPDATE alembic_version SET version_num = '9999'",
                "CREATE TABLE later (id TEXT)",
                "ALTER TABLE events ADD COLUMN later TEXT",
                "ALTER TABLE labels ADD COLUMN later TEXT",
            ):
                connection.execute(sa.text(statement))
    with (
        process(tmp_path, NEARNORM_AUDIT_RATE="1", NEARNORM_WORKER="off") as (_, url),
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        label(client, scored(client), "anomaly", "mei").raise_for_status()
    assert "of a newer release, which only added to it" in (tmp_path / "stderr").read_text()
