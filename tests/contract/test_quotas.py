"""Limits by key and for callers without one: what is told to whom, and what comes through."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.access import keyring
from nearnorm.service.access.keyring import ROLES, Keyring
from nearnorm.service.access.line_quotas import LineQuotas
from nearnorm.service.access.quota import Meter
from nearnorm.service.app import create_app
from nearnorm.service.errors import RateLimited
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.tables import lines
from nearnorm.service.settings import Settings
from nearnorm.service.token_bucket import TokenBucket
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving
from tests.service.scoring.test_endpoint import RECORD, problem


@pytest.fixture(scope="module")
def payments(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "payments")


@contextmanager
def limited(settings: Settings, **quotas: Quota) -> Iterator[tuple[httpx.Client, dict[str, dict[str, str]]]]:
    """A service, and the headers of a key with each quota."""
    ledger = Ledger.at(None, settings.home)
    migrate(ledger)
    headers = {}
    with ledger.write() as connection:
        for name, quota in quotas.items():
            secret, _ = keyring.create(connection, name, ROLES, "test", quota)
            headers[name] = {"X-API-Key": secret}
    ledger.close()
    with serving(create_app(settings)) as client:
        yield client, headers


def send(client: httpx.Client, headers: dict[str, str], rows: int = 1) -> httpx.Response:
    return client.post("/score", json={"records": [RECORD] * rows}, headers=headers)


def test_a_key_is_held_to_its_own_limits_and_harms_no_other(tmp_path: Path, payments: Bundle) -> None:
    settings = Settings(home=home_with(tmp_path, payments))
    quotas = {
        "rows": Quota(rows_per_second=10),
        "size": Quota(rows_per_request=3, bytes_per_request=2000),
        "free": Quota(),
    }
    with limited(settings, **quotas) as (client, headers):
        assert send(client, headers["rows"], 2000).status_code == 200  # larger than a second's worth, once
        told = send(client, headers["rows"])
        detail = problem(told, 429, "rate-limited")["detail"]
        assert "'rows' may send 10 rows a second" in detail
        assert 100 < int(told.headers["retry-after"]) <= 200
        assert send(client, headers["size"], 3).status_code == 200
        assert "3 a request" in problem(send(client, headers["size"], 4), 413, "too-many-rows")["detail"]
        problem(send(client, headers["size"], 40), 413, "body-too-large")
        label = {"labels": [{"record": RECORD, "label": "normal", "comment": "x" * 3000}]}
        for path, body in (("/feedback", label), ("/policy/undo", {"model": "x" * 3000})):
            found = client.post(path, json=body, headers=headers["size"])
            problem(found, 413, "body-too-large")
        assert send(client, headers["free"], 1000).status_code == 200


def test_requests_are_counted_on_every_route_that_asks_for_a_key(
    tmp_path: Path, payments: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("nearnorm.service.access.quota.monotonic", lambda: now[0])
    settings = Settings(home=home_with(tmp_path, payments))
    with limited(settings, two=Quota(requests_per_second=2)) as (client, headers):
        assert [send(client, headers["two"], 100).status_code for _ in range(3)] == [200, 200, 429]
        refused = client.get("/queue", headers=headers["two"])
        assert "2 requests a second" in problem(refused, 429, "rate-limited")["detail"]
        now[0] += float(refused.headers["retry-after"])
        assert client.get("/queue", headers=headers["two"]).status_code == 200


def test_callers_without_a_key_share_the_settings_rate(tmp_path: Path, payments: Bundle) -> None:
    settings = Settings(home=home_with(tmp_path, payments), rows_per_second=5)
    with limited(settings) as (client, _):
        assert [send(client, {}, 1000).status_code for _ in range(2)] == [200, 429]
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        assert client.get("/metrics").status_code == 200


def test_a_caller_that_is_over_its_rate_is_told_before_its_body_is_read(
    tmp_path: Path, payments: Bundle
) -> None:
    settings = Settings(home=home_with(tmp_path, payments), rows_per_second=1)
    with limited(settings) as (client, _):
        assert send(client, {}, 1000).status_code == 200
        answer = client.post(
            "/score", content=b"no JSON at all", headers={"Content-Type": "application/json"}
        )
        problem(answer, 429, "rate-limited")


def test_a_changed_limit_is_followed_and_an_unchanged_one_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nearnorm.service.access.quota.monotonic", lambda: 100.0)
    ledger = Ledger.at(None, tmp_path)
    migrate(ledger)
    ring = Keyring("127.0.0.1", False, Quota(requests_per_second=7))
    with ledger.write() as connection:
        secret, key = keyring.create(connection, "one", ["score"], "test", Quota(rows_per_second=5))
        ring.refresh(connection)
        caller = ring.caller(None, secret, "score")
        assert caller.meter is not None
        assert caller.meter.quota == Quota(rows_per_second=5, requests_per_second=7)
        ring.refresh(connection)
        assert ring.caller(None, secret, "score") is caller
        keyring.limit(connection, "one", Quota(requests_per_second=1), "test")
        ring.refresh(connection)
        ring.caller(None, secret, "score")
        with pytest.raises(RateLimited, match="1 requests a second"):
            ring.caller(None, secret, "score")
    ledger.close()
    assert key.quota.rows_per_second == 5


def test_over_time_a_caller_gets_its_rate_however_large_its_requests_are() -> None:
    now = time.monotonic()
    bucket, granted = TokenBucket(100.0, now), 0
    for step in range(1000):  # asks every tenth of a second for 100 s
        if not bucket.wait(now + step / 10):
            bucket.owe(700)
            granted += 700
    assert granted == pytest.approx(100 * 100, rel=0.1)


def test_who_waits_as_long_as_told_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("nearnorm.service.access.quota.monotonic", lambda: now[0])
    meter = Meter(Quota(rows_per_second=1000), "you may send")
    meter.rows(3500)
    with pytest.raises(RateLimited, match="you may send 1000 rows a second") as told:
        meter.rows(1)
    assert told.value.headers == {"Retry-After": "3"}
    now[0] += 3
    meter.rows(1)


def test_a_line_is_held_to_its_quota_by_all_keys_together_and_no_other_line_is(
    tmp_path: Path, payments: Bundle
) -> None:
    home = home_with(tmp_path, payments)
    store = ModelStore(home / "models")
    store.activate(store.versions()[0], by="test", model="held")
    ledger = Ledger.at(None, home)
    migrate(ledger)
    with ledger.write() as connection:
        quota = Quota(rows_per_second=10, requests_per_second=9, rows_per_request=2000)
        lines.limit(connection, "held", quota, 1, "test")
    ledger.close()
    to_held = {"model": "held", "records": [RECORD] * 2000}
    with limited(Settings(home=home), ann=Quota(rows_per_second=5000), bo=Quota()) as (client, headers):
        assert client.post("/score", json=to_held, headers=headers["ann"]).status_code == 200
        told = client.post("/score", json={"model": "held", "records": [RECORD]}, headers=headers["bo"])
        detail = problem(told, 429, "rate-limited")["detail"]
        assert detail.startswith("the model 'held' takes 10 rows a second")
        assert int(told.headers["retry-after"]) > 100
        problem(client.post("/score", json=to_held, headers=headers["ann"]), 429, "rate-limited")
        assert send(client, headers["ann"], 3000).status_code == 200  # what the line refused is not drawn
        larger = {**to_held, "records": [RECORD] * 2001}
        problem(client.post("/score", json=larger, headers=headers["bo"]), 413, "too-many-rows")
        assert send(client, headers["bo"], 2001).status_code == 200


def test_a_lines_quota_is_followed_while_the_service_runs_and_forgets_nothing_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nearnorm.service.access.quota.monotonic", lambda: 100.0)
    ledger = Ledger.at(None, tmp_path)
    migrate(ledger)
    quotas = LineQuotas()
    with ledger.write() as connection:
        lines.limit(connection, "held", Quota(requests_per_second=1), 1, "test")
        quotas.refresh(connection)
        meter = quotas.of("held")
        assert meter is not None
        meter.request()
        quotas.refresh(connection)
        with pytest.raises(RateLimited, match="the model 'held' takes 1 requests a second"):
            quotas.of("held").request()  # type: ignore[union-attr]
        lines.limit(connection, "held", Quota(), 2, "test")
        quotas.refresh(connection)
        assert quotas.of("held") is None
    ledger.close()
