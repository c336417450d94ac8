"""Rows that wait for the ledger: who has to go where there is no room, and what is forgotten."""

from nearnorm.service.events.kept import Kept
from nearnorm.service.events.log import INTERVAL, MOST_PAUSE, pause_after
from nearnorm.service.events.waiting import WaitingEvents
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from tests.service.events.test_events import ENCODER


def rows(caller: str, count: int, size: int, record_id: str | None = None) -> list[Kept]:
    return [
        Kept(
            event_id=f"{caller}-{i}",
            at=0,
            model="default",
            version="v",
            record_id=record_id,
            score=0.5,
            percentile=50.0,
            anomaly=False,
            prototype=0,
            audit=False,
            probability=1.0,
            caller=caller,
            size=size,
            encoder=ENCODER,
            numeric=b"",
            codes=b"",
            unknown=None,
        )
        for i in range(count)
    ]


def test_where_rows_run_out_the_caller_with_most_rows_gives_way_however_small_they_are() -> None:
    waiting = WaitingEvents(most_rows=10, most_bytes=10_000)
    waiting.put("many", rows("many", 9, size=10))
    waiting.put("large", rows("large", 1, size=500))
    assert waiting.put("new", rows("new", 1, size=10)) == ["many-8"]


def test_where_bytes_run_out_the_caller_with_most_bytes_gives_way_however_few_rows_they_are() -> None:
    waiting = WaitingEvents(most_rows=1_000, most_bytes=1_000)
    waiting.put("many", rows("many", 20, size=10))
    waiting.put("large", rows("large", 2, size=400))
    assert waiting.put("new", rows("new", 1, size=10)) == ["large-1"]
    assert waiting.put("new", rows("newer", 39, size=10)) == [], "what went has made room"


def test_a_record_that_is_forgotten_waits_no_more_and_the_others_do() -> None:
    waiting = WaitingEvents(most_rows=10, most_bytes=1_000)
    waiting.put("app", rows("app", 2, size=10, record_id="ada"))
    waiting.put("web", rows("web", 1, size=10, record_id="bob"))
    waiting.forget("ada", EVERY_LINE)
    assert [kept.event_id for kept in waiting.snapshot()] == ["web-0"]
    assert waiting.find("app-0") is None


def test_the_writer_rests_twice_as_long_as_it_works_and_never_long() -> None:
    assert [pause_after(cpu) for cpu in (0.0, 0.05, 0.3, 60.0)] == [INTERVAL, INTERVAL, 0.6, MOST_PAUSE]
