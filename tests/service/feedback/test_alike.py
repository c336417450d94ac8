"""GET /queue/groups: records that are strange for the same reasons lie together; on both databases."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.models.data.times import TimeFormat
from nearnorm.service.feedback.alike import KnownLikenesses, Likeness, likeness, words
from nearnorm.service.records.shapes import Reason
from tests.service.asking import RECORD, STRANGE, stored
from tests.service.waiting import logged, until

SCHEMA = FeatureSchema(
    features=(
        Feature(name="amount", kind=Kind.NUMERIC),
        Feature(name="new", kind=Kind.BOOLEAN),
        Feature(name="at", kind=Kind.TIME, format=TimeFormat.ISO),
        Feature(name="country", kind=Kind.CATEGORICAL, categories=("DE", "FR")),
    )
)
RANGE = {"low": 10.0, "median": 50.0, "high": 90.0, "missing": 0.0}


def reason(feature: str, value: Any, effect: float = 1.0, expected: dict[str, Any] = RANGE) -> Reason:
    return Reason(feature, value, expected, 0.1, 0.1, effect, effect, 0.0)


def sides(*reasons: Reason) -> list[tuple[str, str]]:
    return [(trait.feature, trait.side) for trait in likeness(SCHEMA, 3, reasons).traits]


def groups(client: httpx.Client, **query: Any) -> dict[str, Any]:
    answer = client.get("/queue/groups", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def waves(client: httpx.Client) -> tuple[list[str], list[str]]:
    """Events of seven large amounts, and of four strange countries."""
    large = [STRANGE | {"amount": 2000.0 + i} for i in range(7)]
    abroad = [RECORD | {"country": f"X{i % 1}", "amount": 61.0 + i / 10} for i in range(4)]
    results = client.post("/score", json={"records": [*large, *abroad]}).json()["results"]
    until(lambda: logged(client))
    ids = [result["event_id"] for result in results]
    until(lambda: groups(client)["records"] == len(ids))
    return ids[:7], ids[7:]


@pytest.mark.parametrize(
    ("time", "low", "high", "side"),
    [
        ("2026-03-08T00:00:00", 0.0, 0.0, "day"),
        ("2026-03-08T03:30:00", 9.0, 17.0, "hour"),
        ("2026-03-08T16:59:59.5", 9.0, 17.0, "day"),
        ("23:30:00", -2.0, 2.0, "day"),
        ("01:30:00", 22.0, 26.0, "day"),
        ("20:00:00", 22.0, 26.0, "hour"),
    ],
)
def test_a_time_is_not_said_to_be_at_an_unusual_hour_at_a_usual_one(
    time: str, low: float, high: float, side: str
) -> None:
    odd = reason("at", time, expected={"low": low, "median": (low + high) / 2, "high": high, "missing": 0.0})
    assert sides(odd) == [("at", side)]
    said = words(likeness(SCHEMA, 3, [odd]).traits, {"at": time}, {"at": odd.expected})
    assert said == {"day": "at odd, though at a usual hour", "hour": "at at an unusual hour"}[side]


def test_records_that_are_strange_for_the_same_reasons_lie_together(client: httpx.Client) -> None:
    large, _ = waves(client)
    found = groups(client)
    first = found["groups"][0]
    assert set(first["event_ids"]) == set(large)
    assert (first["records"], first["alerts"]) == (7, 7)
    assert [(r["feature"], r["side"]) for r in first["reasons"]] == [("amount", "above")]
    assert first["words"] == f"amount above {first['reasons'][0]['expected']['high']:.4g}"
    assert len(first["examples"]) == 3
    assert first["examples"][0]["percentile"] == first["highest_percentile"]
    assert found["left"] == 0
    assert found["records"] == sum(one["records"] for one in found["groups"]) + found["alone"]


def test_a_group_is_judged_by_its_ids_and_is_gone(client: httpx.Client) -> None:
    large, _ = waves(client)
    ids = groups(client)["groups"][0]["event_ids"]
    answer = client.post("/feedback/groups", json={"event_ids": ids, "label": "anomaly"})
    assert len(stored(answer)) == len(large)
    assert not {id_ for one in groups(client)["groups"] for id_ in one["event_ids"]} & set(large)


def test_what_others_hold_is_left_out_and_what_one_holds_is_there(client: httpx.Client) -> None:
    waves(client)
    held = client.post("/claims", json={"analyst": "bob", "limit": 2}).json()["claims"]
    assert len(held) == 2
    assert groups(client, analyst="ann")["records"] == 9
    assert groups(client, analyst="bob")["records"] == 11


def test_many_who_ask_at_once_are_read_for_one_after_the_other(client: httpx.Client) -> None:
    """Each reads 500 records, in a thread that takes turns with scoring's."""
    waves(client)
    reading, most = 0, 0

    def slowly(_: Any, __: Any, statement: str, *___: Any) -> None:
        nonlocal reading, most
        if "candidates" not in statement or "claims" not in statement:
            return
        reading += 1
        most = max(most, reading)
        time.sleep(0.05)
        reading -= 1

    sa.event.listen(sa.Engine, "before_cursor_execute", slowly)
    try:
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(groups, client) for _ in range(6)]
            assert all(one.result()["groups"] for one in asked)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", slowly)
    assert most == 1


def test_the_second_reason_counts_where_it_takes_half_as_much_as_the_first() -> None:
    first, close, far = reason("amount", 99.0), reason("new", True, 0.5), reason("new", True, 0.4)
    assert sides(first, close) == [("amount", "above"), ("new", "is")]
    assert sides(first, far) == [("amount", "above")]
    assert sides(first, reason("new", True), reason("country", "DE")) == sides(first, close)
    assert sides() == []


@pytest.mark.parametrize(
    ("value", "side"), [(5.0, "below"), (10.0, "within"), (90.5, "above"), (None, "missing")]
)
def test_a_number_has_a_side(value: float | None, side: str) -> None:
    assert sides(reason("amount", value)) == [("amount", side)]


def test_categories_are_told_apart_and_their_texts_are_not_kept() -> None:
    shares = {"shares": {"DE": 1.0}, "missing": 0.0}
    one, same, other = (likeness(SCHEMA, 0, [reason("country", c, 1.0, shares)]) for c in ("FR", "FR", "IT"))
    assert one == same != other
    assert "FR" not in repr(one)
    assert words(one.traits, {"country": "FR"}, {}) == "country is FR"


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearnorm.service.feedback.alike.MOST_KNOWN", 3)
    known = KnownLikenesses()
    for name in "abcde":
        known.learn("v", {name: Likeness(0, ())})
    assert [digest for _, digest in known._known] == ["c", "d", "e"]


def test_reasons_that_take_too_long_are_left_to_the_next_request(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nearnorm.service.api.review.queue_groups.SECONDS", 0.0)
    client.post("/score", json={"records": [STRANGE | {"amount": 900.0 + i} for i in range(6)]})
    until(lambda: groups(client)["left"] == 6)
    assert groups(client)["groups"] == []
    monkeypatch.undo()
    assert groups(client)["left"] == 0
    assert groups(client)["groups"][0]["records"] == 6
