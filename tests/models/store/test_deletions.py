"""Versions are deleted for everybody, and none goes that somebody needs: in a folder and in S3."""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from nearnorm.models.bundle.bundle import MANIFEST, read_bundle, write_bundle
from nearnorm.models.errors import StoreError
from nearnorm.models.store import folder as folder_module
from nearnorm.models.store.deleting import delete
from nearnorm.models.store.deletions import Deletion
from nearnorm.models.store.folder import ModelStore
from nearnorm.models.store.in_use import in_use
from nearnorm.models.store.open import open_store
from tests.models.made import MODEL_BYTES, make_manifest
from tests.models.store.s3_server import BUCKET

View = Callable[[str], ModelStore]


@pytest.fixture(params=["folder", "s3"])
def view(request: pytest.FixtureRequest, tmp_path: Path) -> View:
    """The one store as a machine sees it."""
    if request.param == "folder":
        return lambda machine: open_store(str(tmp_path / "models"), tmp_path / machine)
    request.getfixturevalue("s3")
    return lambda machine: open_store(f"s3://{BUCKET}/team", tmp_path / machine)


@pytest.fixture
def store(view: View) -> ModelStore:
    return view("operator")


def made(folder: Path, seed: int) -> Path:
    write_bundle(folder / f"bundle-{seed}", make_manifest(seed=seed), MODEL_BYTES, {"report.html": b"<html>"})
    return folder / f"bundle-{seed}"


@pytest.fixture
def versions(store: ModelStore, tmp_path: Path) -> list[str]:
    """Four, of which the third and then the fourth served."""
    found = [store.publish(made(tmp_path, seed)) for seed in range(4)]
    store.activate(found[2], by="ann")
    store.activate(found[3], by="ann")
    return found


def gone(store: ModelStore, version: str, needed: Callable[[], dict[str, str]] | None = None) -> None:
    delete(store, version, "cli:mei", needed or (lambda: in_use(store)), "too old")


def test_a_deleted_version_is_gone_for_everybody_and_whoever_asks_is_told_when(
    store: ModelStore, view: View, versions: list[str]
) -> None:
    gone(store, versions[0])
    for one in (store, view("replica")):
        assert sorted(one.versions()) == sorted(versions[1:])
        for ask in (
            one.open,
            one.check,
            one.resolve,
            lambda version, one=one: one.activate(version, by="ann"),
        ):
            with pytest.raises(StoreError, match=rf"version {versions[0]} was deleted on 20\d\d-\d\d-\d\d"):
                ask(versions[0])
    noted = store.deletions.find(versions[0])
    assert noted is not None
    assert (noted.by, noted.reason) == ("cli:mei", "too old")
    with pytest.raises(StoreError, match="was deleted"):
        gone(store, versions[0])


def test_a_version_that_was_deleted_can_be_imported_again(
    store: ModelStore, versions: list[str], tmp_path: Path
) -> None:
    gone(store, versions[0])
    assert store.publish(tmp_path / "bundle-0") == versions[0]
    assert store.open(versions[0]).model == MODEL_BYTES
    assert store.deletions.versions() == []


def test_champions_of_all_models_and_what_rollbacks_put_back_stay(
    store: ModelStore, versions: list[str], tmp_path: Path
) -> None:
    other = store.publish(made(tmp_path, 9))
    store.activate(other, by="ann", model="cards")
    for version, why in (
        (versions[2], "a rollback of 'default' puts it back"),
        (versions[3], "it is the champion of 'default'"),
        (other, "it is the champion of 'cards'"),
    ):
        with pytest.raises(StoreError, match=f"{version} stays: {why}"):
            gone(store, version)
        assert store.open(version).version == version
    assert store.deletions.versions() == []


def test_a_version_that_is_activated_while_it_is_deleted_stays(
    store: ModelStore, view: View, versions: list[str]
) -> None:
    looks: list[dict[str, str]] = []

    def needed() -> dict[str, str]:
        found = in_use(store)
        if not looks:
            view("other").activate(versions[0], by="ann")  # right after the first look
        looks.append(found)
        return found

    with pytest.raises(StoreError, match="stays: it is the champion"):
        gone(store, versions[0], needed)
    assert len(looks) == 2
    assert store.open(versions[0]).version == versions[0]
    assert versions[0] in store.versions()
    assert store.deletions.versions() == []


