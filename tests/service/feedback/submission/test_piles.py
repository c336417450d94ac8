"""Many statements about one record: they are read once a request, and nobody waits for that."""

import asyncio
import time
from statistics import median
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.service.app import Application, create_app
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.feedback.submission import check
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger import database
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, mistakes, stored
from tests.service.running import serving

PILE = 8_000


def pile(ledger: Ledger, digest: str, count: int) -> None:
    """So many analysts, who agree with nobody and write much."""
    said = [
        Label(
            new_id(),
            now_ms(),
            "default",
            digest,
            ("anomaly", "normal")[i % 2],
            RECORD,
            analyst=f"analyst {i}",
            actor="another key",
            comment="x" * 4_000,
        )
        for i in range(count)
    ]
    with ledger.write() as connection:
        labels.append(connection, tick(connection, "labels"), said)


def digest_of(ledger: Ledger, feedback_id: str) -> str:
    with ledger.read() as connection:
        found = labels.find(connection, feedback_id)
    assert found is not None
    return found.digest


def cpu_seconds(client: httpx.Client, item: dict[str, Any]) -> float:
    """Of this process, in which the service runs: a busy machine makes it no more."""
    started = time.process_time()
    stored(label(client, item))
    return time.process_time() - started


def test_a_label_or_retraction_of_a_record_with_8000_labels_is_as_quick_as_any(
    client: httpx.Client, ledger: Ledger
) -> None:
    first = stored(label(client, {"record": RECORD, "label": "anomaly"}))[0]
    pile(ledger, digest_of(ledger, first), PILE)
    on_pile, alone, taken_back = [], [], []
    for i in range(5):
        who = {"label": "anomaly", "analyst": f"late {i}"}
        alone.append(cpu_seconds(client, {"record": STRANGE, **who}))
        on_pile.append(cpu_seconds(client, {"record": RECORD, **who}))
        mine = stored(label(client, {"record": RECORD, **who}))[0]
        taken_back.append(cpu_seconds(client, {"retract": mine}))
    bound = 3 * median(alone) + 0.1
    assert median(on_pile) < bound
    assert median(taken_back) < bound


def test_a_receipt_names_the_newest_twenty_of_all_that_say_the_opposite(
    client: httpx.Client, ledger: Ledger
) -> None:
    first = stored(label(client, {"record": RECORD, "label": "anomaly"}))[0]
    pile(ledger, digest_of(ledger, first), 100)
    receipt = label(client, {"record": RECORD, "label": "anomaly", "analyst": "ann"}).json()["receipts"][0]
    assert len(receipt["conflicts_with"]) == 20


def test_what_was_said_of_a_record_is_read_once_however_much_of_it_is_taken_back(settings: Settings) -> None:
    app = create_app(settings)
    with serving(app) as client:
        said = [{"record": RECORD, "label": "anomaly", "analyst": f"analyst {i}"} for i in range(50)]
        ids = stored(label(client, *said))
        reads = statements(app)
        stored(label(client, *({"retract": id_} for id_ in ids)))
        assert sum("labels.digest IN" in sql for sql in reads) == 1


def statements(app: Application) -> list[str]:
    """What is asked of the ledger from now on."""
    asked: list[str] = []

    @sa.event.listens_for(app.state.services.ledger._engine, "before_cursor_execute")
    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        asked.append(statement)

    return asked


def test_one_key_cannot_label_a_record_without_end(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "MOST_ON_A_RECORD", 3)
    said = [{"record": RECORD, "label": "anomaly", "analyst": f"analyst {i}"} for i in range(5)]
    ids = stored(label(client, *said[:2]))
    assert mistakes(label(client, *said[2:])) == [(i, "too-many-on-record", "label") for i in (1, 2)]
    stored(label(client, said[2]))
    assert "by another key" in label(client, said[3]).json()["errors"][0]["detail"]
    stored(label(client, {"record": STRANGE, "label": "anomaly"}, {"retract": ids[0]}))


def test_a_transaction_ends_when_whoever_asked_for_it_has_been_told_that_it_takes_too_long(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes next would wait longer than it has patience for, if it went on."""
    monkeypatch.setattr(database, "LONGEST", 0.2)

    def slow(connection: sa.Connection) -> None:
        for _ in range(2_000):
            tick(connection, "labels")
            time.sleep(0.05)

    with pytest.raises(LedgerUnavailable, match="no answer"):
        asyncio.run(ledger.written(slow))
    with ledger.write() as connection:
        assert tick(connection, "labels") == 1, "nothing of it was kept"
