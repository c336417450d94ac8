"""Recall read from the ledger, on both databases."""

import pytest
from msgspec.structs import replace

from nearnorm.service.feedback.recall import read
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.tables import labels
from nearnorm.service.ledger.tables.events import Event
from tests.service.ledger.keeping import keep


def event(number: int, *, anomaly: bool) -> Event:
    return Event(
        event_id=new_id(),
        at=now_ms(),
        model="default",
        model_version="v",
        record_id=None,
        digest=f"d{number}",
        record={},
        score=0.5,
        percentile=50.0,
        anomaly=anomaly,
        prototype=0,
        audit=True,
        probability=1.0,
    )


def verdict(number: int, label: str) -> Label:
    return Label(new_id(), now_ms(), "default", f"d{number}", label, {}, "ann", "key")


def test_every_kept_event_counts_for_its_rows_and_standing_verdicts_alone_as_labels(ledger: Ledger) -> None:
    kept = [event(i, anomaly=i < 10) for i in range(100)]
    kept += [replace(event(i, anomaly=False), probability=0.1) for i in range(100, 110)]
    kept.append(replace(event(200, anomaly=False), model="other"))
    said = [verdict(i, "anomaly") for i in range(8)] + [verdict(8, "normal")]
    said += [verdict(i, "normal") for i in range(10, 39)] + [verdict(39, "anomaly")]
    said.append(verdict(100, "anomaly"))  # stands for ten rows
    keep(ledger, kept)
    with ledger.write() as connection:
        labels.append(connection, tick(connection, "labels"), said)
    with ledger.read() as connection:
        found = read(connection, "default")
        assert read(connection, "nobody") is None
    assert found is not None
    caught, missed = 10 * 8 / 9, (90 + 10 * 10) * (1 + 10) / (30 + 10)
    assert found.estimate == pytest.approx(caught / (caught + missed))
    assert (found.labelled, found.anomalies) == (40, 10)