def test_an_activation_of_what_is_deleted_meanwhile_is_taken_back_and_told(
    store: ModelStore, view: View, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ModelStore._append

    def late(self: ModelStore, number: int, action: Any, version: str, *rest: Any) -> Any:
        if action == "activate":
            gone(view("other"), version)  # after both its looks the entry comes
        return real(self, number, action, version, *rest)

    monkeypatch.setattr(ModelStore, "_append", late)
    with pytest.raises(StoreError, match="was deleted on"):
        store.activate(versions[0], by="ann")
    champion = store.champion()
    assert champion is not None
    assert champion.version == versions[3]
    assert champion.reason == f"{versions[0]} was deleted meanwhile"


def test_of_activations_and_deletions_at_once_every_champion_is_there(
    view: View, versions: list[str], tmp_path: Path
) -> None:
    def activate(machine: str) -> None:
        store = view(machine)
        for turn in range(8):
            with suppress(StoreError):
                store.activate(versions[turn % 3], by=machine)

    def delete_all(machine: str) -> None:
        store = view(machine)
        for turn in range(8):
            with suppress(StoreError):
                gone(store, versions[turn % 3])
            store.publish(tmp_path / f"bundle-{(turn + 1) % 3}")

    machines = [threading.Thread(target=activate, args=(f"a{i}",)) for i in range(2)]
    machines += [threading.Thread(target=delete_all, args=("d",))]
    for machine in machines:
        machine.start()
    for machine in machines:
        machine.join()
    champion = view("fresh").champion()
    assert champion is not None
    assert view("fresh").open(champion.version).version == champion.version


def test_what_a_deleter_that_was_killed_had_withdrawn_is_removed_after_a_day(
    store: ModelStore,
    versions: list[str],
    tmp_path: Path,
    left: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.deletions.withdraw(Deletion(version=versions[0], at="2026-11-30T00:00:00Z", by="ann"))
    assert versions[0] not in store.versions()
    store.sweep()
    assert left()
    monkeypatch.setattr(folder_module, "ABANDONED_AFTER", -5.0)
    store.sweep()
    assert left() == []
    assert store.publish(tmp_path / "bundle-0") == versions[0]


@pytest.fixture
def left(request: pytest.FixtureRequest, view: View, tmp_path: Path) -> Callable[[], list[str]]:
    """What is left of a version that was withdrawn: names of its files that nobody opens any more."""
    if "folder" in request.node.name:
        return lambda: [str(path) for path in (tmp_path / "models/versions").glob(".deleted-*/*")]
    bucket = request.getfixturevalue("s3")
    return lambda: [o.key for o in bucket.objects.all() if o.key.endswith(f"/deleted-{MANIFEST}")]


def test_a_copy_that_outlived_its_version_cannot_be_activated_and_is_swept(
    s3: object, tmp_path: Path
) -> None:
    operator, replica = (open_store(f"s3://{BUCKET}/team", tmp_path / name) for name in ("one", "two"))
    version = operator.publish(made(tmp_path, 0))
    copy = replica.open(version).path
    gone(operator, version)
    assert replica.open(version).model == MODEL_BYTES, "what serves needs no bucket"
    with pytest.raises(StoreError, match="was deleted"):
        replica.activate(version, by="ann")
    replica.sweep()
    assert not copy.exists()
    with pytest.raises(StoreError, match="was deleted"):
        replica.open(version)


def test_a_version_that_goes_while_it_is_read_is_told_as_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path / "models"), tmp_path)
    version = store.publish(made(tmp_path, 0))
    real = read_bundle

    def slow(folder: Path) -> Any:
        gone(store, version)  # between the folder and its files
        return real(folder)

    monkeypatch.setattr(folder_module, "read_bundle", slow)
    with pytest.raises(StoreError, match="was deleted on"):
        store.open(version)


def test_a_note_that_is_none_is_told(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "models"), tmp_path)
    version = store.publish(made(tmp_path, 0))
    gone(store, version)
    (tmp_path / "models/deleted" / f"{version}.json").write_text("{}")
    with pytest.raises(StoreError, match="is no note of a deletion"):
        store.open(version)
