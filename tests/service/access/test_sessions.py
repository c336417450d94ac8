"""Sessions over HTTP, on both databases: signing in by an API key, what a cookie opens, and how it ends."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.access import keyring, sessions
from nearnorm.service.access.session_cookie import COOKIE
from nearnorm.service.app import create_app
from nearnorm.service.events.log import EventLog
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.tables import sessions as table
from nearnorm.service.ledger.tables.events.retention import Amount
from nearnorm.service.settings import Settings
from tests.service.access.test_keys import follow, made
from tests.service.asking import RECORD, label, mistakes, problem, stored
from tests.service.feedback.test_queue import fill
from tests.service.running import serving

JUNK = "x" * 43


KEYS = {"desk": ["feedback"], "other": ["feedback"], "ops": ["operate"], "all": keyring.ROLES}


class Guarded(Struct):
    """A service that needs keys, its ledger, and the secrets of keys by name."""

    client: httpx.Client
    ledger: Ledger
    keys: dict[str, str]


@pytest.fixture
def guarded(settings: Settings, ledger: Ledger) -> Iterator[Guarded]:
    keys = {name: made(ledger, name, *roles) for name, roles in KEYS.items()}
    with serving(create_app(settings)) as client:
        yield Guarded(client, ledger, keys)


def sign_in(client: httpx.Client, key: str | None = None, analyst: str | None = None) -> dict[str, Any]:
    """Who the client is from now on; it sends the token with everything."""
    body = {name: value for name, value in (("key", key), ("analyst", analyst)) if value is not None}
    answer = client.post("/session", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    client.headers["X-CSRF-Token"] = found["csrf"]
    return found


@contextmanager
def browser(client: httpx.Client, secret: str | None = None) -> Iterator[httpx.Client]:
    """Another client of the same service, by the cookie of a session."""
    cookies = {COOKIE: secret} if secret else {}
    with httpx.Client(base_url=client.base_url, timeout=30, cookies=cookies) as other:
        yield other


def test_a_key_is_exchanged_for_a_cookie_that_opens_what_the_key_opens(
    guarded: Guarded,
) -> None:
    client = guarded.client
    key = guarded.keys["desk"]
    answer = client.post("/session", json={"key": key, "analyst": " Ann  Lee "})
    assert answer.status_code == 201
    who = answer.json()
    assert (who["name"], who["analyst"], who["roles"]) == ("desk", "Ann Lee", ["feedback"])
    assert key not in answer.text + str(answer.headers)
    assert answer.headers["cache-control"] == "no-store"
    assert client.get("/queue").status_code == 200
    assert client.get("/session").json() == who
    problem(client.get("/audit"), 403, "forbidden")


def test_the_cookie_is_for_this_host_alone_and_no_script_reads_it(
    guarded: Guarded,
) -> None:
    client = guarded.client
    body = {"key": guarded.keys["desk"]}

    def cookie(**headers: str) -> set[str]:
        answer = client.post("/session", json=body, headers=headers)
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert name == COOKIE
        return {part.strip().lower().partition("=")[0] for part in rest.split(";")[1:]}

    plain = {"httponly", "max-age", "path", "samesite"}
    assert cookie() == plain
    assert cookie(**{"X-Forwarded-Proto": "https"}) == plain | {"secure"}
    assert cookie(Origin=f"https://{client.base_url.netloc.decode()}") == plain | {"secure"}
    assert "samesite=lax" in client.post("/session", json=body).headers["set-cookie"].lower()


def test_who_is_not_signed_in_is_nobody_where_keys_are_needed(guarded: Guarded) -> None:
    client = guarded.client
    problem(client.get("/session"), 401, "unauthorized")
    for body in ({}, {"key": "nn_wrong"}, {"key": "nn_\u00fc"}, {"analyst": "ann"}):
        problem(client.post("/session", json=body), 401, "unauthorized")
    for cookie in (JUNK, "short", "", f"{JUNK}{JUNK}", '"', "%00", "a b"):
        headers = {"Cookie": f"{COOKIE}={cookie}"}
        problem(client.get("/session", headers=headers), 401, "unauthorized")
        problem(client.get("/queue", headers=headers), 401, "unauthorized")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"analyst": "\u200b"}, "analyst"),
        ({"analyst": "a\x01b"}, "analyst"),
        ({"analyst": "x" * 201}, "analyst"),
        ({"analyst": 7}, "analyst"),
        ({"key": ""}, "key"),
        ({"password": "x"}, None),
    ],
)
def test_who_cannot_be_signed_in_is_told_which_field(
    client: httpx.Client, body: dict[str, object], field: str | None
) -> None:
    assert problem(client.post("/session", json=body), 422, "invalid-request").get("field") == field


def test_a_key_that_is_sent_goes_before_the_cookie(guarded: Guarded) -> None:
    client = guarded.client
    sign_in(client, guarded.keys["desk"], "ann")
    other = {"X-API-Key": guarded.keys["other"]}
    assert client.get("/session", headers=other).json() == {
        "name": "other",
        "analyst": "other",
        "roles": ["feedback"],
    }
    problem(client.get("/queue", headers={"X-API-Key": "nn_wrong"}), 401, "unauthorized")
    del client.headers["X-CSRF-Token"]
    assert client.post("/claims", headers=other).status_code == 200  # a key needs no token


def test_scores_are_not_given_by_cookie(guarded: Guarded) -> None:
    client = guarded.client
    sign_in(client, guarded.keys["all"])
    problem(client.post("/score", json={"records": [RECORD]}), 401, "unauthorized")


def test_a_write_by_session_needs_its_token(guarded: Guarded) -> None:
    client = guarded.client
    sign_in(client, guarded.keys["all"], "ann")
    token = client.headers.pop("X-CSRF-Token")
    with browser(client) as other:
        theirs = sign_in(other, guarded.keys["other"])["csrf"]
    assert theirs != token
    writes = [("POST", "/claims"), ("PUT", "/policy"), ("DELETE", "/session"), ("POST", "/feedback")]
    for wrong in ({}, {"X-CSRF-Token": theirs}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": token[:-1]}):
        for method, path in writes:
            problem(client.request(method, path, headers=wrong, json={}), 403, "csrf-token")
    assert client.post("/claims", headers={"X-CSRF-Token": token}).status_code == 200
    assert client.get("/queue").status_code == 200


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
    with httpx.Client(base_url=client.base_url, headers={"X-API-Key": all_}) as scorer:
        fill(scorer, 6)
    sign_in(client, all_, "ann")
    with browser(client) as other:
        sign_in(other, all_, "ben")
        held = [c.post("/claims", json={"limit": 3}).json()["claims"] for c in (client, other)]
    assert len({item["event_id"] for one in held for item in one}) == 6


def test_who_logs_out_is_out_with_the_same_cookie_too(guarded: Guarded) -> None:
    client = guarded.client
    sign_in(client, guarded.keys["desk"], "ann")
    secret = client.cookies[COOKIE]
    assert client.delete("/session").status_code == 204
    assert COOKIE not in client.cookies
    with browser(client, secret) as thief:
        assert "ended" in problem(thief.get("/session"), 401, "unauthorized")["detail"]
    with guarded.ledger.read() as connection:
        assert table.alive(connection, 0) == []


def test_who_logs_out_gives_back_what_he_holds_unless_he_is_signed_in_elsewhere(guarded: Guarded) -> None:
    client, by_key = guarded.client, {"X-API-Key": guarded.keys["all"]}
    with httpx.Client(base_url=client.base_url, headers=by_key) as scorer:
        fill(scorer, 4)

        def held() -> int:
            return len(scorer.get("/claims", params={"everybody": "true"}).json()["claims"])

        sign_in(client, guarded.keys["all"], "ann")
        client.post("/claims", json={"limit": 3})
        scorer.post("/claims", json={"analyst": "ben", "limit": 1})
        with browser(client) as phone:
            sign_in(phone, guarded.keys["all"], "ann")
            phone.delete("/session")
        assert held() == 4
        client.delete("/session")
        assert held() == 1


def test_a_session_ends_with_its_key(guarded: Guarded) -> None:
    client = guarded.client
    sign_in(client, guarded.keys["desk"], "ann")
    with browser(client) as other:
        sign_in(other, guarded.keys["other"], "ben")
        with guarded.ledger.write() as connection:
            keyring.revoke(connection, "desk", "test")
            assert [one.analyst for one in table.alive(connection, 0)] == ["ben"]
        follow()
        problem(client.get("/session"), 401, "unauthorized")
        assert other.get("/session").json()["analyst"] == "ben"


def test_a_key_that_an_older_release_revoked_ends_its_sessions_too(
    guarded: Guarded,
) -> None:
    client = guarded.client
    sign_in(client, guarded.keys["desk"], "ann")
    with guarded.ledger.write() as connection:
        connection.execute(sa.text("UPDATE keys SET revoked_at = 1 WHERE name = 'desk'"))
    follow()
    problem(client.get("/session"), 401, "unauthorized")


def test_a_session_lasts_as_long_as_is_set_and_is_deleted_after_that(
    settings: Settings, ledger: Ledger
) -> None:
    short = settings.model_copy(update={"session_hours": 1.5 / 3600})
    key = made(ledger, "desk", "feedback")
    with serving(create_app(short)) as client:
        sign_in(client, key, "ann")
        cookie = {"Cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
        assert client.get("/session", headers=cookie).json()["analyst"] == "ann"
        follow()
        problem(client.get("/session", headers=cookie), 401, "unauthorized")
    EventLog(ledger, 1.0, Amount(100, 10**6), 30).sweep()
    with ledger.read() as connection:
        assert table.alive(connection, 0) == []


def test_a_session_from_before_a_clock_was_put_back_does_not_last(guarded: Guarded) -> None:
    client, ledger = guarded.client, guarded.ledger
    sign_in(client, guarded.keys["desk"], "ann")

    def later(ms: int) -> None:
        with ledger.write() as connection:
            tick(connection, "sessions")
            columns = table.sessions.c
            connection.execute(sa.update(table.sessions).values(until=columns.until + ms))
        follow()

    later(30_000)  # a replica whose clock is ahead
    assert client.get("/session").json()["analyst"] == "ann"
    later(3_600_000)
    problem(client.get("/session"), 401, "unauthorized")


def test_a_living_session_outlives_the_sweep(client: httpx.Client, ledger: Ledger) -> None:
    sign_in(client, analyst="ann")
    EventLog(ledger, 1.0, Amount(100, 10**6), 30).sweep()
    with ledger.read() as connection:
        assert [one.analyst for one in table.alive(connection, now_ms())] == ["ann"]


def test_who_is_signed_in_stays_so_while_the_ledger_is_away_and_nobody_else_is_told_to_be_out(
    guarded: Guarded,
) -> None:
    client, ledger = guarded.client, guarded.ledger
    sign_in(client, guarded.keys["desk"], "ann")
    with ledger.write() as connection:
        connection.execute(sa.text("ALTER TABLE keys RENAME TO elsewhere"))
    try:
        assert client.get("/session").json()["analyst"] == "ann"
        with browser(client, JUNK) as other:
            problem(
                other.get("/session"), 503, "ledger-unavailable"
            )  # it may be a session of another replica
    finally:
        with ledger.write() as connection:
            connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO keys"))


def test_who_signs_in_again_leaves_no_session_behind(guarded: Guarded) -> None:
    client = guarded.client
    key = guarded.keys["desk"]
    sign_in(client, key, "ann")
    sign_in(client, key, "ben")
    with guarded.ledger.read() as connection:
        assert [one.analyst for one in table.alive(connection, 0)] == ["ben"]


def test_of_a_key_only_the_newest_sessions_stay(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    client = guarded.client
    monkeypatch.setattr(sessions, "MOST_OF_KEY", 2)
    key = guarded.keys["desk"]
    with browser(client) as other:
        sign_in(other, guarded.keys["other"], "zoe")
    for analyst in ("ann", "ben", "cem"):
        with browser(client) as one:
            sign_in(one, key, analyst)
    with guarded.ledger.read() as connection:
        assert sorted(one.analyst for one in table.alive(connection, 0)) == ["ben", "cem", "zoe"]


def test_replicas_know_at_once_who_signed_in_elsewhere_and_soon_who_left(
    settings: Settings, ledger: Ledger
) -> None:
    key = made(ledger, "desk", "feedback")
    with serving(create_app(settings)) as one, serving(create_app(settings)) as other:
        sign_in(one, key, "ann")
        with browser(other, one.cookies[COOKIE]) as elsewhere:
            assert elsewhere.get("/session").json()["analyst"] == "ann"
            one.delete("/session")
            follow()
            problem(elsewhere.get("/session"), 401, "unauthorized")


def test_cookies_of_chance_do_not_make_a_flood_of_reads(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = guarded.client
    looks = 0
    seen = Ledger.seen

    async def counted(self: Ledger, work: Any) -> Any:
        nonlocal looks
        looks += 1
        return await seen(self, work)

    monkeypatch.setattr(Ledger, "seen", counted)
    for number in range(200):
        headers = {"Cookie": f"{COOKIE}={number:043d}"}
        problem(client.get("/session", headers=headers), 401, "unauthorized")
    assert 0 < looks < 100


def test_two_cookies_are_refused_and_one_sent_twice_is_one(guarded: Guarded) -> None:
    client = guarded.client
    sign_in(client, guarded.keys["desk"], "ann")
    own = client.cookies[COOKIE]
    with browser(client) as other:
        for both in (f"{COOKIE}={own}; {COOKIE}={JUNK}", f"{COOKIE}={JUNK};x=1;{COOKIE}={own}"):
            refused = problem(other.get("/queue", headers={"Cookie": both}), 401, "unauthorized")
            assert "delete this site's cookies" in refused["detail"]
        same = f"a=b; {COOKIE}={own}; {COOKIE}={own}; {COOKIE}=; ;=;{COOKIE}"
        assert other.get("/queue", headers={"Cookie": same}).status_code == 200


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
    made(ledger, "first", "score")
    follow()
    problem(client.get("/session"), 401, "unauthorized")


def test_nothing_is_written_in_nobodys_name_by_who_believes_to_be_signed_in(
    client: httpx.Client, ledger: Ledger
) -> None:
    sign_in(client, analyst="ann")
    with ledger.write() as connection:
        table.erase_analyst(connection, "ann")
    follow()
    assert client.get("/session").json()["analyst"] == "anonymous"
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
        keyring.limit(connection, "desk", Quota(requests_per_second=3), "test")
    follow()
    sign_in(client, key, "ann")
    refused = [client.get("/queue") for _ in range(8)][-1]
    problem(refused, 429, "rate-limited")


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
