"""In whose name one acts who is signed in, and how one is without keys, on both databases."""

import threading

import httpx

from nearnorm.service.access import keyring
from nearnorm.service.access.session_cookie import COOKIE
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.tables import sessions as table
from tests.service.access.signing_in import Guarded, browser, sign_in
from tests.service.access.test_keys import known, made
from tests.service.asking import RECORD, label, mistakes, problem, stored
from tests.service.feedback.test_queue import fill
from tests.service.waiting import until


def test_what_ann_says_signed_in_is_anns_and_nobody_elses(guarded: Guarded) -> None:
    client = guarded.client
    sign_in(client, guarded.keys["desk"], "ann")
    (id_,) = stored(label(client, {"record": RECORD, "label": "normal"}))
    assert client.get(f"/feedback/{id_}").json()["analyst"] == "ann"
    stored(label(client, {"record": RECORD, "label": "normal", "analyst": " ann"}))
    other = {"record": RECORD, "label": "normal", "analyst": "ben"}
    assert mistakes(label(client, other)) == [(0, "invalid-label", "analyst")]
    for path in ("/claims", "/claims/release"):
        assert (
            problem(client.post(path, json={"analyst": "ben"}), 422, "invalid-request")["field"] == "analyst"
        )


def test_two_analysts_of_one_key_may_use_the_same_idempotency_key_for_their_own_words(
    guarded: Guarded,
) -> None:
    client = guarded.client
    key, said = guarded.keys["desk"], {"record": RECORD, "label": "normal"}
    sign_in(client, key, "ann")
    assert stored(label(client, said, key="1")) == stored(label(client, said, key="1"))
    with browser(client) as other:
        sign_in(other, key, "ben")
        problem(label(other, said, key="1"), 409, "conflict")  # and is not told that ann's was his


def test_two_who_are_signed_in_by_one_key_hold_no_record_twice(
    guarded: Guarded,
) -> None:
    client = guarded.client
    all_ = guarded.keys["all"]
    with httpx.Client(base_url=client.base_url, headers={"X-API-Key": all_}, timeout=60) as scorer:
        fill(scorer, 6)
    sign_in(client, all_, "ann")
    with browser(client) as other:
        sign_in(other, all_, "ben")
        held = [c.post("/claims", json={"limit": 3}).json()["claims"] for c in (client, other)]
    assert len({item["event_id"] for one in held for item in one}) == 6


def test_where_no_key_is_needed_a_name_is_enough(client: httpx.Client) -> None:
    who = sign_in(client, analyst="ann")
    assert (who["name"], who["analyst"]) == ("anonymous", "ann")
    (id_,) = stored(label(client, {"record": RECORD, "label": "normal"}))
    assert client.get(f"/feedback/{id_}").json()["analyst"] == "ann"
    client.delete("/session")
    del client.headers["X-CSRF-Token"]
    assert client.get("/session").json()["analyst"] == "anonymous"
    assert client.post("/claims").status_code == 200  # and nobody needs a token


def test_a_name_alone_opens_nothing_once_there_is_a_key(client: httpx.Client, ledger: Ledger) -> None:
    sign_in(client, analyst="ann")
    known(client, made(ledger, "first", "score"))
    problem(client.get("/session"), 401, "unauthorized")


def test_nothing_is_written_in_nobodys_name_by_who_believes_to_be_signed_in(
    client: httpx.Client, ledger: Ledger
) -> None:
    sign_in(client, analyst="ann")
    with ledger.write() as connection:
        table.erase_analyst(connection, "ann")
    until(lambda: client.get("/session").json()["analyst"] == "anonymous")
    said = label(client, {"record": RECORD, "label": "normal"})
    assert "sign in again" in problem(said, 401, "unauthorized")["detail"]


def test_who_is_forgotten_is_signed_in_nowhere(guarded: Guarded) -> None:
    client = guarded.client
    sign_in(client, guarded.keys["desk"], "ann")
    ops = {"X-API-Key": guarded.keys["ops"]}
    assert client.post("/forget", json={"analyst": " ann "}, headers=ops).status_code == 200
    problem(client.get("/session"), 401, "unauthorized")
    trail = client.get("/audit", headers=ops).text
    assert '"session.begin"' in trail
    assert "analyst erased-" in trail
    assert "analyst ann" not in trail


def test_the_trail_tells_who_came_and_went(guarded: Guarded) -> None:
    client = guarded.client
    sign_in(client, guarded.keys["ops"], "ann")
    secret = client.cookies[COOKIE]
    client.delete("/session")
    sign_in(client, guarded.keys["all"], "ben")
    trail = client.get("/audit", params={"limit": 4}).json()["audit"]
    told = [(e["actor"], e["action"], e["subject"]) for e in trail if e["action"] != "key.create"]
    assert told == [
        ("all", "session.begin", "analyst ben"),
        ("ops", "session.end", "analyst ann"),
        ("ops", "session.begin", "analyst ann"),
    ]
    with guarded.ledger.read() as connection:
        (row,) = table.alive(connection, 0)
    assert client.cookies[COOKIE] not in repr(row)
    assert secret not in str(trail)


def test_a_session_is_held_to_the_quota_of_its_key(guarded: Guarded) -> None:
    client = guarded.client
    key = guarded.keys["desk"]
    with guarded.ledger.write() as connection:
        keyring.limit(connection, "desk", Quota(requests_per_second=1), "test")
    known(client, made(guarded.ledger, "later", "score"))  # and with it the limit
    sign_in(client, key, "ann")
    asked: list[httpx.Response] = []

    def refused() -> bool:
        asked.append(client.get("/queue"))
        return asked[-1].status_code == 429

    until(refused)
    problem(asked[-1], 429, "rate-limited")


def test_many_who_sign_in_at_once_are_all_signed_in(guarded: Guarded) -> None:
    client = guarded.client
    key = guarded.keys["desk"]
    found: list[str] = []

    def work(analyst: str) -> None:
        with browser(client) as own:
            sign_in(own, key, analyst)
            found.append(own.get("/session").json()["analyst"])

    names = [f"analyst {number}" for number in range(8)]
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == names


def test_a_page_of_another_site_signs_nobody_in_or_out(guarded: Guarded) -> None:
    client = guarded.client
    key = guarded.keys["desk"]
    sign_in(client, key, "ann")
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        problem(client.post("/session", json={"key": key}, headers=headers), 403, "cross-site-request")
        problem(client.delete("/session", headers=headers), 403, "cross-site-request")
    form = client.post("/session", data={"key": key})
    problem(form, 415, "unsupported-media-type")
    assert client.get("/session").json()["analyst"] == "ann"
