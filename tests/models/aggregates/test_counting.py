"""Numbers over windows: whatever the order, the doubles and the kills, they are the whole history's."""

import math
import random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnorm.models.aggregates import key_events
from nearnorm.models.aggregates.counting import KeyName, counted
from nearnorm.models.aggregates.declaration import SECOND, Aggregates, duration
from nearnorm.models.aggregates.events import Uncountable, event_of
from nearnorm.models.aggregates.history import as_columns, history_numbers, read_history
from nearnorm.models.aggregates.key_events import KeyedEvent, KeyEvents, Row, without
from tests.models.aggregates.declarations import payments

NOW = 2_000_000_000 * SECOND
Payment = dict[str, Any]


class Kept(dict[KeyName, KeyEvents]):
    """What is kept, which may be stored and read again in the middle."""

    def __init__(self, aggregates: Aggregates) -> None:
        super().__init__()
        self._columns = {column.name: column for column in aggregates.keys}

    def __missing__(self, name: KeyName) -> KeyEvents:
        self[name] = KeyEvents(self._columns[name[0]])
        return self[name]

    def restart(self) -> None:
        for name, events in self.items():
            self[name] = KeyEvents(self._columns[name[0]], events.dump())


def payment(second: float, card: object = "c", id_: str | None = None, **more: object) -> Payment:
    record = {
        "at": second,
        "payment": id_ or f"{card}-{second}",
        "card": card,
        "merchant": "m",
        "amount": 1.0,
    }
    return record | more


def told(aggregates: Aggregates, record: Payment) -> KeyedEvent:
    return event_of(record | {"at": 1_700_000_000 + record["at"]}, aggregates)


def epoch(late: str = "0s") -> Aggregates:
    return Aggregates.of_table(payments(late).model_dump(mode="json") | {"format": "epoch s"}, "schema.toml")


def one_by_one(aggregates: Aggregates, records: list[Payment]) -> list[dict[str, float | None]]:
    rows = counted([told(aggregates, r) for r in records], aggregates, Kept(aggregates), NOW).rows
    return [dict(zip(aggregates.features, row, strict=True)) for row in rows]


def by_definition(aggregates: Aggregates, records: list[Payment]) -> dict[str, Row]:
    """The numbers as docs/aggregates.md has them, of all that ever happened."""
    events = {r["payment"]: r for r in records}
    late = duration(aggregates.late, "late", 0, 1)
    found = {}
    for id_, record in events.items():
        row: Row = []
        for one in aggregates.features.values():
            if record[one.key] is None:
                row.append(None)
                continue
            end = record["at"] - late
            start = end - duration(one.window, "window", 1, 90)
            same = [e for e in events.values() if e[one.key] == record[one.key] and start <= e["at"] < end]
            if one.function == "count":
                row.append(len(same))
            elif one.function == "sum":
                row.append(math.fsum(e["amount"] or 0.0 for e in same))
            elif one.function == "distinct":
                row.append(len({e["merchant"] for e in same} - {None}))
            else:
                row.append(record["at"] - max(e["at"] for e in same) if same else None)
        found[id_] = row
    return found


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[Payment]]:
    """How late events may be, and records as they come: each up to so late, some of them twice."""
    late = draw(st.sampled_from([0, 7, 90]))
    count = draw(st.integers(1, 40))
    records, arrivals = [], []
    for i in range(count):
        at = draw(st.integers(0, 400)) if draw(st.booleans()) else draw(st.integers(0, 9_000))
        record = {
            "at": at,
            "payment": f"p{i}",
            "card": draw(st.sampled_from(["a", "b", None])),
            "merchant": draw(st.sampled_from(["x", "y", "z", None])),
            "amount": draw(st.sampled_from([0.1, 0.2, 0.7, 1e15, -3.3, None])),
        }
        for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
            records.append(record)
            arrivals.append((at + draw(st.integers(0, late)), draw(st.integers(0, 99)), len(records) - 1))
    return late, [records[index] for _, _, index in sorted(arrivals)]


