"""How a session ends, on both databases: by logging out, with its key, by time."""

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.service.access import keyring, sessions
from nearnorm.service.access.session_cookie import COOKIE
from nearnorm.service.app import create_app
from nearnorm.service.events.log import EventLog
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import sessions as table
from nearnorm.service.ledger.tables.events.retention import Amount
from nearnorm.service.settings import Settings
from tests.service.access.signing_in import JUNK, Guarded, browser, sign_in
from tests.service.access.test_keys import known, made
from tests.service.asking import problem
from tests.service.feedback.test_queue import fill
from tests.service.running import serving
from tests.service.waiting import until


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
    with httpx.Client(base_url=client.base_url, headers=by_key, timeout=60) as scorer:
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
        until(lambda: client.get("/session").status_code == 401)
        problem(client.get("/session"), 401, "unauthorized")
        assert other.get("/session").json()["analyst"] == "ben"


def test_a_key_that_an_older_release_revoked_ends_its_sessions_too(
    guarded: Guarded,
) -> None:
    client = guarded.client
    sign_in(client, guarded.keys["desk"], "ann")
    with guarded.ledger.write() as connection:
        connection.execute(sa.text("UPDATE keys SET revoked_at = 1 WHERE name = 'desk'"))
    until(lambda: client.get("/session").status_code == 401)
    problem(client.get("/session"), 401, "unauthorized")


def test_a_session_lasts_as_long_as_is_set_and_is_deleted_after_that(
    settings: Settings, ledger: Ledger
) -> None:
    short = settings.model_copy(update={"session_hours": 5 / 3600})
    key = made(ledger, "desk", "feedback")
    with serving(create_app(short)) as client:
        sign_in(client, key, "ann")
        cookie = {"Cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
        assert client.get("/session", headers=cookie).json()["analyst"] == "ann"
        until(lambda: client.get("/session", headers=cookie).status_code == 401)
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
        known(client, made(ledger, f"later {ms}", "score"))  # which is read with the sessions

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
