"""PostgreSQL itself is stopped and started while records are scored and labelled."""

import time
from collections.abc import Callable
from pathlib import Path

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.settings import Settings
from tests.chaos.kills import Load, Outcome, count
from tests.service.asking import RECORD
from tests.service.ledger.servers import postgres_server
from tests.service.running import home_with, serving
from tests.service.waiting import until


def grows(count: Callable[[], int]) -> None:
    before = count()
    until(lambda: count() > before + 5)


def test_postgresql_is_stopped_and_crashes_and_nothing_acknowledged_is_lost(
    tmp_path: Path, payments: Bundle
) -> None:
    with postgres_server() as server:
        settings = Settings(
            home=home_with(tmp_path / "home", payments), database_url=server.uri, audit_rate=0.2
        )
        with serving(create_app(settings)) as client:
            load = Load(str(client.base_url), RECORD)
            load.start()
            for stop in (server.stop, server.crash):
                grows(lambda: len(load.acknowledged))
                stop()
                grows(lambda: load.put_off)
                grows(lambda: load.scored[200])
                server.start()
                grows(lambda: len(load.acknowledged))
            time.sleep(0.5)
            load.stop()
        ledger = Ledger(server.uri)
        outcome = Outcome("postgresql", 2)
        count(ledger, load, outcome)
        ledger.close()
    assert outcome.ok, outcome
    assert outcome.kept_events > 0
    assert outcome.lost_events == outcome.refused_for_a_lost_event == 0, outcome
    assert set(load.scored) == {200}
