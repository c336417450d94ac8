"""Recall read from the ledger, on both databases."""

import pytest
from msgspec.structs import replace

from nearnorm.service.feedback.figures.recall import Recall, read
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.label_history import Label, NamedBy
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.feedback import labels
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


def verdict(number: int, label: str, event: Event | None = None, named_by: NamedBy | None = None) -> Label:
    event_id = event.event_id if event else None
    return Label(
        new_id(),
        now_ms(),
        "default",
        f"d{number}",
        label,
        {},
        "ann",
        "key",
        event_id=event_id,
        named_by=named_by,
    )


def say(ledger: Ledger, *said: Label) -> None:
    with ledger.write() as connection:
        labels.append(connection, tick(connection, "labels"), said)


def recall(ledger: Ledger, version: str = "v") -> Recall:
    with ledger.read() as connection:
        found = read(connection, "default", version)
    assert found is not None
    return found


def test_every_kept_event_counts_for_its_rows_and_standing_verdicts_alone_as_labels(ledger: Ledger) -> None:
    kept = [event(i, anomaly=i < 10) for i in range(100)]
    kept += [replace(event(i, anomaly=False), probability=0.1) for i in range(100, 110)]
    kept.append(replace(event(200, anomaly=False), model="other"))
    keep(ledger, kept)
    say(ledger, *(verdict(i, "anomaly", kept[i]) for i in range(8)), verdict(8, "normal", kept[8]))
    say(ledger, *(verdict(i, "normal", kept[i]) for i in range(10, 39)), verdict(39, "anomaly", kept[39]))
    say(ledger, verdict(100, "anomaly", kept[100]))  # stands for ten rows
    with ledger.read() as connection:
        assert read(connection, "nobody", "v") is None
    found = recall(ledger)
    caught, missed = 10 * 8 / 9, (90 + 10 * 10) * (1 + 10) / (30 + 10)
    assert found.estimate == pytest.approx(caught / (caught + missed))
    assert (found.labelled, found.anomalies) == (40, 10)


def test_what_another_version_scored_does_not_count(ledger: Ledger) -> None:
    kept = [event(i, anomaly=i < 10) for i in range(100)]
    old = [replace(event(i, anomaly=True), model_version="old") for i in range(100, 200)]
    keep(ledger, [*kept, *old])
    say(ledger, *(verdict(i, "anomaly" if i % 10 == 0 else "normal", kept[i]) for i in range(100)))
    before = recall(ledger)
    say(ledger, *(verdict(i, "anomaly", old[i - 100]) for i in range(100, 200)))
    assert recall(ledger) == before
    assert before.version == "v"


def test_reports_of_what_was_missed_are_no_random_labels(ledger: Ledger) -> None:
    """Who complains names the payment, by its values or by their own id; its event may be in the slice."""
    kept = [event(i, anomaly=i < 10) for i in range(1_000)]
    keep(ledger, kept)
    say(ledger, *(verdict(i, "anomaly", kept[i], "event_id") for i in range(10)))
    say(ledger, *(verdict(i, "normal", kept[i], "event_id") for i in range(100, 200)))
    before = recall(ledger)
    say(ledger, *(verdict(i, "anomaly", kept[i], "record_id") for i in range(500, 520)))
    say(ledger, *(verdict(i, "anomaly", None, "record") for i in range(600, 620)))
    after = recall(ledger)
    assert (after.estimate, after.random_labels) == (before.estimate, before.random_labels)


def test_an_alert_by_label_is_found_and_what_was_missed_before_stays_missed(ledger: Ledger) -> None:
    kept = [event(i, anomaly=i < 10) for i in range(100)]
    again = [replace(event(50, anomaly=True), percentile=50.0) for _ in range(3)]
    keep(ledger, [*kept, *again])
    say(ledger, *(verdict(i, "anomaly" if i in (1, 50) else "normal", kept[i]) for i in range(100)))
    assert recall(ledger).estimate == pytest.approx((1 + 3) / (1 + 3 + 1))
