"""What serves follows the store's log; what cannot serve changes nothing."""

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearnorm.models.bundle.bundle import MANIFEST, MODEL, Bundle
from nearnorm.models.bundle.manifest import Manifest
from nearnorm.models.canonical import digest
from nearnorm.models.errors import NearnormError
from nearnorm.models.store.folder import ModelStore
from nearnorm.service import services as services_module
from nearnorm.service.app import create_app
from nearnorm.service.serving.champions import failures as failures_module
from nearnorm.service.serving.memory import load as load_module
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.settings import Settings
from tests.service.asking import problem
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving
from tests.service.waiting import until

REQUEST = {"records": [{"amount": 61.5, "channel": "web"}]}


@pytest.fixture
def home(tmp_path: Path, bundle: Bundle) -> Path:
    return home_with(tmp_path / "home", bundle)


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr(failures_module, "RETRY_SECONDS", 0.2)
    with serving(create_app(Settings(home=home))) as client:
        yield client


def ready(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/readyz").json()
    return found


def version(client: httpx.Client) -> str:
    found: str = client.post("/score", json=REQUEST).json()["model"]["version"]
    return found


def test_an_activation_is_followed_within_five_seconds_and_a_rollback_too(
    client: httpx.Client, home: Path, bundle: Bundle, other_bundle: Bundle
) -> None:
    store = ModelStore(home / "models")
    assert version(client) == bundle.version
    store.activate(store.publish(other_bundle.path), by="test")
    until(lambda: version(client) == other_bundle.version)
    store.rollback(by="test")
    until(lambda: version(client) == bundle.version)


def test_a_swap_fails_no_request(
    client: httpx.Client, home: Path, bundle: Bundle, other_bundle: Bundle
) -> None:
    store = ModelStore(home / "models")
    store.publish(other_bundle.path)
    statuses: list[int] = []
    seen: set[str] = set()
    stop = threading.Event()

    def send() -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as own:
            while not stop.is_set():
                response = own.post("/score", json=REQUEST)
                statuses.append(response.status_code)
                seen.add(response.json()["model"]["version"])

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for chosen in (other_bundle, bundle, other_bundle):
        response = client.post(f"/models/{chosen.version}/activate")
        assert response.status_code == 200
        assert version(client) == chosen.version
        until(lambda: chosen.version in seen)  # noqa: B023 - awaited within this turn
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    assert seen == {bundle.version, other_bundle.version}


def test_a_version_that_cannot_serve_leaves_the_running_one_and_is_told(
    client: httpx.Client, home: Path, bundle: Bundle, tmp_path: Path
) -> None:
    store = ModelStore(home / "models")
    bad = make_bundle(tmp_path / "bad", golden_shift=0.1)
    store.activate(store.publish(bad.path), by="test")
    until(lambda: bool(ready(client)["problems"]))
    found = ready(client)
    assert found["ready"] is True
    assert "golden rows" in found["problems"][0]
    assert version(client) == bundle.version
    assert 'nearnorm_model_load_failures_total{model="default"} 1.0' in client.get("/metrics").text
    store.rollback(by="test")
    until(lambda: not ready(client)["problems"])


def test_a_version_whose_files_come_later_is_taken_when_they_are_there(
    client: httpx.Client, home: Path, other_bundle: Bundle, tmp_path: Path
) -> None:
    store = ModelStore(home / "models")
    store.activate(store.publish(other_bundle.path), by="test")
    folder = home / "models" / "versions" / other_bundle.version
    folder.rename(tmp_path / "away")
    until(lambda: bool(ready(client)["problems"]) or version(client) == other_bundle.version)
    (tmp_path / "away").rename(folder)
    until(lambda: version(client) == other_bundle.version)
    assert ready(client)["problems"] == []


def test_the_api_refuses_to_activate_what_cannot_serve(
    client: httpx.Client, home: Path, bundle: Bundle, tmp_path: Path
) -> None:
    store = ModelStore(home / "models")
    bad = store.publish(make_bundle(tmp_path / "bad", golden_shift=0.1).path)
    response = client.post(f"/models/{bad}/activate")
    assert response.status_code == 409
    assert "golden rows" in response.json()["detail"]
    assert client.post("/models/unknown/activate").status_code == 404
    champion = store.champion()
    assert champion is not None
    assert champion.version == bundle.version


def test_a_second_model_is_served_by_its_name(client: httpx.Client, home: Path, other_bundle: Bundle) -> None:
    assert (
        client.post(
            f"/models/{ModelStore(home / 'models').publish(other_bundle.path)}/activate",
            json={"model": "cards"},
        ).status_code
        == 200
    )
    answer = client.post("/score", json=REQUEST | {"model": "cards"}).json()
    assert answer["model"] == {"name": "cards", "version": other_bundle.version}
    assert client.post("/score", json=REQUEST).json()["model"]["name"] == "default"


def forged(home: Path, bundle: Bundle, core: Mapping[str, Any]) -> str:
    """A stored version whose manifest was written by hand: whole by its digests, whatever it says."""
    document = json.loads((bundle.path / MANIFEST).read_bytes())
    document["core"] |= core
    document["version"] = version = digest(document["core"])
    folder = home / "models" / "versions" / version
    shutil.copytree(bundle.path, folder)
    (folder / MANIFEST).write_text(json.dumps(document))
    return str(version)


def append(home: Path, version: str) -> None:
    """An entry in the activation log, as another program may write it: nothing is checked."""
    log = home / "models" / "activations"
    number = len(list(log.iterdir())) + 1
    entry = {"number": number, "at": "2026-01-01T00:00:00Z", "action": "activate"}
    document = entry | {"model": "default", "version": version, "by": "test"}
    (log / f"{number:08}.json").write_text(json.dumps(document))


STRANGE: dict[str, dict[str, Any]] = {
    "a file name with a NUL": {"files": {"a\0b": "0" * 64}},
    "a file name of 300 characters": {"files": {"a" * 300: "0" * 64}},
    "half a character": {"libraries": {"torch": "\ud800"}},
}


@pytest.mark.parametrize("core", STRANGE.values(), ids=STRANGE.keys())
def test_a_version_that_fails_as_nobody_foresaw_is_told_and_the_next_one_is_followed(
    client: httpx.Client, home: Path, bundle: Bundle, other_bundle: Bundle, core: dict[str, Any]
) -> None:
    text = json.dumps(core)
    bad = "0" * 64 if "ud800" in text else forged(home, bundle, core)
    if "ud800" in text:  # it has no digest: written as it stands
        folder = home / "models" / "versions" / bad
        shutil.copytree(bundle.path, folder)
        document = json.loads((folder / MANIFEST).read_bytes())
        document["core"] |= core
        (folder / MANIFEST).write_text(json.dumps(document))
    append(home, bad)
    until(lambda: bool(ready(client)["problems"]))
    assert bad in ready(client)["problems"][0]
    told = problem(client.get(f"/models/{bad}"), 409, "conflict")["detail"]
    assert f"version {bad} is damaged" in told
    assert str(home) not in told, "where it lies is not for callers"
    assert client.post(f"/models/{bad}/activate").status_code == 409
    assert version(client) == bundle.version
    store = ModelStore(home / "models")
    store.activate(store.publish(other_bundle.path), by="test")
    until(lambda: version(client) == other_bundle.version)
    assert ready(client)["problems"] == []


def test_a_time_that_is_none_outside_the_digests_is_that_versions_failure_and_metrics_go_on(
    client: httpx.Client, home: Path, bundle: Bundle, other_bundle: Bundle
) -> None:
    stored = ModelStore(home / "models").publish(other_bundle.path)
    manifest = home / "models" / "versions" / stored / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | {"created_at": "once"}))
    append(home, stored)
    until(lambda: bool(ready(client)["problems"]))
    assert "isoformat" in ready(client)["problems"][0]
    assert client.get("/metrics").status_code == 200
    assert version(client) == bundle.version


