"""More models than memory holds: who is not in memory is loaded when it is asked for, and nobody notices."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearnorm.models.bundle.bundle import MODEL, Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.models.store.open import open_store
from nearnorm.service import follower as follower_module
from nearnorm.service.access import keyring
from nearnorm.service.app import Application, create_app
from nearnorm.service.drift.monitor import STEP
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.ledger.tables import swaps
from nearnorm.service.ledger.tables.swaps import Swap
from nearnorm.service.metrics import collectors
from nearnorm.service.serving.champions import failures as failures_module
from nearnorm.service.serving.champions import swaps as swaps_module
from nearnorm.service.serving.memory import load as load_module
from nearnorm.service.serving.memory import loader as loader_module
from nearnorm.service.serving.memory import residents as residents_module
from nearnorm.service.serving.registry import Registry
from nearnorm.service.settings import Settings
from nearnorm.service.webhooks.watch import StateWatch
from tests.s3 import BUCKET, running_s3
from tests.service.api.test_health import value
from tests.service.asking import RECORD
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving
from tests.service.waiting import until

AS_JSON = {"content-type": "application/json"}
LINES = [f"line-{number}" for number in range(4)]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    return [make_bundle(folder / name, seed=seed) for seed, name in enumerate(LINES)]


@pytest.fixture
def app(
    tmp_path: Path, bundle: Bundle, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> Application:
    """Of `default` and four lines, of which memory holds one or two."""
    monkeypatch.setattr(swaps_module, "AT_START", 1)
    monkeypatch.setattr(residents_module, "KEPT_SECONDS", 0.0)
    store = ModelStore(home_with(tmp_path, bundle) / "models")
    for name, own in zip(LINES, bundles, strict=True):
        store.activate(store.publish(own.path), by="test", model=name)
    return create_app(Settings(home=tmp_path, model_bytes=2**20))


@pytest.fixture
def client(app: Application) -> Iterator[httpx.Client]:
    with serving(app) as client:
        yield client


def loads(monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None] = lambda name: None) -> list[str]:
    """The names of models, as their loading begins."""
    found: list[str] = []
    load = load_module.load_model

    def heard(opened: Callable[[str], Bundle], name: str, *rest: Any) -> Any:
        found.append(name)
        before(name)
        return load(opened, name, *rest)

    monkeypatch.setattr(loader_module, "load_model", heard)
    return found


def scored(client: httpx.Client, model: str, **more: Any) -> httpx.Response:
    return client.post("/score", json={"model": model, "records": [RECORD], **more})


def in_memory(app: Application) -> set[str]:
    registry: Registry = app.state.registry
    return set(registry.loaded())


def test_who_is_not_in_memory_is_loaded_when_it_is_asked_for_and_answers_by_its_own_version(
    app: Application, client: httpx.Client, bundles: list[Bundle]
) -> None:
    assert in_memory(app) == {"default"}
    for _ in range(2):
        for name, own in zip(LINES, bundles, strict=True):
            answer = scored(client, name).raise_for_status().json()
            assert answer["model"] == {"name": name, "version": own.version}
    assert "default" in in_memory(app)
    assert len(in_memory(app)) <= 2
    assert value(client, "nearnorm_models", memory="out") >= 3
    assert value(client, "nearnorm_model_load_seconds_count", source="here") == 8
    assert value(client, "nearnorm_models_left_total") >= 6


def test_every_route_waits_for_a_model_that_is_not_in_memory(client: httpx.Client) -> None:
    label = {"record": RECORD, "label": "anomaly"}
    tensors = {"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [61.5]}]}
    asked: list[Callable[[str], httpx.Response]] = [
        lambda name: scored(client, name),
        lambda name: scored(client, name, explain=True),
        lambda name: client.post(  # named neither before nor behind the rows
            "/score", json={"ids": list(range(100)), "model": name, "records": [RECORD] * 100}
        ),
        lambda name: client.post("/score", json={"model": name, "records": [RECORD] * 600}),
        lambda name: client.post(
            "/score",
            content=b'{"amount": 61.5, "channel": "web"}',
            params={"model": name},
            headers={"content-type": "application/x-ndjson"},
        ),
        lambda name: client.get(f"/v2/models/{name}"),
        lambda name: client.post(f"/v2/models/{name}/infer", json=tensors),
        lambda name: client.get("/policy", params={"model": name}),
        lambda name: client.get("/drift", params={"model": name}),
        lambda name: client.get("/queue", params={"model": name}),
        lambda name: client.post("/claims", json={"model": name, "analyst": "mei"}),
        lambda name: client.post("/feedback", json={"model": name, "labels": [label]}),
        lambda name: client.post("/feedback", json={"model": name, "labels": [label], "preview": True}),
        lambda name: client.post("/jobs", json={"model": name}),
    ]
    for number, ask in enumerate(asked):
        for name in (LINES[number % 4], LINES[(number + 1) % 4]):
            answer = ask(name)
            assert answer.status_code not in (404, 503), (number, answer.text)


def test_readiness_and_the_list_of_models_tell_of_those_that_are_not_in_memory(
    client: httpx.Client, bundles: list[Bundle]
) -> None:
    ready = client.get("/readyz").json()
    versions = {model["name"]: model["version"] for model in ready["models"]}
    assert versions == {"default": versions["default"]} | {
        name: own.version for name, own in zip(LINES, bundles, strict=True)
    }
    assert {model["name"] for model in ready["models"] if model["provider"] is None} == set(LINES)
    listed = client.get("/models").json()["models"]
    assert {name for one in listed for name in one["serves"]} == {"default", *LINES}
    assert set(client.get("/v2/models").json()["models"]) == {"default", *LINES}
    assert client.get(f"/v2/models/{LINES[0]}/ready").json() == {"name": LINES[0], "ready": True}


def test_however_many_ask_a_model_is_loaded_once_and_others_are_answered_meanwhile(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    begun = loads(monkeypatch, lambda name: None if answered.wait(20) else pytest.fail("nobody was answered"))
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(scored, client, LINES[0]) for _ in range(8)]
        until(lambda: bool(begun))
        for _ in range(3):
            assert scored(client, "default").status_code == 200
        answered.set()
        assert {one.result().status_code for one in waiting} == {200}
    assert begun == [LINES[0]]


def test_one_that_cannot_be_loaded_is_told_and_others_go_on(
    app: Application, client: httpx.Client, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures_module, "RETRY_SECONDS", 3600.0)
    folder = app.state.registry.store.root / "versions" / bundles[1].version
    whole = (folder / MODEL).read_bytes()
    (folder / MODEL).write_bytes(whole[:-1])
    begun = loads(monkeypatch)
    for _ in range(3):
        answer = scored(client, LINES[1])
        assert answer.status_code == 503
        assert answer.json()["type"].endswith("no-model")
        detail = answer.json()["detail"]
        assert f"{LINES[1]!r} cannot be loaded: version {bundles[1].version} " in detail
        assert "activate another version" in detail
        assert str(folder.parent) not in detail, "where it lies is not for callers"
        assert answer.headers["retry-after"] == "3600"
    assert begun == [LINES[1]]
    ready = client.get("/readyz").json()
    assert ready["ready"]
    (problem,) = ready["problems"]
    assert problem.startswith(f"model {LINES[1]!r}: ")
    assert "truncated" in problem
    assert LINES[1] not in {model["name"] for model in ready["models"]}
    assert value(client, "nearnorm_model_load_failures_total", model=LINES[1]) == 1
    assert scored(client, LINES[2]).status_code == 200
    (folder / MODEL).write_bytes(whole)
    monkeypatch.setattr(failures_module, "RETRY_SECONDS", 0.1)
    until(lambda: scored(client, LINES[1]).status_code == 200)
    assert client.get("/readyz").json()["problems"] == []


def test_a_version_that_is_activated_while_its_line_is_not_in_memory_serves_there(
    app: Application, client: httpx.Client, other_bundle: Bundle
) -> None:
    store: ModelStore = app.state.registry.store
    store.activate(store.publish(other_bundle.path), by="test", model=LINES[3])
    until(lambda: scored(client, LINES[3]).json()["model"]["version"] == other_bundle.version)
    for name in LINES[:3]:
        scored(client, name)
    assert scored(client, LINES[3]).json()["model"]["version"] == other_bundle.version


def test_one_that_cannot_serve_is_told_at_once_though_nobody_asks_for_it(
    app: Application, client: httpx.Client, tmp_path: Path
) -> None:
    store: ModelStore = app.state.registry.store
    bad = make_bundle(tmp_path / "bad", golden_shift=0.1)
    store.activate(store.publish(bad.path), by="test", model=LINES[3])
    until(lambda: bool(client.get("/readyz").json()["problems"]))


def test_a_job_of_a_line_that_is_not_in_memory_is_counted_by_its_name(
    app: Application, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collectors, "READ_EVERY", 0.0)
    client.post("/jobs", json={"model": LINES[0]}).raise_for_status()
    for name in LINES[1:]:
        scored(client, name)
    assert LINES[0] not in in_memory(app)
    app.state.services.follower.refresh()
    assert value(client, "nearnorm_jobs", model=LINES[0], state="queued") == 1
    assert 'nearnorm_jobs{model="(other)"' not in client.get("/metrics").text


def test_labels_policy_and_drift_are_there_again_with_the_model(
    app: Application, client: httpx.Client
) -> None:
    said = {"model": LINES[0], "labels": [{"record": RECORD, "label": "anomaly"}]}
    client.post("/feedback", json=said).raise_for_status()
    client.put("/policy", json={"model": LINES[0], "budget": "7%"}).raise_for_status()
    rows = {"model": LINES[0], "records": [RECORD] * STEP}
    client.post("/score", json=rows).raise_for_status()
    for name in LINES[1:]:
        scored(client, name)
    assert LINES[0] not in in_memory(app)
    result = scored(client, LINES[0]).json()["results"][0]
    assert result["matched_feedback"]["label"] == "anomaly"
    assert app.state.registry.loaded()[LINES[0]].ranks.policy.budget == 0.07
    assert client.get("/drift", params={"model": LINES[0]}).json()["rows"] == STEP


def test_a_model_with_rows_to_answer_does_not_leave(app: Application, client: httpx.Client) -> None:
    scored(client, LINES[0])
    registry: Registry = app.state.registry
    busy = registry.loaded()[LINES[0]]
    busy.batcher.rows += 1
    for name in LINES[1:]:
        scored(client, name)
    assert registry.loaded()[LINES[0]] is busy
    busy.batcher.rows -= 1
    for name in LINES[1:]:
        scored(client, name)
    assert LINES[0] not in in_memory(app)


def test_a_key_that_sees_one_line_alone_is_answered_by_it(
    app: Application, client: httpx.Client, bundles: list[Bundle]
) -> None:
    services = app.state.services
    with services.ledger.write() as connection:
        secret, _ = keyring.create(
            connection, "mine", frozenset({"score"}), "test", lines=SeenLines.of(["line-2"])
        )
    services.follower.refresh()
    client.headers["x-api-key"] = secret
    for body in ({"records": [RECORD]}, {"records": [RECORD], "model": "line-1"}):
        assert client.post("/score", json=body).status_code == 404
    assert client.post("/score", content=b"{", headers=AS_JSON).status_code == 400
    answer = scored(client, "line-2").raise_for_status().json()
    assert answer["model"]["version"] == bundles[2].version


def test_verdicts_leave_memory_some_time_after_their_model_and_come_back_with_it(
    app: Application, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = app.state.services
    said = {"model": LINES[0], "labels": [{"record": RECORD, "label": "anomaly"}]}
    client.post("/feedback", json=said).raise_for_status()
    for name in LINES[1:]:
        scored(client, name)
    services.follower.refresh()
    assert LINES[0] in services.verdicts.models()
    monkeypatch.setattr(follower_module, "LEFT_SECONDS", 0.0)
    services.follower.refresh()
    assert LINES[0] not in services.verdicts.models()
    assert scored(client, LINES[0]).json()["results"][0]["matched_feedback"]["label"] == "anomaly"


def test_a_first_fetch_from_another_machine_is_told_apart(
    tmp_path: Path, bundle: Bundle, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swaps_module, "AT_START", 1)
    with running_s3() as environment:
        for name, content in environment.items():
            monkeypatch.setenv(name, content)
        url = f"s3://{BUCKET}/models"
        store = open_store(url, tmp_path / "elsewhere")
        for name, own in (("default", bundle), (LINES[1], bundles[1])):
            store.activate(store.publish(own.path), by="test", model=name)
        app = create_app(Settings(home=tmp_path / "home", model_store=url))
        with serving(app) as client:
            scored(client, LINES[1]).raise_for_status()
            assert value(client, "nearnorm_model_load_seconds_count", source="fetched") == 1
            assert value(client, "nearnorm_model_load_seconds_count", source="here") == 0
        with serving(create_app(Settings(home=tmp_path / "home", model_store=url))) as client:
            scored(client, LINES[1]).raise_for_status()
            assert value(client, "nearnorm_model_load_seconds_count", source="here") == 1


def test_what_the_watch_after_a_swap_holds_against_a_version_is_told_of_one_that_is_not_in_memory(
    app: Application, client: httpx.Client, bundles: list[Bundle]
) -> None:
    services = app.state.services
    swap = Swap(LINES[0], bundles[0].version, "before", 0, "worse", "it is worse")
    with services.ledger.write() as connection:
        swaps.put(connection, swap)
    services.follower.refresh()
    assert LINES[0] not in in_memory(app)
    assert client.get("/readyz").json()["problems"] == ["model 'line-0': it is worse"]


def test_a_drift_is_still_told_when_its_model_has_left_memory(app: Application, client: httpx.Client) -> None:
    for _ in range(4):
        client.post("/score", json={"model": LINES[0], "records": [RECORD] * STEP}).raise_for_status()
    registry: Registry = app.state.registry
    until(lambda: registry.loaded()[LINES[0]].drift.drifts)
    services = app.state.services
    watch = StateWatch(
        services.ledger, services.policies, registry.residents.traffic, registry.activation_log
    )

    def drifting() -> set[str]:
        watch.look(anybody_wants=True)
        return {one for one in watch._seen if one.startswith(f"drift:{LINES[0]}:")}

    told = drifting()
    assert told
    for name in LINES[1:]:
        scored(client, name)
    assert LINES[0] not in in_memory(app)
    watch._looked = 0.0
    assert drifting() == told
