"""The model store in S3 keeps the folder's promises: shown on moto's S3 server, over HTTP."""

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearnorm.models.bundle.bundle import MANIFEST, MODEL, write_bundle
from nearnorm.models.errors import BundleError, ConfigError, StoreError
from nearnorm.models.store.folder import ModelStore
from nearnorm.models.store.objects import ObjectStore
from nearnorm.models.store.open import open_store
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.models.made import MODEL_BYTES, make_manifest
from tests.models.store.s3_server import BUCKET
from tests.service.bundles import make_bundle
from tests.service.running import serving
from tests.service.scoring.test_endpoint import RECORD
from tests.service.waiting import until


@pytest.fixture
def store(s3: object, tmp_path: Path) -> ModelStore:
    return open_store(f"s3://{BUCKET}/team", tmp_path / "copies")


def another(tmp_path: Path) -> ModelStore:
    """A replica's view: the same bucket, no copies yet."""
    return open_store(f"s3://{BUCKET}/team", tmp_path / "other-copies")


def bundle(tmp_path: Path, seed: int) -> Path:
    folder = tmp_path / f"bundle-{seed}"
    write_bundle(folder, make_manifest(seed=seed), MODEL_BYTES, {"report.html": b"<html>"})
    return folder


def keys(s3: object) -> list[str]:
    return [entry.key for entry in s3.objects.all()]  # type: ignore[attr-defined]


def test_a_folder_is_a_folder_and_a_url_an_object_store(s3: object, tmp_path: Path) -> None:
    assert type(open_store(str(tmp_path), tmp_path)) is ModelStore
    assert type(open_store(f"s3://{BUCKET}", tmp_path)) is ObjectStore
    with pytest.raises(ConfigError, match="NEARNORM_MODEL_STORE=ftp://x/y cannot be used"):
        open_store("ftp://x/y", tmp_path)


def test_what_one_publishes_another_opens_whole_and_verified(store: ModelStore, tmp_path: Path) -> None:
    version = store.publish(bundle(tmp_path, 0))
    assert store.publish(bundle(tmp_path, 0)) == version
    replica = another(tmp_path)
    assert replica.versions() == [version]
    found = replica.open(version)
    assert found.model == MODEL_BYTES
    assert (found.path / "report.html").is_file()
    assert found.path.is_relative_to(tmp_path / "other-copies")


def test_a_copy_is_fetched_once(store: ModelStore, tmp_path: Path, s3: object) -> None:
    version = store.publish(bundle(tmp_path, 0))
    s3.objects.all().delete()  # type: ignore[attr-defined]
    assert store.open(version).version == version


def test_a_damaged_copy_is_fetched_again(store: ModelStore, tmp_path: Path) -> None:
    version = store.publish(bundle(tmp_path, 0))
    (store.open(version).path / MODEL).write_bytes(b"broken")
    assert store.open(version).model == MODEL_BYTES


def test_a_version_without_its_manifest_is_not_there(store: ModelStore, tmp_path: Path, s3: object) -> None:
    """A publisher that was killed half-way; the next one completes it."""
    version = store.publish(bundle(tmp_path, 0))
    s3.Object(f"team/versions/{version}/{MANIFEST}").delete()  # type: ignore[attr-defined]
    replica = another(tmp_path)
    assert replica.versions() == []
    with pytest.raises(StoreError, match="no model version"):
        replica.open(version)
    assert replica.publish(bundle(tmp_path, 0)) == version
    assert another(tmp_path).versions() == [version]


def test_a_tampered_object_is_refused_and_leaves_no_copy(
    store: ModelStore, tmp_path: Path, s3: object
) -> None:
    version = store.publish(bundle(tmp_path, 0))
    s3.Object(f"team/versions/{version}/{MODEL}").put(Body=b"tampered")  # type: ignore[attr-defined]
    replica = another(tmp_path)
    with pytest.raises(BundleError, match="tampered"):
        replica.open(version)
    copies = tmp_path / "other-copies"
    assert [path for path in copies.rglob("*") if path.is_file()] == []


def test_a_damaged_bundle_is_not_published(store: ModelStore, tmp_path: Path, s3: object) -> None:
    (bundle(tmp_path, 0) / MODEL).write_bytes(b"tampered")
    with pytest.raises(BundleError, match="tampered"):
        store.publish(tmp_path / "bundle-0")
    assert keys(s3) == []


def test_champion_and_rollback_are_those_of_the_log(store: ModelStore, tmp_path: Path) -> None:
    first, second = (store.publish(bundle(tmp_path, seed)) for seed in range(2))
    replica = another(tmp_path)
    assert replica.champion() is None
    store.activate(first, by="ann")
    store.activate(second, by="ann")
    champion = replica.champion()
    assert champion is not None
    assert champion.version == second
    assert replica.rollback(by="ben").version == first
    assert [entry.action for entry in store.activations()] == ["activate", "activate", "rollback"]
    assert sorted(store.versions()) == sorted([first, second])  # S3 tells time in whole seconds


def test_of_many_writers_each_has_an_entry_of_its_own(store: ModelStore, tmp_path: Path) -> None:
    version = store.publish(bundle(tmp_path, 0))

    def write(name: str) -> None:
        for _ in range(5):
            store.activate(version, by=name)

    writers = [threading.Thread(target=write, args=(name,)) for name in "0123"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    entries = another(tmp_path).activations()
    assert [entry.number for entry in entries] == list(range(1, 21))
    assert sorted(entry.by for entry in entries) == sorted("0123" * 5)


def test_a_store_out_of_reach_is_told_in_one_sentence(
    tmp_path: Path, s3: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    away = open_store("s3://models/team", tmp_path)
    with pytest.raises(StoreError, match="s3://models/team cannot be reached") as told:
        away.activations()
    assert "\n" not in str(told.value)


def test_the_store_s_own_words_are_for_the_machine_s_people_and_not_for_callers(
    s3: Any, endpoint: str, tmp_path: Path
) -> None:
    url = f"s3://{BUCKET}/own-words"
    store = open_store(url, tmp_path / "operator")
    store.activate(store.publish(bundle(tmp_path, 0)), by="ann")
    with serving(create_app(Settings(home=tmp_path / "home", model_store=url))) as client:
        s3.objects.all().delete()
        s3.delete()
        answer = client.get("/models")
        until(lambda: "the model store cannot be reached (404 Not Found)" in client.get("/readyz").text)
        ready = client.get("/readyz")
    s3.create()
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the model store cannot be reached (404 Not Found)"
    for told in (answer.text, ready.text):
        assert not any(words in told for words in (endpoint, url, "BucketName", "NoSuchBucket"))
    with pytest.raises(StoreError, match=rf"s3://gone/x cannot be reached \(404 Not Found\) «.*{endpoint}"):
        open_store("s3://gone/x", tmp_path).versions()


def test_the_service_serves_from_the_bucket_and_follows_it(s3: object, tmp_path: Path) -> None:
    first, second = (make_bundle(tmp_path / f"made-{seed}", seed=seed) for seed in range(2))
    url = f"s3://{BUCKET}/served"
    operator = open_store(url, tmp_path / "operator")
    operator.activate(operator.publish(first.path), by="ann")
    with serving(create_app(Settings(home=tmp_path / "home", model_store=url))) as client:
        assert served(client) == first.version
        operator.activate(operator.publish(second.path), by="ann")
        until(lambda: served(client) == second.version)


def served(client: httpx.Client) -> str:
    answer = client.post("/score", json={"records": [RECORD]}).raise_for_status().json()
    version: str = answer["model"]["version"]
    return version
