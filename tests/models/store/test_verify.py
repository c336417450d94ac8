"""A store that is not as it was written is found: digests, and what the log needs. In a folder and in S3."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from nearnorm.models.bundle.bundle import MANIFEST, MODEL, write_bundle
from nearnorm.models.errors import StoreOutOfReach
from nearnorm.models.store.deleting import delete
from nearnorm.models.store.folder import ModelStore
from nearnorm.models.store.open import open_store
from nearnorm.models.store.verify import verify
from tests.models.made import MODEL_BYTES, make_manifest
from tests.models.store.s3_server import BUCKET


class Damageable:
    """A store, and its files as somebody else may damage them."""

    def __init__(self, tmp_path: Path, bucket: Any) -> None:
        self.bucket, self.root = bucket, tmp_path / "models"
        self.store: ModelStore = open_store(
            f"s3://{BUCKET}/team" if bucket else str(self.root), tmp_path / "copies"
        )

    def write(self, version: str, name: str, content: bytes) -> None:
        if self.bucket:
            self.bucket.Object(f"team/versions/{version}/{name}").put(Body=content)
        else:
            (self.root / "versions" / version / name).write_bytes(content)

    def lose(self, version: str) -> None:
        if self.bucket:
            self.bucket.objects.filter(Prefix=f"team/versions/{version}").delete()
        else:
            shutil.rmtree(self.root / "versions" / version)


@pytest.fixture(params=["folder", "s3"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Damageable:
    return Damageable(tmp_path, request.getfixturevalue("s3") if request.param == "s3" else None)


@pytest.fixture
def versions(kept: Damageable, tmp_path: Path) -> list[str]:
    """Three, of which the last serves."""
    found = []
    for seed in range(3):
        write_bundle(tmp_path / f"bundle-{seed}", make_manifest(seed=seed), MODEL_BYTES)
        found.append(kept.store.publish(tmp_path / f"bundle-{seed}"))
    kept.store.activate(found[2], by="ann")
    return found


def test_a_store_as_it_was_written_has_nothing_wrong(kept: Damageable, versions: list[str]) -> None:
    assert dict(verify(kept.store)) == dict.fromkeys(versions)


def test_a_changed_file_is_found_in_the_store_itself_though_a_copy_is_whole(
    kept: Damageable, versions: list[str]
) -> None:
    kept.write(versions[0], MODEL, b"rotten")
    kept.write(versions[1], MANIFEST, b"{")
    found = dict(verify(kept.store))
    assert "does not have the digest" in str(found[versions[0]])
    assert "is not JSON" in str(found[versions[1]])
    assert found[versions[2]] is None
    assert dict(verify(kept.store, [versions[2]])) == {versions[2]: None}


def test_a_champion_that_is_gone_is_found_and_another_that_was_deleted_is_not(
    kept: Damageable, versions: list[str]
) -> None:
    delete(kept.store, versions[0], "ann", dict)
    kept.lose(versions[2])
    why = f"version {versions[2]} is not in the store, and it is the champion of 'default'"
    assert dict(verify(kept.store)) == {versions[1]: None, versions[2]: why}
    assert "was deleted on" in str(dict(verify(kept.store, [versions[0]]))[versions[0]])


def test_a_store_that_is_away_is_no_damage(
    s3: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StoreOutOfReach):
        list(verify(open_store(f"s3://{BUCKET}/team", tmp_path)))