class Unforeseen(Exception): ...


@pytest.fixture
def refuses(monkeypatch: pytest.MonkeyPatch, other_bundle: Bundle) -> None:
    """Building a model of `other_bundle` fails as nobody foresaw, as a column of another kind once did."""
    real = LoadedModel

    def build(name: str, manifest: Manifest, *more: Any) -> Any:
        if manifest.version == other_bundle.version:
            raise Unforeseen("column 'Amount'")
        return real(name, manifest, *more)

    monkeypatch.setattr(load_module, "LoadedModel", build)


@pytest.mark.usefixtures("refuses")
def test_whatever_goes_wrong_in_preparing_a_version_is_that_versions_failure(
    client: httpx.Client, home: Path, bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    store = ModelStore(home / "models")
    store.activate(store.publish(other_bundle.path), by="test")
    until(lambda: bool(ready(client)["problems"]))
    (problem,) = ready(client)["problems"]
    told = f"version {other_bundle.version} cannot serve here: Unforeseen: column 'Amount'"
    assert problem == f"model 'default': {told}"
    assert "nearnorm_model_load_failures_total" in client.get("/metrics").text
    refused = client.post(f"/models/{other_bundle.version}/activate")
    assert refused.status_code == 409
    assert refused.json()["detail"] == told
    third = make_bundle(tmp_path / "third", seed=3)
    store.activate(store.publish(third.path), by="test")
    until(lambda: version(client) == third.version)
    assert ready(client)["problems"] == []


@pytest.mark.usefixtures("refuses")
def test_a_service_starts_though_its_champion_fails_as_nobody_foresaw(
    home: Path, bundle: Bundle, other_bundle: Bundle
) -> None:
    store = ModelStore(home / "models")
    store.activate(store.publish(other_bundle.path), by="test")
    with serving(create_app(Settings(home=home))) as client:
        response = client.get("/readyz")
        assert response.status_code == 503
        assert "Unforeseen: column 'Amount'" in response.json()["problems"][0]
        assert client.post("/models/rollback").status_code == 200
        assert version(client) == bundle.version


@pytest.mark.usefixtures("refuses")
def test_a_rollback_to_a_version_that_cannot_serve_changes_nothing(
    client: httpx.Client, home: Path, bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    store = ModelStore(home / "models")
    third = make_bundle(tmp_path / "third", seed=3)
    for found in (other_bundle, third):
        store.activate(store.publish(found.path), by="test")
    until(lambda: version(client) == third.version)
    log = store.activations()
    refused = client.post("/models/rollback")
    assert refused.status_code == 409
    assert "Unforeseen" in refused.json()["detail"]
    assert store.activations() == log
    assert version(client) == third.version
    assert ready(client)["problems"] == []


def test_following_goes_on_after_a_mistake_of_ours_and_is_told_while_it_lasts(
    client: httpx.Client, home: Path, other_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(home / "models")

    def broken(self: ModelStore) -> list[Any]:
        raise Unforeseen("the log")

    with monkeypatch.context() as harm:
        harm.setattr(ModelStore, "activations", broken)
        until(lambda: bool(ready(client)["problems"]))
        assert ready(client)["problems"] == ["following the model store fails: Unforeseen: the log"]
        assert 'nearnorm_background_failures_total{task="following the model store"}' in (
            client.get("/metrics").text
        )
    store.activate(store.publish(other_bundle.path), by="test")
    until(lambda: version(client) == other_bundle.version)
    assert ready(client)["problems"] == []


def test_a_service_that_cannot_start_says_so_in_one_sentence_whatever_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise Unforeseen("the ledger")

    monkeypatch.setattr(services_module, "migrate", broken)
    app = create_app(Settings(home=home))

    async def start() -> None:
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(Unforeseen):
        asyncio.run(start())
    expected = "the service cannot start, see its log: Unforeseen: the ledger"
    assert app.state.startup_problem == expected


@pytest.mark.parametrize("harm", ["truncated", "manifest", "format", "gone"])
def test_a_champion_that_is_broken_at_the_start_is_told_by_readyz(
    home: Path, bundle: Bundle, harm: str
) -> None:
    folder = home / "models" / "versions" / bundle.version
    manifest = folder / MANIFEST
    if harm == "truncated":
        (folder / MODEL).write_bytes(bundle.model[:-10])
    elif harm == "manifest":
        manifest.write_bytes(manifest.read_bytes()[:100])
    elif harm == "format":
        document = json.loads(manifest.read_bytes())
        document["core"]["format_version"] = 99
        manifest.write_text(json.dumps(document))
    else:
        shutil.rmtree(folder)
    with serving(create_app(Settings(home=home))) as client:
        assert client.get("/healthz").status_code == 200
        response = client.get("/readyz")
        assert response.status_code == 503
        assert bundle.version[:8] in response.json()["problems"][0]
        refused = client.post("/score", json=REQUEST)
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert refused.json()["type"].endswith("no-model")


def test_an_empty_store_gets_the_starter_model(tmp_path: Path) -> None:
    with serving(create_app(Settings(home=tmp_path))) as client:
        assert ready(client)["ready"] is True
        listed = client.get("/models").json()["models"]
        assert [m["serves"] for m in listed] == [["default"]]


def test_a_store_that_cannot_be_written_is_told_by_readyz(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("no folder")
    with serving(create_app(Settings(home=tmp_path))) as client:
        found = client.get("/readyz")
        assert found.status_code == 503
        assert "the model store cannot be" in found.json()["problems"][0]


def test_cuda_that_is_not_there_keeps_the_service_from_starting(home: Path) -> None:
    app = create_app(Settings(home=home, device="cuda"))

    async def start() -> None:
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(NearnormError, match="NEARNORM_DEVICE=cuda"):
        asyncio.run(start())
