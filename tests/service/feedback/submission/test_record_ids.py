"""Which event a caller's own id means, and what is told where that is not certain; on both databases."""

from typing import Any

import httpx
import msgspec
import pytest

from nearnorm.service.feedback.submission.record_ids import NEAR_MS, others
from nearnorm.service.ids import first_id_at, iso, now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.events import Event
from tests.service.asking import RECORD, STRANGE, label, mistakes, score, stored
from tests.service.ledger.keeping import keep
from tests.service.waiting import logged, until


def errors(answer: httpx.Response) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.json()["errors"]
    return found


@pytest.mark.parametrize("in_ledger", [False, True], ids=["waiting", "in the ledger"])
def test_an_id_of_two_records_is_ambiguous_and_the_choices_say_which_there_are(
    client: httpx.Client, in_ledger: bool
) -> None:
    first = score(client, STRANGE, "tx")["event_id"]
    if in_ledger:
        until(lambda: logged(client))
    second = score(client, RECORD, "tx")["event_id"]
    refused = label(client, {"record_id": "tx", "label": "normal"}, {"record": RECORD, "label": "normal"})
    assert mistakes(refused) == [(0, "ambiguous-record", "record_id")]
    choices = errors(refused)[0]["choices"]
    assert [choice["event_id"] for choice in choices] == [second, first]
    assert len({choice["digest"] for choice in choices}) == 2
    assert all(choice["at"].endswith("Z") and choice["score"] > 0 for choice in choices)
    assert "matched_feedback" not in score(client, RECORD), "nothing was stored"
    receipt = label(client, {"event_id": first, "label": "anomaly"}).json()["receipts"][0]
    assert receipt["event"]["event_id"] == first


def test_the_same_record_sent_again_is_no_ambiguity_and_its_newest_event_is_meant(
    client: httpx.Client,
) -> None:
    score(client, RECORD, "tx")
    newest = score(client, RECORD | {"epoch": "1700000123"}, "tx")["event_id"]
    receipt = label(client, {"record_id": "tx", "label": "normal"}).json()["receipts"][0]
    assert receipt["event"]["event_id"] == newest
    told = client.get(f"/feedback/{receipt['feedback_id']}").json()
    assert told["event"] == receipt["event"]
    assert told["record_id"] == "tx"


def test_a_number_and_its_digits_are_one_id(client: httpx.Client) -> None:
    first = client.post("/score", json={"records": [RECORD], "ids": [77]}).json()["results"][0]["event_id"]
    for id_ in (77, "77"):
        receipt = label(client, {"record_id": id_, "label": "normal"}).json()["receipts"][0]
        assert receipt["event"]["event_id"] == first
    score(client, STRANGE, "77")
    assert mistakes(label(client, {"record_id": 77, "label": "normal"})) == [
        (0, "ambiguous-record", "record_id")
    ]


def event(number: int, at: int, **changes: Any) -> Event:
    given: dict[str, Any] = {
        "event_id": first_id_at(at)[:-1] + str(number),
        "at": at,
        "model": "default",
        "model_version": "v",
        "record_id": "old",
        "digest": f"digest {number}",
        "record": RECORD | {"amount": float(number)},
        "score": 0.5,
        "percentile": 50.0,
        "anomaly": False,
        "prototype": 0,
        "audit": True,
        "probability": 1.0,
        "caller": None,
    }
    return msgspec.convert(given | changes, Event)


def test_an_id_that_another_record_had_the_day_before_means_its_newest_event(
    client: httpx.Client, ledger: Ledger
) -> None:
    now = now_ms()
    day = event(1, now - NEAR_MS - 60_000), event(2, now)
    keep(ledger, day)
    receipt = label(client, {"record_id": "old", "label": "normal"}).json()["receipts"][0]
    assert receipt["event"] == {
        "event_id": day[1].event_id,
        "at": iso(now),
        "digest": "digest 2",
        "score": 0.5,
    }
    keep(ledger, [event(3, now - NEAR_MS + 60_000)])
    assert mistakes(label(client, {"record_id": "old", "label": "normal"}))


def test_an_id_that_two_callers_use_is_ambiguous_although_the_record_is_the_same(
    client: httpx.Client, ledger: Ledger
) -> None:
    now = now_ms()
    keep(ledger, [event(1, now - 1000, caller="shop"), event(1, now, digest="digest 1", caller="attacker")])
    refused = label(client, {"record_id": "old", "label": "normal"})
    assert mistakes(refused) == [(0, "ambiguous-record", "record_id")]
    assert [choice["caller"] for choice in errors(refused)[0]["choices"]] == ["attacker", "shop"]
    unnoted = {"record_id": "before", "digest": "d"}
    keep(
        ledger,
        [event(5, now - 9, **unnoted), event(6, now, caller="shop", **unnoted)],
    )
    stored(label(client, {"record_id": "before", "label": "normal"}))


def test_the_key_that_had_a_record_scored_is_named(client: httpx.Client) -> None:
    score(client, RECORD, "tx")
    receipt = label(client, {"record_id": "tx", "label": "normal"}).json()["receipts"][0]
    assert receipt["event"]["caller"] == "anonymous"


def test_choices_are_bounded(client: httpx.Client, ledger: Ledger) -> None:
    keep(ledger, [event(i, now_ms(), event_id=f"01{i:024}") for i in range(50)])
    assert 2 <= len(errors(label(client, {"record_id": "old", "label": "normal"}))[0]["choices"]) <= 20


def test_a_record_that_two_versions_read_by_other_columns_is_one_record() -> None:
    newest = event(1, now_ms(), record={"amount": 5.0, "code": "5411", "shop": None})
    same = event(2, now_ms(), model_version="w", record={"amount": 5.0, "code": 5411.0, "more": 1.0})
    other = event(3, now_ms(), model_version="w", record={"amount": 6.0, "code": 5411.0})
    nothing = event(4, now_ms(), model_version="w", record={"shop": None, "more": 1.0})
    assert others(newest, [newest, same, other, nothing]) == [other, nothing]
    assert others(newest, [event(5, now_ms(), record=same.record)]), "of one version: the digest decides"


def test_a_typo_in_a_labelled_record_is_named_as_a_score_names_it(client: httpx.Client) -> None:
    typo = {name: value for name, value in RECORD.items() if name != "epoch"} | {"Epoch": 1, "country": "XA"}
    sent = {"records": [typo]}
    scored = client.post("/score", json=sent).raise_for_status().json()
    taken = label(client, {"record": typo, "label": "normal"}, {"record": STRANGE, "label": "normal"})
    stored(taken)
    answer = taken.json()
    assert answer["warnings"] == scored["warnings"] == ["unknown field 'Epoch' was ignored"]
    first, second = answer["receipts"]
    assert first["warnings"] == answer["warnings"]
    assert (first["imputed"], first["unknown"]) == (["epoch"], ["country"])
    assert not {"warnings", "imputed", "unknown"} & second.keys()
    strict = {"labels": [{"record": typo, "label": "normal"}], "strict": True}
    assert mistakes(client.post("/feedback", json=strict)) == [(0, "invalid-record", "record.Epoch")]
    stored(label(client, {"record": STRANGE, "label": "normal"}))
