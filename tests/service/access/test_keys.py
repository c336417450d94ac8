"""API keys and roles: over HTTP, and by the command line beside a running service."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.service.access import keyring
from nearnorm.service.access.keyring import Keyring
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import keys
from nearnorm.service.services import Services
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, label, problem
from tests.service.running import home_with, serving
from tests.service.waiting import logged, until

NEARNORM = Path(sys.executable).parent / "nearnorm"
KEYS_OF_CLAIMS = {"gateway": "score", "desk": "feedback", "other desk": "feedback", "ops": "operate"}


def made(ledger: Ledger, name: str, *roles: str) -> str:
    with ledger.write() as connection:
        secret, _ = keyring.create(connection, name, roles, "test")
    return secret


def asked(client: httpx.Client, secret: str) -> dict[str, int]:
    """The status of one route a role."""
    headers = {"Authorization": f"Bearer {secret}"}
    return {
        "score": client.post("/score", json={"records": [RECORD]}, headers=headers).status_code,
        "feedback": client.get("/queue", headers=headers).status_code,
        "alerts": client.get("/alerts?format=ndjson", headers=headers).status_code,
        "operate": client.get("/audit", headers=headers).status_code,
        "any": client.get("/policy", headers=headers).status_code,
    }


@pytest.fixture
def guarded(settings: Settings) -> Iterator[tuple[httpx.Client, Ledger]]:
    """A service that has a key already, and its ledger."""
    ledger = Ledger.at(settings.database_url, settings.home)
    with serving(create_app(settings)) as client:
        yield client, ledger
    ledger.close()


def known(client: httpx.Client, secret: str) -> None:
    """Until the service, which looks once a second, knows a key, and with it all that were made before."""
    until(lambda: answers(client, secret) == 200)


def gone(client: httpx.Client, secret: str) -> None:
    """Until the service knows that a key was revoked."""
    until(lambda: answers(client, secret) == 401)


def answers(client: httpx.Client, secret: str) -> int:
    return httpx.get(
        f"{client.base_url}/policy", headers={"X-API-Key": secret}, timeout=30, verify=False
    ).status_code


@pytest.mark.parametrize("role", keyring.ROLES)
def test_a_key_opens_what_its_role_is_for_and_nothing_else(
    guarded: tuple[httpx.Client, Ledger], role: str
) -> None:
    client, ledger = guarded
    secret = made(ledger, "one", role)
    known(client, secret)
    expected = {name: 200 if name == role else 403 for name in keyring.ROLES} | {"any": 200}
    expected["alerts"] = expected["feedback"]
    assert asked(client, secret) == expected


def test_claims_need_the_role_feedback_and_an_analyst_of_another_key_is_somebody_else(
    guarded: tuple[httpx.Client, Ledger],
) -> None:
    client, ledger = guarded
    secrets = {name: made(ledger, name, role) for name, role in KEYS_OF_CLAIMS.items()}
    known(client, list(secrets.values())[-1])
    assert asked(client, secrets["gateway"])["score"] == 200
    until(lambda: logged(client))

    def sent(path: str, name: str) -> httpx.Response:
        return client.post(path, json={"analyst": "ann"}, headers={"X-API-Key": secrets[name]})

    for path in ("/claims", "/claims/release"):
        problem(sent(path, "gateway"), 403, "forbidden")
        problem(client.post(path, json={}), 401, "unauthorized")
    problem(sent("/claims", "ops"), 403, "forbidden")
    (held,) = sent("/claims", "desk").json()["claims"]
    assert sent("/claims", "other desk").json() == {"claims": []}
    assert sent("/claims/release", "other desk").json() == {"released": 0}
    assert sent("/claims/release", "ops").json() == {"released": 0}
    assert sent("/claims", "desk").json()["claims"][0]["event_id"] == held["event_id"]


def test_an_operator_sees_who_holds_what_and_takes_it_back_and_nobody_else_does(
    guarded: tuple[httpx.Client, Ledger],
) -> None:
    client, ledger = guarded
    by = {name: {"X-API-Key": made(ledger, name, role)} for name, role in KEYS_OF_CLAIMS.items()}
    known(client, list(by.values())[-1]["X-API-Key"])
    client.post("/score", json={"records": [RECORD]}, headers=by["gateway"]).raise_for_status()
    until(lambda: logged(client))
    (held,) = client.post("/claims", json={"analyst": "ann"}, headers=by["desk"]).json()["claims"]
    lease = {
        "event_id": held["event_id"],
        "why": held["why"],
        "key": "desk",
        "analyst": "ann",
        "claimed_until": held["claimed_until"],
    }
    everybody = {"everybody": "true"}
    assert client.get("/claims", params=everybody, headers=by["ops"]).json() == {"claims": [lease]}
    assert client.get("/claims", params={"analyst": "ann"}, headers=by["desk"]).json() == {"claims": [lease]}
    for headers, params in ((by["desk"], {}), (by["ops"], {}), (by["other desk"], {"analyst": "ann"})):
        assert client.get("/claims", params=params, headers=headers).json() == {"claims": []}
    problem(client.get("/claims", headers=by["gateway"]), 403, "forbidden")
    theirs = {"key": "desk", "analyst": "ann"}
    for name in ("desk", "other desk", "gateway"):
        problem(client.get("/claims", params=everybody, headers=by[name]), 403, "forbidden")
        problem(client.post("/claims/release", json=theirs, headers=by[name]), 403, "forbidden")
    taken = client.post("/claims/release", json=theirs, headers=by["ops"])
    assert taken.json() == {"released": 1}
    assert client.get("/claims", params=everybody, headers=by["ops"]).json() == {"claims": []}
    (entry,) = client.get("/audit", params={"limit": 1}, headers=by["ops"]).json()["audit"]
    assert (entry["actor"], entry["action"], entry["subject"]) == ("ops", "claims.release", "analyst ann")
    assert entry["detail"] == {"key": "desk", "model": "default", "records": 1}


def test_keys_act_and_are_revoked_without_a_restart(guarded: tuple[httpx.Client, Ledger]) -> None:
    client, ledger = guarded
    assert client.get("/queue").status_code == 200  # on loopback, without any key
    secret = made(ledger, "all", *keyring.ROLES)
    known(client, secret)
    assert set(asked(client, secret).values()) == {200}
    assert client.get("/queue", headers={"X-API-Key": secret}).status_code == 200
    for headers in ({}, {"Authorization": "Bearer nn_wrong"}, {"X-API-Key": "nn_wrong"}):
        problem(client.post("/score", json={"records": [RECORD]}, headers=headers), 401, "unauthorized")
        refused = client.get("/queue", headers=headers)
        problem(refused, 401, "unauthorized")
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    for malformed in ("Bearer", secret, f"Basic {secret}"):
        found = client.get("/queue", headers={"Authorization": malformed})
        assert "malformed" in problem(found, 401, "unauthorized")["detail"]
    with ledger.write() as connection:
        keyring.revoke(connection, "all", "test")
    gone(client, secret)
    assert set(asked(client, secret).values()) == {401}
    assert client.get("/queue").status_code == 401  # revoking the last key opens no door
    assert client.get("/healthz").status_code == 200


def test_the_trail_tells_who_did_what(guarded: tuple[httpx.Client, Ledger]) -> None:
    client, ledger = guarded
    client.headers["X-API-Key"] = secret = made(ledger, "ops", *keyring.ROLES)
    known(client, secret)
    label(client, {"record": RECORD, "label": "anomaly"})
    client.put("/policy", json={"budget": "2%"})
    client.post(f"/models/{client.get('/models').json()['models'][0]['version']}/activate")
    first = client.get("/audit", params={"limit": 3}).json()
    rest = client.get("/audit", params={"cursor": first["next"]}).json()
    entries = [(e["actor"], e["action"]) for e in first["audit"] + rest["audit"]]
    assert entries == [
        ("ops", "activate"),
        ("ops", "policy.put"),
        ("ops", "label"),
        ("test", "key.create"),
    ]
    assert "next" not in rest
    beyond = client.get("/audit", params={"cursor": 2**60})
    assert beyond.status_code == 422
    assert beyond.json()["field"] == "cursor"


def test_the_ledger_holds_no_secret(ledger: Ledger) -> None:
    secret = made(ledger, "one", "score")
    with ledger.read() as connection:
        (key,) = keys.every(connection)
    assert secret not in repr(key)
    assert secret[3:] not in repr(key)


@pytest.mark.parametrize(
    ("name", "roles", "message"),
    [
        ("x", [], "needs a role"),
        ("x", ["boss"], "unknown role 'boss'"),
        ("", ["score"], "name"),
        ("a\nb", ["score"], "name"),
        ("anonymous", ["score"], "taken"),
        ("taken", ["score"], "taken"),
    ],
)
def test_a_key_that_cannot_be_made_is_refused(
    ledger: Ledger, name: str, roles: list[str], message: str
) -> None:
    made(ledger, "taken", "score")
    with pytest.raises(ConfigError, match=message):
        made(ledger, name, *roles)


def test_a_key_that_is_not_there_cannot_be_revoked(ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="no active key"), ledger.write() as connection:
        keyring.revoke(connection, "nobody", "test")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104
def test_a_service_that_others_can_reach_needs_a_key_or_so_many_words(ledger: Ledger, host: str) -> None:
    with ledger.write() as connection:
        with pytest.raises(ConfigError, match="NEARNORM_ALLOW_ANONYMOUS=true"):
            keyring.check_door(connection, host, allow_anonymous=False)
        keyring.check_door(connection, host, allow_anonymous=True)
        keyring.create(connection, "one", ["score"], "test")
        keyring.check_door(connection, host, allow_anonymous=False)


@pytest.mark.parametrize(
    ("host", "anonymous", "is_open"),
    [
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("localhost", False, True),
        ("0.0.0.0", False, False),  # noqa: S104
        ("0.0.0.0", True, True),  # noqa: S104
    ],
)
def test_the_door_is_open_on_loopback_alone(host: str, anonymous: bool, is_open: bool) -> None:
    assert Keyring(host, anonymous).is_open() is is_open


def test_the_desk_does_not_open_a_door_to_everybody(tmp_path: Path) -> None:
    services = Services(Settings(home=tmp_path, host="0.0.0.0"))  # noqa: S104
    with pytest.raises(NearnormError, match="without API keys"):
        services.start(dict)
    services.close()


def test_the_command_line_makes_lists_and_revokes_keys(tmp_path: Path, payments: Bundle) -> None:
    home = home_with(tmp_path / "home", payments)

    def nearnorm(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "NEARNORM_HOME": str(home)}
        return subprocess.run(
            [NEARNORM, *words], env=environment, capture_output=True, text=True, check=False
        )

    with serving(create_app(Settings(home=home))) as client:
        secret = nearnorm("keys", "create", "ci", "--role", "feedback").stdout.strip()
        known(client, secret)
        assert client.get("/queue", headers={"X-API-Key": secret}).status_code == 200
        assert " ci feedback " in nearnorm("keys", "list").stdout
        assert nearnorm("keys", "revoke", "ci").returncode == 0
        gone(client, secret)
        assert client.get("/queue", headers={"X-API-Key": secret}).status_code == 401
    failed = nearnorm("keys", "create", "x", "--role", "boss")
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert "roles are score, feedback, operate" in failed.stderr
