import json
import os
import shutil
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import onnx
import pytest

from nearnorm.models.bundle.bundle import MANIFEST, MODEL, rename_durably, write_bundle, write_durably
from nearnorm.models.errors import BundleError, StoreError, StoreOutOfReach
from nearnorm.models.store import folder as folder_module
from nearnorm.models.store.folder import MOST_ENTRY_BYTES, ModelStore
from tests.models.made import MODEL_BYTES, make_manifest


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def publish(store: ModelStore, seed: int) -> str:
    folder = store.root.parent / f"bundle-{seed}"
    write_bundle(folder, make_manifest(seed=seed), MODEL_BYTES, {"report.html": b"<html>"})
    return store.publish(folder)


def test_a_published_bundle_is_kept_whole_under_its_version(store: ModelStore) -> None:
    version = publish(store, 0)
    assert store.versions() == [version]
    assert store.open(version).version == version
    assert (store.open(version).path / "report.html").is_file()


def test_publishing_twice_gives_one_version(store: ModelStore) -> None:
    assert publish(store, 0) == publish(store, 0)
    assert len(store.versions()) == 1


def test_a_damaged_bundle_is_not_published(store: ModelStore, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bad", make_manifest(), MODEL_BYTES)
    (tmp_path / "bad" / MODEL).write_bytes(b"tampered")
    with pytest.raises(BundleError, match="tampered"):
        store.publish(tmp_path / "bad")
    assert store.versions() == []


def test_the_newest_activation_is_the_champion_and_a_rollback_brings_the_one_before(
    store: ModelStore,
) -> None:
    first, second, third = (publish(store, seed) for seed in range(3))
    assert store.champion() is None
    for version in (first, second, third):
        store.activate(version, by="ann")
    assert store.rollback(by="ben").version == second
    assert store.rollback(by="ben").version == first
    with pytest.raises(StoreError, match="nothing to roll back to"):
        store.rollback(by="ben")
    assert [entry.action for entry in store.activations()] == ["activate"] * 3 + ["rollback"] * 2


def test_a_rollback_to_what_was_checked_is_refused_when_the_champion_changed_meanwhile(
    store: ModelStore,
) -> None:
    first, second, third = (publish(store, seed) for seed in range(3))
    for version in (first, second):
        store.activate(version, by="ann")
    checked = store.previous()
    assert checked == first
    store.activate(third, by="ben")
    with pytest.raises(StoreError, match="changed meanwhile"):
        store.rollback(by="ann", to=checked)
    assert store.rollback(by="ann", to=second).version == second


def test_a_rollback_that_another_writer_was_ahead_of_is_looked_at_anew(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (publish(store, seed) for seed in range(3))
    for version in (first, second):
        store.activate(version, by="ann")
    real = ModelStore.previous

    def ahead(self: ModelStore, model: str = "default") -> str:
        found = real(self, model)
        monkeypatch.undo()
        ModelStore(store.root).activate(third, by="ben")  # between the look and the write
        return found

    monkeypatch.setattr(ModelStore, "previous", ahead)
    with pytest.raises(StoreError, match="changed meanwhile"):
        store.rollback(by="ann", to=first)
    champion = store.champion()
    assert champion is not None
    assert champion.version == third


def test_other_files_in_the_log_are_no_entries_and_a_rollback_from_nothing_takes_nothing(
    store: ModelStore,
) -> None:
    first, second = publish(store, 0), publish(store, 1)
    store.activate(first, by="ann")
    log = store.root / "activations"
    for name in ("²².json", "1.json", "000000009.json", "00000009.json.part", "notes.json"):
        (log / name).write_text("{}")
    entry = {"number": 2, "at": "now", "action": "rollback", "model": "other", "version": first, "by": "x"}
    (log / "00000002.json").write_text(json.dumps(entry))
    store.activate(first, by="ann", model="other")
    store.activate(second, by="ann", model="other")
    assert store.previous("other") == first
    assert len(store.activations()) == 4


@pytest.mark.timeout(10)
def test_a_log_with_the_last_number_there_is_ends_in_a_sentence_and_not_in_a_search_for_ever(
    store: ModelStore,
) -> None:
    version = publish(store, 0)
    entry = store.activate(version, by="ann")
    (store.root / "activations" / f"{10**18 - 1}.json").write_text(entry.model_dump_json())
    for _ in range(2):
        with pytest.raises(StoreError, match=f"activations/{10**18 - 1}.json has the last number"):
            store.activate(version, by="ann")


@pytest.mark.timeout(10)
def test_an_entry_that_is_a_fifo_is_told_at_once(store: ModelStore) -> None:
    store.activate(publish(store, 0), by="ann")
    os.mkfifo(store.root / "activations" / "00000002.json")
    with pytest.raises(StoreOutOfReach, match=r"00000002\.json cannot be read: it is no plain file"):
        store.champion()


@pytest.mark.parametrize("version", ["", "..", "a\0b", "é" * 64, "a" * 300, "A" * 64])
def test_what_is_no_version_is_not_looked_for(store: ModelStore, version: str) -> None:
    publish(store, 0)
    with pytest.raises(StoreError, match="no model version"):
        store.open(version)


@pytest.mark.timeout(10)
def test_a_fifo_beside_a_bundle_is_not_copied_and_waits_for_nobody(store: ModelStore, tmp_path: Path) -> None:
    publish(store, 0)
    folder = tmp_path / "bundle-1"
    write_bundle(folder, make_manifest(seed=1), MODEL_BYTES)
    os.mkfifo(folder / "report.html")
    version = store.publish(folder)
    assert not (store.open(version).path / "report.html").exists()


def test_a_model_with_a_loop_is_not_published(store: ModelStore, tmp_path: Path) -> None:
    loop = onnx.helper.make_node("Loop", ["", "", "x"], ["y"])
    model = onnx.ModelProto(graph=onnx.GraphProto(node=[loop])).SerializeToString()
    write_bundle(tmp_path / "bad", make_manifest(model), model)
    with pytest.raises(BundleError, match="uses the operator 'Loop'"):
        store.publish(tmp_path / "bad")
    assert store.versions() == []


def test_activating_after_a_rollback_goes_on_from_there(store: ModelStore) -> None:
    first, second, third = (publish(store, seed) for seed in range(3))
    store.activate(first, by="ann")
    store.activate(second, by="ann")
    store.rollback(by="ann")
    store.activate(third, by="ann")
    assert store.rollback(by="ann").version == first


def test_models_have_champions_of_their_own(store: ModelStore) -> None:
    first, second = publish(store, 0), publish(store, 1)
    store.activate(first, by="ann", model="cards")
    store.activate(second, by="ann", model="logins")
    champion = store.champion("cards")
    assert champion is not None
    assert champion.version == first


def test_an_unknown_version_cannot_be_activated(store: ModelStore) -> None:
    for version in ("0" * 64, "../models", ""):
        with pytest.raises(StoreError, match="no model version"):
            store.activate(version, by="ann")


def test_a_prefix_finds_its_version_only_if_it_is_the_only_one(store: ModelStore) -> None:
    version = publish(store, 0)
    publish(store, 1)
    assert store.resolve(version[:12]) == version
    for prefix in ("", "zz"):
        with pytest.raises(StoreError, match="begins with"):
            store.resolve(prefix)


def test_concurrent_activations_are_all_in_the_log(store: ModelStore) -> None:
    version = publish(store, 0)
    threads = [threading.Thread(target=store.activate, args=(version, f"t{i}")) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = store.activations()
    assert [entry.number for entry in entries] == list(range(1, 9))
    assert {entry.by for entry in entries} == {f"t{i}" for i in range(8)}


def test_a_damaged_log_entry_is_named(store: ModelStore) -> None:
    store.activate(publish(store, 0), by="ann")
    (store.root / "activations" / "00000002.json").write_text("{")
    with pytest.raises(StoreError, match=r"00000002\.json is not an entry"):
        store.champion()


def test_a_log_that_was_replaced_is_read_anew(store: ModelStore) -> None:
    first, second = publish(store, 0), publish(store, 1)
    store.activate(first, by="ann")
    store.activate(first, by="ann")
    assert [entry.version for entry in store.activations()] == [first, first]
    shutil.rmtree(store.root / "activations")
    ModelStore(store.root).activate(second, by="ben")
    assert [entry.version for entry in store.activations()] == [second]


def test_a_bundle_that_is_damaged_while_it_is_copied_is_not_published(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_end(path: Path, content: bytes) -> None:
        write_durably(path, content[:-1] if path.name == MODEL else content)

    monkeypatch.setattr("nearnorm.models.store.folder.write_durably", lose_the_end)
    with pytest.raises(BundleError):
        publish(store, 0)
    assert list((store.root / "versions").iterdir()) == []


def test_a_version_that_holds_another_one_is_not_opened(store: ModelStore) -> None:
    versions = store.root / "versions"
    first, second = publish(store, 0), publish(store, 1)
    shutil.rmtree(versions / second)
    (versions / first).rename(versions / second)
    with pytest.raises(BundleError, match=f"holds version {first}: the store was changed by hand"):
        store.open(second)


def test_versions_are_listed_oldest_first_and_without_what_is_being_published(store: ModelStore) -> None:
    made = [publish(store, seed) for seed in range(4)]
    for age, version in enumerate(made):
        os.utime(store.root / "versions" / version, (1_000 - age, 1_000 - age))
    (store.root / "versions" / ".publish-x").mkdir()
    (store.root / "versions" / ".publish-x" / MANIFEST).touch()
    assert store.versions() == made[::-1]


def test_a_prefix_of_several_versions_tells_how_many(store: ModelStore) -> None:
    for name in ("aa1", "aa2"):
        (store.root / "versions" / name).mkdir(parents=True)
        (store.root / "versions" / name / MANIFEST).touch()
    with pytest.raises(StoreError, match=r"^2 versions begin with 'aa'"):
        store.resolve("aa")
    with pytest.raises(StoreError, match=r"^no version begins with 'b'"):
        store.resolve("b")


def test_an_entry_says_when_in_utc(store: ModelStore) -> None:
    assert datetime.fromisoformat(store.activate(publish(store, 0), by="ann").at).utcoffset() == timedelta(0)


def test_an_entry_is_read_once_however_often_the_log_is_followed(store: ModelStore) -> None:
    entry = store.activate(publish(store, 0), by="ann")
    assert store.activations() == [entry]
    (store.root / "activations" / "00000001.json").write_text("{")
    assert store.activations() == [entry]


def test_publishing_what_the_store_has_broken_mends_it(store: ModelStore) -> None:
    version = publish(store, 0)
    (store.root / "versions" / version / MODEL).write_bytes(b"broken")
    assert publish(store, 0) == version
    assert store.open(version).model == MODEL_BYTES
    assert store.versions() == [version]


def test_of_two_publishers_of_one_version_both_succeed(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rename_durably

    def second(source: Path, target: Path) -> None:
        shutil.copytree(source, target)  # the other one was just ahead
        real(source, target)

    monkeypatch.setattr(folder_module, "rename_durably", second)
    version = publish(store, 0)
    assert store.versions() == [version]
    assert [path.name for path in (store.root / "versions").iterdir()] == [version], "no half is left"


def test_activating_what_serves_already_is_no_step_to_roll_back_to(store: ModelStore) -> None:
    first, second = publish(store, 0), publish(store, 1)
    for version in (first, second, second):
        store.activate(version, by="ann")
    assert store.rollback(by="ann").version == first


def test_a_file_in_the_place_of_a_folder_is_told_and_not_tried_for_ever(store: ModelStore) -> None:
    version = publish(store, 0)
    (store.root / "activations").write_bytes(b"")
    with pytest.raises(StoreOutOfReach, match="activations cannot be written"):
        store.activate(version, by="ann")


def test_what_a_killed_publisher_left_is_removed_after_a_day_and_not_while_it_may_be_at_work(
    store: ModelStore,
) -> None:
    publish(store, 0)
    old, young = (store.root / "versions" / f".publish-{name}" for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir()
    long_ago = time.time() - folder_module.ABANDONED_AFTER - 60
    os.utime(old, (long_ago, long_ago))
    publish(store, 1)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_published_version_can_be_read_by_whoever_serves_as_another_user(store: ModelStore) -> None:
    folder = store.root / "versions" / publish(store, 0)
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_reason_is_kept_with_the_entry_and_without_one_the_entry_is_as_it_was(store: ModelStore) -> None:
    first, second = publish(store, 0), publish(store, 1)
    store.activate(first, by="ann")
    store.activate(second, by="ann", reason="it finds more")
    store.rollback(by="ben", reason="it does not")
    assert [entry.reason for entry in store.activations()] == [None, "it finds more", "it does not"]
    assert "reason" not in json.loads((store.root / "activations" / "00000001.json").read_text())
    with pytest.raises(StoreError, match="give a sentence"):
        store.activate(second, by="ann", reason="x" * MOST_ENTRY_BYTES)
    assert len(store.activations()) == 3
