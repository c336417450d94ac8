"""Events that came by a message: named by it, and kept once however often it is read."""

from nearnorm.service.ids import new_id
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.events.events import Event
from tests.service.ledger.keeping import keep


def event(source: str | None, model: str = "default", record_id: str = "first") -> Event:
    return Event(
        event_id=new_id(),
        at=0,
        model=model,
        model_version="v1",
        record_id=record_id,
        digest="digest",
        record={"amount": 1.0},
        score=0.5,
        percentile=50.0,
        anomaly=False,
        prototype=0,
        audit=True,
        probability=1.0,
        source=source,
    )


def test_a_message_that_is_read_again_is_the_event_that_it_was(ledger: Ledger) -> None:
    keep(ledger, [event("records:0:7")])
    keep(ledger, [event("records:0:7", record_id="again"), event("records:0:8")])
    with ledger.read() as connection:
        found = events.find_source(connection, "default", "records:0:7")
        other = events.find_source(connection, "default", "records:0:8")
    assert found is not None
    assert other is not None
    assert found.record_id == "first"


def test_two_models_may_score_the_same_message(ledger: Ledger) -> None:
    keep(ledger, [event("records:0:7"), event("records:0:7", model="cards")])
    with ledger.read() as connection:
        assert events.find_source(connection, "cards", "records:0:7") is not None
        assert events.find_source(connection, "other", "records:0:7") is None


def test_events_that_came_by_no_message_are_all_kept(ledger: Ledger) -> None:
    both = [event(None), event(None)]
    keep(ledger, both)
    with ledger.read() as connection:
        assert len(events.of_ids(connection, [one.event_id for one in both])) == 2
