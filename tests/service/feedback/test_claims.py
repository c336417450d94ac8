"""POST /claims over HTTP, on both databases: who reviews what, and for how long."""

import subprocess
import sys
import threading
import time
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.review import read_review
from nearnorm.service.access.erasure import forget_record
from nearnorm.service.app import create_app
from nearnorm.service.events.log import EventLog
from nearnorm.service.feedback import claims as rules
from nearnorm.service.feedback import queue
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.retention import Amount
from nearnorm.service.ledger.tables.feedback import reference_rows
from nearnorm.service.ledger.tables.feedback.claims import Holder, claims
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, problem, score, stored
from tests.service.feedback.submission.test_second_opinions import said, sent
from tests.service.feedback.test_queue import fill, page
from tests.service.running import serving
from tests.service.waiting import logged, until

SCOPE = rules.ReviewScope("default", "v", 99.0, 0)
REPLICA = """
import sys
from nearnorm.service.feedback.claims import Ask, Holder, ReviewScope, claim
from nearnorm.service.ledger.database import Ledger

ledger, review = Ledger(sys.argv[1]), ReviewScope("default", "", 99.0, 0)
held, limit = [], 7
while len(held) == limit - 7:
    with ledger.write() as connection:
        held = claim(connection, review, Ask(Holder(sys.argv[2], "ann"), limit, 600_000)).picks
    limit += 7
print(*(pick.event.digest for pick in held))
"""


def claim(client: httpx.Client, analyst: str, limit: int = 5, **body: Any) -> list[dict[str, Any]]:
    answer = client.post("/claims", json={"analyst": analyst, "limit": limit, **body})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["claims"]
    return found


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["event_id"] for item in items]


def release(client: httpx.Client, analyst: str, **body: Any) -> int:
    answer = client.post("/claims/release", json={"analyst": analyst, **body})
    assert answer.status_code == 200, answer.text
    released: int = answer.json()["released"]
    return released


def expire(ledger: Ledger, analyst: str) -> None:
    """As if their time were over."""
    with ledger.write() as connection:
        theirs = sa.update(claims).where(claims.c.analyst == analyst)
        assert connection.execute(theirs.values(until=now_ms())).rowcount


def test_a_claim_is_what_the_queue_offers_next_and_the_queue_stays_as_it_is(client: httpx.Client) -> None:
    fill(client, 300)
    offered = page(client, limit=len(queue.MIX))["queue"]
    given = claim(client, "ann", len(queue.MIX))
    until_ = {item.pop("claimed_until") for item in given}
    assert given == offered
    assert len(until_) == 1
    assert page(client, limit=len(queue.MIX))["queue"] == offered


def test_two_analysts_never_hold_the_same_record(client: httpx.Client) -> None:
    fill(client, 20)
    first, second, third = claim(client, "ann", 8), claim(client, "ben", 8), claim(client, "cem", 8)
    assert [len(first), len(second), len(third)] == [8, 8, 4]
    assert len({*ids(first), *ids(second), *ids(third)}) == 20
    assert claim(client, "dan") == []


def test_an_equal_record_that_is_scored_again_is_not_given_to_another(client: httpx.Client) -> None:
    fill(client, 3)
    claim(client, "ann")
    fill(client, 3)
    assert claim(client, "ben") == []


