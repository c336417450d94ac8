"""What follows the ledger: its trouble is told while it lasts, and no longer."""

from pathlib import Path

import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.follower import FOLLOWING
from nearnorm.service.ledger.database import Ledger, sqlite_url
from nearnorm.service.settings import Settings
from tests.service.running import home_with, serving
from tests.service.waiting import until


def test_trouble_with_the_ledger_stands_among_the_problems_until_it_is_over(
    tmp_path: Path, bundle: Bundle
) -> None:
    home = home_with(tmp_path, bundle)
    with serving(create_app(Settings(home=home))) as client:

        def problems() -> list[str]:
            found: list[str] = client.get("/readyz").json()["problems"]
            return [problem for problem in found if problem.startswith(FOLLOWING)]

        ledger = Ledger(sqlite_url(home / "nearnorm.db"))
        with ledger.write() as connection:
            connection.execute(sa.text("ALTER TABLE verdicts RENAME TO elsewhere"))
        until(problems)
        assert "verdicts" in problems()[0]
        with ledger.write() as connection:
            connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO verdicts"))
        until(lambda: problems() == [])
        ledger.close()