@settings(max_examples=100, deadline=None)
@given(histories())
def test_a_history_is_read_at_once_as_record_by_record(history: tuple[int, list[Payment]]) -> None:
    late, records = history
    aggregates, expected = epoch(f"{late}s"), by_definition(epoch(f"{late}s"), records)
    table = pa.table({name: [record[name] for record in records] for name in records[0]})
    table = table.set_column(0, "at", pc.add(table.column("at"), 1_700_000_000))
    found = history_numbers(read_history([table[:9], table[9:]], aggregates, "x"), aggregates, NOW)
    columns = [column.to_pylist() for column in as_columns(found, aggregates).values()]
    for record, row in zip(records, zip(*columns, strict=True), strict=True):
        assert list(row) == expected[record["payment"]]


@settings(max_examples=120, deadline=None)
@given(histories(), st.data())
def test_any_order_within_lateness_with_doubles_and_kills_gives_the_numbers_of_the_whole_history(
    history: tuple[int, list[Payment]], data: st.DataObject
) -> None:
    late, records = history
    aggregates = epoch(f"{late}s")
    expected, kept, at = by_definition(aggregates, records), Kept(aggregates), 0
    while at < len(records):
        size = data.draw(st.integers(1, 10))
        batch = records[at : at + size]
        rows = counted([told(aggregates, r) for r in batch], aggregates, kept, NOW).rows
        for record, row in zip(batch, rows, strict=True):
            assert row == expected[record["payment"]]
        kept.restart()
        if not data.draw(st.booleans()):  # else killed after it was counted: the same messages come again
            at += size


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 12))
def test_the_bounds_of_what_is_kept_change_no_number(seed: int, most: int) -> None:
    """Of a key with more events than one number is made of, in any order within lateness."""
    rng = random.Random(seed)  # noqa: S311 - for a made history
    aggregates, late = epoch("9s"), 9
    records = [
        payment(float(rng.randrange(600)), id_=f"p{i}", merchant=f"m{rng.randrange(9)}") for i in range(150)
    ]
    came = sorted(records, key=lambda r: (r["at"] + rng.uniform(0, late), r["payment"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_events, "MOST_EVENTS", most + 20)  # more than come in twice the lateness
        patch.setattr(key_events, "SPARE", 0)
        by_time = sorted(records, key=lambda r: (r["at"], r["payment"]))
        ids = [record["payment"] for record in by_time]
        in_order = dict(zip(ids, one_by_one(aggregates, by_time), strict=True))
        kept = Kept(aggregates)
        rows = counted([told(aggregates, r) for r in came], aggregates, kept, NOW).rows
        for record, row in zip(came, rows, strict=True):
            assert dict(zip(aggregates.features, row, strict=True)) == in_order[record["payment"]]
        assert max(map(len, kept.values())) <= 2 * (most + 20)


def test_a_record_sees_those_before_it_and_not_itself() -> None:
    first, second, third = one_by_one(
        epoch(),
        [payment(0, amount=5.0), payment(10, amount=7.0, merchant="n"), payment(65, amount=1.0)],
    )
    assert first == {
        "card_count_1m": 0,
        "card_amount_1h": 0.0,
        "card_merchants_1h": 0,
        "card_since": None,
        "merchant_count_1h": 0,
    }
    assert second["card_count_1m"] == 1
    assert third["card_count_1m"] == 1, "the first is more than a minute back"
    assert (third["card_amount_1h"], third["card_merchants_1h"], third["card_since"]) == (12.0, 2, 55.0)


def test_a_record_without_a_key_has_no_numbers_of_it_and_counts_for_nobody() -> None:
    rows = one_by_one(epoch(), [payment(0, card="c"), payment(1, merchant=None), payment(2, merchant=" ")])
    assert [row["merchant_count_1h"] for row in rows] == [0, None, None]
    assert [row["card_count_1m"] for row in rows] == [0, 1, 2]


def test_one_that_comes_too_late_counts_from_then_on() -> None:
    rows = one_by_one(epoch(), [payment(100), payment(90), payment(110)])
    assert [row["card_count_1m"] for row in rows] == [0, 0, 2]


def test_it_is_told_how_many_came_again_and_how_many_too_late() -> None:
    aggregates, kept = epoch("5s"), Kept(epoch("5s"))
    records = [
        payment(100),
        payment(100),
        payment(95),
        payment(94),
        payment(94),
        payment(7, card=None, merchant=None),
    ]
    found = counted([told(aggregates, record) for record in records], aggregates, kept, NOW)
    assert (found.kept, found.again, found.late, found.ahead) == (3, 2, 1, 0)


def test_the_last_seconds_are_not_seen_where_events_may_be_so_late() -> None:
    rows = one_by_one(epoch("5s"), [payment(0), payment(4), payment(5.5)])
    assert [row["card_count_1m"] for row in rows] == [0, 0, 1]


@pytest.mark.parametrize(
    "wrong", [5 * 10**8, 5 * 10**4], ids=["ahead of every clock", "in the past, and ahead"]
)
def test_a_wrong_clock_takes_nothing_from_a_key(wrong: int) -> None:
    records = [payment(float(i)) for i in range(50)]
    records[20:20] = [payment(float(wrong), id_=f"wrong{i}") for i in range(key_events.SPARE)]
    rows = one_by_one(epoch(), records)
    right = [
        row["card_amount_1h"] for row, record in zip(rows, records, strict=True) if record["at"] != wrong
    ]
    assert right == [float(i) for i in range(50)]


def test_a_time_far_ahead_of_the_clock_is_answered_and_not_counted() -> None:
    aggregates, kept = epoch(), Kept(epoch())
    found = counted([told(aggregates, payment(9 * 10**8))], aggregates, kept, NOW)
    assert found.rows[0][0] == 0
    assert (found.kept, found.ahead, found.changed) == (0, 1, set())
    assert not any(map(len, kept.values()))


def test_what_is_kept_of_a_key_is_let_go_after_its_window() -> None:
    aggregates, kept = epoch(), Kept(epoch())
    counted([told(aggregates, payment(60.0 * i)) for i in range(500)], aggregates, kept, NOW)
    assert {name[0]: len(events) for name, events in kept.items()} == {"card": 77, "merchant": 77}


def test_sums_are_exact_and_names_are_one_however_they_are_written() -> None:
    rows = one_by_one(
        epoch(),
        [
            payment(0, card="7", amount=0.1, merchant="5411"),
            payment(1, card=7, amount="0.2", merchant=5411),
            payment(2, card=7.0, amount=1e17, merchant=5411.0),
            payment(3, card=" 7 ", amount=-1e17, merchant=None),
            payment(4, card="7"),
        ],
    )
    assert rows[-1]["card_amount_1h"] == math.fsum([0.1, 0.2])
    assert rows[-1]["card_merchants_1h"] == 1


def test_a_column_that_was_not_kept_before_is_missing_in_what_was() -> None:
    older = epoch()
    document = older.model_dump(mode="json")
    document["features"]["card_fees"] = {"key": "card", "window": "1h", "function": "sum", "of": "fee"}
    newer, kept = Aggregates.of_table(document, "schema.toml"), Kept(older)
    counted([told(older, payment(0, amount=3.0))], older, kept, NOW)
    again = Kept(newer)
    for name, events in kept.items():
        again[name] = KeyEvents(again._columns[name[0]], events.dump())
    rows = counted([told(newer, payment(1, fee=2.0)), told(newer, payment(2))], newer, again, NOW).rows
    assert dict(zip(newer.features, rows[-1], strict=True))["card_fees"] == 2.0
    assert dict(zip(newer.features, rows[-1], strict=True))["card_amount_1h"] == 4.0


def test_an_id_is_forgotten() -> None:
    aggregates, kept = epoch(), Kept(epoch())
    events = [told(aggregates, payment(float(i), id_=f"p{i}", amount=1.0 + i)) for i in range(3)]
    counted(events, aggregates, kept, NOW)
    for (_, key), one in list(kept.items()):
        left = without(one.dump(), events[1].id)
        assert left is not None
        assert without(left, events[1].id) is None
        kept["card", key] = KeyEvents(aggregates.keys[0], left)
    row = counted([told(aggregates, payment(9.0))], aggregates, kept, NOW).rows[0]
    assert row[:2] == [2, 1.0 + 3.0]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"at": None}, "at"),
        ({"at": "yesterday"}, "at"),
        ({"payment": ""}, "payment"),
        ({"card": ["c"]}, "card"),
        ({"amount": "much"}, "amount"),
        ({"amount": 1e301}, "amount"),
    ],
)
def test_a_record_that_cannot_be_counted_says_by_which_field(change: Payment, field: str) -> None:
    with pytest.raises(Uncountable) as problem:
        event_of(payment(0) | change, epoch())
    assert problem.value.field == field
    assert " " in problem.value.detail
