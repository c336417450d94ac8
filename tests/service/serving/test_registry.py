"""What serves follows the store's log; what cannot serve changes nothing."""

import asyncio
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearnorm.models.bundle import MANIFEST, MODEL, Bundle
from nearnorm.models.errors import NearnormError
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.serving import registry as slots_module
from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving

REQUEST = {"records": [{"amount": 61.5, "channel": "web"}]}


@pytest.fixture
def home(tmp_path: Path, bundle: Bundle) -> Path:
    return home_with(tmp_path / "home", bundle)


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr(slots_module, "RETRY_SECONDS", 0.2)
    with serving(create_app(Settings(home=home))) as client:
        yield client


def ready(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/readyz").json()
    return found


def version(client: httpx.Client) -> str:
    found: str = client.post("/score", json=REQUEST).json()["model"]["version"]
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_an_activation_is_followed_within_five_seconds_and_a_rollback_too(
    client: httpx.Client, home: Path, bundle: Bundle, other_bundle: Bundle
) -> None:
    store = ModelStore(home / "models")
    assert version(client) == bundle.version
    store.activate(store.publish(other_bundle.path), by="test")
    wait_for(lambda: version(client) == other_bundle.version)
    store.rollback(by="test")
    wait_for(lambda: version(client) == bundle.version)


def test_a_swap_fails_no_request(
    client: httpx.Client, home: Path, bundle: Bundle, other_bundle: Bundle
) -> None:
    store = ModelStore(home / "models")
    store.publish(other_bundle.path)
    statuses: list[int] = []
    seen: set[str] = set()
    stop = threading.Event()

    def send() -> None:
        with httpx.Client(base_url=client.base_url) as own:
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
        wait_for(lambda: chosen.version in seen)  # noqa: B023 - awaited within this turn
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
    wait_for(lambda: bool(ready(client)["problems"]))
    found = ready(client)
    assert found["ready"] is True
    assert "golden rows" in found["problems"][0]
    assert version(client) == bundle.version
    assert 'nearnorm_model_load_failures_total{model="default"} 1.0' in client.get("/metrics").text
    store.rollback(by="test")
    wait_for(lambda: not ready(client)["problems"])


def test_a_version_whose_files_come_later_is_taken_when_they_are_there(
    client: httpx.Client, home: Path, other_bundle: Bundle, tmp_path: Path
) -> None:
    store = ModelStore(home / "models")
    store.activate(store.publish(other_bundle.path), by="test")
    folder = home / "models" / "versions" / other_bundle.version
    folder.rename(tmp_path / "away")
    wait_for(lambda: bool(ready(client)["problems"]) or version(client) == other_bundle.version)
    (tmp_path / "away").rename(folder)
    wait_for(lambda: version(client) == other_bundle.version)
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
        assert str(tmp_path / "models") in found.json()["problems"][0]


def test_cuda_that_is_not_there_keeps_the_service_from_starting(home: Path) -> None:
    app = create_app(Settings(home=home, device="cuda"))

    async def start() -> None:
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(NearnormError, match="NEARNORM_DEVICE=cuda"):
        asyncio.run(start())
