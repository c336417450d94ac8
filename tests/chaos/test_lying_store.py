"""An object store that lies about a write, or is away: nothing is believed that cannot be read again."""

from collections.abc import Iterator
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import httpx
import pytest
from moto.server import ThreadedMotoServer

from nearnorm.models.bundle.bundle import write_bundle
from nearnorm.models.errors import StoreOutOfReach
from nearnorm.models.store.folder import ModelStore
from nearnorm.models.store.open import open_store
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.chaos.lying import LyingStore, lying_store
from tests.models.made import MODEL_BYTES, make_manifest
from tests.service.asking import problem
from tests.service.bundles import make_bundle
from tests.service.running import serving
from tests.service.scoring.test_endpoint import RECORD


@pytest.fixture(scope="module")
def proxy() -> Iterator[LyingStore]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with lying_store(f"http://{host}:{port}") as proxy:
        yield proxy
    server.stop()


@pytest.fixture
def place(proxy: LyingStore, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of this test's own, behind a proxy that tells the truth until it is told not to."""
    proxy.lies("none", "")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": proxy.url,
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"b{abs(hash(request.node.name))}"
    boto3.resource("s3", endpoint_url=f"http://{proxy.upstream}", region_name="us-east-1").create_bucket(
        Bucket=name
    )
    return f"s3://{name}/models"


def view(place: str, tmp_path: Path, who: str) -> ModelStore:
    return open_store(place, tmp_path / who)


def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    write_bundle(folder, make_manifest(), MODEL_BYTES, {"report.html": b"<html>"})
    return folder


@pytest.mark.parametrize("lie", ["drops", "cuts"])
@pytest.mark.parametrize("file", ["model.onnx", "manifest.json"])
def test_a_version_that_the_store_did_not_keep_is_told_and_can_be_published_again(
    place: str, proxy: LyingStore, tmp_path: Path, lie: str, file: str
) -> None:
    store = view(place, tmp_path, "publisher")
    proxy.lies("drops" if lie == "drops" else "cuts", file)
    with pytest.raises(StoreOutOfReach, match="did not keep what it took") as told:
        store.publish(bundle(tmp_path))
    assert "\n" not in str(told.value)
    version = store.publish(bundle(tmp_path))
    assert view(place, tmp_path, "replica").open(version).version == version


@pytest.mark.parametrize("lie", ["drops", "cuts"])
def test_an_activation_that_the_store_did_not_keep_is_stored_again_or_told(
    place: str, proxy: LyingStore, tmp_path: Path, lie: str
) -> None:
    store, replica = view(place, tmp_path, "operator"), view(place, tmp_path, "replica")
    version = store.publish(bundle(tmp_path))
    proxy.lies("drops" if lie == "drops" else "cuts", "activations")
    store.activate(version, by="ann")
    assert [entry.by for entry in replica.activations()] == ["ann"]
    proxy.lies("drops", "activations", times=9)
    with pytest.raises(StoreOutOfReach, match="did not keep activations/00000002"):
        store.activate(version, by="ben")
    proxy.lies("none", "")
    store.activate(version, by="cay")
    assert [entry.by for entry in replica.activations()] == ["ann", "cay"]


def test_a_store_that_is_away_holds_up_operators_and_nobody_else(
    place: str, proxy: LyingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_bundle(tmp_path / "made")
    operator = view(place, tmp_path, "operator")
    operator.activate(operator.publish(made.path), by="ann")
    with serving(create_app(Settings(home=tmp_path / "home", model_store=place))) as client:
        proxy.lies("away", "")
        asked: list[httpx.Response] = [
            client.get("/models"),
            client.post(f"/models/{made.version}/activate"),
            client.post("/models/rollback"),
        ]
        for answer in asked:
            assert "the model store" in problem(answer, 503, "store-unavailable")["detail"]
            assert answer.headers["Retry-After"] == "5"
        scored = client.post("/score", json={"records": [RECORD]})
        assert scored.json()["model"]["version"] == made.version
        proxy.lies("none", "")
        assert client.post(f"/models/{made.version}/activate").status_code == 200