def test_many_who_ask_at_once_empty_the_queue_and_get_no_record_twice(client: httpx.Client) -> None:
    fill(client, 200)
    given: list[str] = []

    def work(analyst: str) -> None:
        with httpx.Client(base_url=client.base_url, timeout=30) as own:
            while items := claim(own, analyst, 7):
                given.extend(ids(items))
                stored(label(own, *({"event_id": id_, "label": "normal"} for id_ in ids(items))))

    threads = [threading.Thread(target=work, args=(f"analyst {i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == len(set(given)) == 200


def test_replicas_give_no_record_twice_and_leave_none(client: httpx.Client, settings: Settings) -> None:
    fill(client, 150)
    command = [sys.executable, "-c", REPLICA, str(settings.database_url)]
    replicas = [subprocess.Popen([*command, f"key {i}"], stdout=subprocess.PIPE, text=True) for i in range(3)]
    given = [digest for replica in replicas for digest in replica.communicate(timeout=60)[0].split()]
    assert [replica.returncode for replica in replicas] == [0, 0, 0]
    assert len(given) == len(set(given)) == 150


def test_who_asks_while_another_is_being_given_waits_and_gets_as_many_of_the_rest(
    client: httpx.Client, ledger: Ledger
) -> None:
    fill(client, 6)
    given: list[str] = []
    second = threading.Thread(target=lambda: given.extend(ids(claim(client, "ben", 3))))
    with ledger.write() as connection:
        first = rules.claim(connection, SCOPE, rules.Ask(Holder("theirs", "ann"), 3, 600_000))
        second.start()
        time.sleep(0.3)  # it has asked, and this is not committed yet
    second.join()
    assert len({*given, *(pick.event.event_id for pick in first.picks)}) == 6


def test_who_asks_again_keeps_what_he_holds_for_longer_and_gets_what_is_missing(
    client: httpx.Client, ledger: Ledger
) -> None:
    fill(client, 20)
    first = claim(client, "ann", 4, seconds=60)
    again = claim(client, "ann", 6, seconds=600)
    assert ids(again)[:4] == ids(first)
    assert len(set(ids(again))) == 6
    assert again[0]["claimed_until"] > first[0]["claimed_until"]
    assert {item["claimed_until"] for item in again} == {again[0]["claimed_until"]}
    assert ids(claim(client, "ann", 0, seconds=900)) == ids(again)
    with ledger.read() as connection:
        (lasts,) = set(connection.scalars(sa.select(claims.c.until)))
    assert lasts > now_ms() + 600_000


def test_a_label_ends_a_claim_and_makes_room_for_the_next(client: httpx.Client) -> None:
    fill(client, 20)
    first = claim(client, "ann", 3)
    stored(label(client, {"event_id": first[1]["event_id"], "label": "normal", "analyst": "ann"}))
    again = claim(client, "ann", 3)
    assert ids(again)[:2] == [first[0]["event_id"], first[2]["event_id"]]
    assert again[2]["event_id"] not in ids(first)


def test_a_label_by_somebody_else_is_stored_and_ends_the_claim_too(client: httpx.Client) -> None:
    fill(client, 3)
    held = claim(client, "ann", 3)
    (taken,) = stored(label(client, {"event_id": held[0]["event_id"], "label": "normal", "analyst": "ben"}))
    stored(label(client, {"retract": taken, "analyst": "ben"}))
    assert ids(claim(client, "ben", 3)) == ids(held)[:1]  # it was nobody's any more
    assert ids(claim(client, "ann", 3)) == ids(held)[1:]


def test_what_is_given_back_goes_to_the_next_who_asks(client: httpx.Client) -> None:
    fill(client, 6)
    held = claim(client, "ann", 6)
    assert release(client, "ben") == 0
    assert release(client, "ben", event_ids=ids(held)) == 0  # they are not his
    assert release(client, "ann", event_ids=[*ids(held)[:2], "never handed out"]) == 2
    assert sorted(ids(claim(client, "ben", 6))) == sorted(ids(held)[:2])
    assert release(client, "ann") == 4
    assert len(claim(client, "cem", 6)) == 4


def test_what_an_analyst_never_gives_back_goes_to_others_when_its_time_is_over(
    client: httpx.Client, ledger: Ledger
) -> None:
    fill(client, 6)
    held = claim(client, "ann", 4)
    claim(client, "ben", 1)
    expire(ledger, "ann")
    assert len(claim(client, "cem", 6)) == 5
    assert ids(claim(client, "ann", 4)) == []  # he was too late
    assert len(held) == 4


def test_a_lease_from_a_clock_that_was_put_back_does_not_last(client: httpx.Client, ledger: Ledger) -> None:
    fill(client, 2)
    claim(client, "ann", 2)
    with ledger.write() as connection:
        connection.execute(sa.update(claims).values(until=now_ms() + 2 * 3600 * 1000))
    assert len(claim(client, "ben", 2)) == 2


def test_expired_claims_are_deleted_by_the_logs_sweep_and_living_ones_stay(
    client: httpx.Client, ledger: Ledger
) -> None:
    fill(client, 4)
    claim(client, "ann", 2)
    claim(client, "ben", 2)
    expire(ledger, "ann")
    EventLog(ledger, 1.0, Amount(100, 10**6), 30).sweep()
    with ledger.read() as connection:
        assert set(connection.scalars(sa.select(claims.c.analyst))) == {"ben"}


def test_who_claims_one_at_a_time_gets_of_every_kind(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(client, 300)
    places = iter(range(len(queue.MIX)))
    monkeypatch.setattr(rules, "randbelow", lambda _: next(places))
    kinds = [claim(client, f"analyst {i}", 1)[0]["why"] for i in range(len(queue.MIX))]
    assert kinds == list(queue.MIX)


def test_a_record_that_is_forgotten_is_held_by_nobody(client: httpx.Client, ledger: Ledger) -> None:
    score(client, RECORD | {"amount": 900.0}, "person")
    score(client, RECORD | {"amount": 800.0}, "other")
    until(lambda: logged(client))
    assert len(claim(client, "ann")) == 2
    client.post("/forget", json={"record_id": "person"})
    with ledger.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(claims)).scalar() == 1
    assert [item["id"] for item in claim(client, "ann")] == ["other"]


def test_a_forgotten_label_that_was_claimed_for_a_second_opinion_is_held_by_nobody(ledger: Ledger) -> None:
    bound = said(RECORD, "anomaly")
    sent(ledger, replace(bound, label=replace(bound.label, record_id="person")))
    with ledger.write() as connection:
        assert rules.claim(connection, SCOPE, rules.Ask(Holder("theirs", "ann"), 1, 600_000)).picks
    assert forget_record(ledger, "person", "ops").labels == 1
    with ledger.read() as connection:
        assert not connection.execute(sa.select(claims)).all()


def test_all_that_an_analyst_holds_has_the_room_of_one_page(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(client, 12)
    monkeypatch.setattr(queue, "MOST_BYTES", 1500)
    first = claim(client, "ann", 10)
    assert 1 <= len(first) < 10
    assert ids(claim(client, "ann", 10)) == ids(first)


def test_an_analyst_who_is_forgotten_holds_nothing_under_any_spelling(
    client: httpx.Client, ledger: Ledger
) -> None:
    fill(client, 3)
    claim(client, " ann\u200b", 2)
    assert release(client, "ann", event_ids=[]) == 0
    client.post("/forget", json={"analyst": "ann "})
    with ledger.read() as connection:
        assert not connection.execute(sa.select(claims)).all()
    assert len(claim(client, "ben", 3)) == 3


def test_the_analysts_of_a_key_hold_so_many_records_together_and_may_always_renew(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(client, 12)
    monkeypatch.setattr(rules, "MOST_OF_KEY", 6)
    assert len(claim(client, "ann", 4)) == 4
    assert len(claim(client, "ben", 4)) == 2
    refused = client.post("/claims", json={"analyst": "ann", "limit": 5})
    assert problem(refused, 409, "conflict")["field"] == "limit"
    assert len(claim(client, "ann", 4)) == 4


def test_what_waits_for_a_second_opinion_goes_to_one_whose_word_would_be_one(ledger: Ledger) -> None:
    def given(actor: str, analyst: str, operates: bool = False) -> list[str | None]:
        ask = rules.Ask(Holder(actor, analyst), 5, 600_000, operates)
        with ledger.write() as connection:
            held = rules.claim(connection, SCOPE, ask)
            rules.give_back(connection, "default", ask.holder, None)
        return [pick.said for pick in held.picks]

    sent(ledger, said(RECORD, "anomaly", "mine", "ann"))
    assert given("mine", "ann") == ["anomaly"]  # nobody else is there
    sent(ledger, said(STRANGE, "anomaly", "mine", "ben"), percentile=99.0)
    assert given("mine", "ann") == []
    assert given("mine", "ben") == given("mine", "ann", operates=True) == ["anomaly"]
    sent(ledger, said(STRANGE, "anomaly", "theirs", "cem"), percentile=99.0)
    assert given("mine", "ben") == []  # another key is there to ask
    assert given("theirs", "ann") == ["anomaly"]


def test_a_second_opinion_that_is_held_is_renewed_until_it_is_given(ledger: Ledger) -> None:
    def held_by(actor: str, limit: int = 5) -> list[str]:
        with ledger.write() as connection:
            held = rules.claim(connection, SCOPE, rules.Ask(Holder(actor, "ann"), limit, 600_000))
        return [pick.why for pick in held.picks]

    sent(ledger, said(RECORD, "anomaly", "mine"))
    assert held_by("theirs") == held_by("theirs", 0) == ["second_opinion"]
    assert held_by("others") == []
    sent(ledger, said(RECORD, "anomaly", "others"))
    assert held_by("theirs") == []


def test_reference_rows_on_claim_count_towards_those_that_are_to_be_judged(
    settings: Settings, ledger: Ledger, payments: Bundle
) -> None:
    with ledger.write() as connection:
        reference_rows.put(connection, payments.version, read_review(payments.path, payments.manifest.core))
    with serving(create_app(settings.model_copy(update={"reference_reviews": 5}))) as client:
        first, second = claim(client, "ann", 3), claim(client, "ben", 3)
        assert [item["why"] for item in [*first, *second]] == ["reference"] * 5
        assert first[0]["anomaly"]
        stored(label(client, {"event_id": first[0]["event_id"], "label": "normal", "analyst": "ann"}))
        assert ids(claim(client, "ann", 3)) == ids(first)[1:]
        erased = client.post("/forget", json={"event_id": first[1]["event_id"]})
        assert erased.json()["events"] == 1
        with ledger.read() as connection:
            assert first[1]["event_id"] not in set(connection.scalars(sa.select(claims.c.event_id)))
        assert release(client, "ann") == 1


def test_a_claim_gives_reasons_where_they_are_asked_for(client: httpx.Client) -> None:
    score(client, RECORD | {"amount": 900.0})
    until(lambda: logged(client))
    assert claim(client, "ann", explain=True)[0]["reasons"][0]["feature"] == "amount"
    assert "reasons" not in claim(client, "ann")[0]


def test_what_was_renewed_since_is_not_given_back(client: httpx.Client) -> None:
    fill(client, 3)
    first = claim(client, "ann")[0]["claimed_until"]
    time.sleep(0.01)  # the times are in milliseconds
    second = claim(client, "ann")[0]["claimed_until"]
    assert release(client, "ann", claimed_until=first) == 0
    assert release(client, "ann", claimed_until=second) == 3
    answer = client.post("/claims/release", json={"claimed_until": "tomorrow"})
    assert problem(answer, 422, "invalid-request")["field"] == "claimed_until"


def test_what_an_analyst_holds_is_listed_by_pages_in_the_order_in_which_it_was_handed_out(
    client: httpx.Client, ledger: Ledger
) -> None:
    fill(client, 12)
    held = [*claim(client, "ann", 2), *claim(client, "ann", 5)[2:]]
    claim(client, "ben", 3)
    assert ids(client.get("/claims", params={"analyst": " ann"}).json()["claims"]) == ids(held)
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = client.get("/claims", params={"everybody": "true", "limit": 3, **cursor}).json()
        found += [one["analyst"] for one in answer["claims"]]
        if "next" not in answer:
            break
        cursor = {"cursor": answer["next"]}
    assert found == ["ann"] * 5 + ["ben"] * 3
    expire(ledger, "ann")
    assert client.get("/claims", params={"analyst": "ann"}).json() == {"claims": []}
    for wrong in ({"cursor": "x"}, {"cursor": "1"}, {"limit": "0"}, {"analyst": "\u200b"}):
        problem(client.get("/claims", params=wrong), 422, "invalid-request")


def test_without_a_name_the_holder_is_the_key(client: httpx.Client, ledger: Ledger) -> None:
    fill(client, 1)
    assert client.post("/claims").json()["claims"]
    with ledger.read() as connection:
        assert connection.execute(sa.select(claims.c.actor, claims.c.analyst)).all() == [("anonymous",) * 2]
    assert client.post("/claims/release").json() == {"released": 1}


def test_a_request_that_does_not_fit_is_refused_by_its_field(client: httpx.Client) -> None:
    cases: list[tuple[str, dict[str, Any], str | None]] = [
        ("", {"limit": 201}, "limit"),
        ("", {"limit": -1}, "limit"),
        ("", {"limit": "x"}, "limit"),
        ("", {"seconds": 29}, "seconds"),
        ("", {"seconds": 3601}, "seconds"),
        ("", {"analyst": "\u200b"}, "analyst"),
        ("", {"analyst": "a\u0007"}, "analyst"),
        ("", {"minutes": 10}, None),
        ("/release", {"event_ids": "all"}, "event_ids"),
        ("/release", {"event_ids": [""]}, "event_ids[0]"),
        ("/release", {"analyst": ""}, "analyst"),
    ]
    for path, body, field in cases:
        found = problem(client.post(f"/claims{path}", json=body), 422, "invalid-request")
        assert found.get("field") == field, body


def test_the_claims_of_an_unknown_model_are_not_found(client: httpx.Client) -> None:
    for path in ("/claims", "/claims/release"):
        problem(client.post(path, json={"model": "other"}), 404, "unknown-model")
