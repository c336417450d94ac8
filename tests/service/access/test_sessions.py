"""Signing in over HTTP, on both databases: from an API key to a cookie, and what that opens."""

from time import monotonic
from typing import Any

import httpx
import pytest

from nearnorm.service.access import sessions
from nearnorm.service.access.session_cookie import COOKIE
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.settings import Settings
from tests.service.access.signing_in import JUNK, Guarded, browser, sign_in
from tests.service.access.test_keys import made
from tests.service.asking import RECORD, problem
from tests.service.running import serving
from tests.service.waiting import until


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


def test_replicas_know_at_once_who_signed_in_elsewhere_and_soon_who_left(
    settings: Settings, ledger: Ledger
) -> None:
    key = made(ledger, "desk", "feedback")
    with serving(create_app(settings)) as one, serving(create_app(settings)) as other:
        sign_in(one, key, "ann")
        with browser(other, one.cookies[COOKIE]) as elsewhere:
            assert elsewhere.get("/session").json()["analyst"] == "ann"
            one.delete("/session")
            until(lambda: elsewhere.get("/session").status_code == 401)
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
    now = monotonic()
    monkeypatch.setattr(sessions, "monotonic", lambda: now)  # however slowly they come
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
