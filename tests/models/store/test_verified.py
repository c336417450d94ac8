"""What was verified is not verified again, unless anything about its files has changed."""

from pathlib import Path

import pytest

from nearnorm.models import canonical
from nearnorm.models.bundle import bundle as bundle_module
from nearnorm.models.bundle.bundle import MANIFEST, MODEL, Bundle, write_bundle
from nearnorm.models.errors import BundleError, StoreError
from nearnorm.models.store.deletions import Deletion
from nearnorm.models.store.folder import ModelStore
from nearnorm.models.store.verified import VerifiedVersions
from tests.models.made import MODEL_BYTES, make_manifest


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "own", make_manifest(), MODEL_BYTES)


@pytest.fixture
def store(tmp_path: Path, bundle: Bundle) -> ModelStore:
    store = ModelStore(tmp_path / "models")
    store.publish(bundle.path)
    return store


def digests(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The manifests whose digests were computed."""
    found: list[object] = []
    digest = canonical.digest

    def counted(core: object) -> str:
        found.append(core)
        return digest(core)

    monkeypatch.setattr(bundle_module, "digest", counted)
    return found


def test_the_second_time_a_version_is_the_same_and_its_digest_is_not_computed(
    store: ModelStore, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions, computed = VerifiedVersions(store), digests(monkeypatch)
    first, again = versions.open(bundle.version), versions.open(bundle.version)
    assert len(computed) == 1
    assert first == again


@pytest.mark.parametrize("name", [MANIFEST, MODEL])
def test_a_file_that_was_changed_is_verified_again_and_refused(
    store: ModelStore, bundle: Bundle, name: str
) -> None:
    versions = VerifiedVersions(store)
    versions.open(bundle.version)
    path = store.root / "versions" / bundle.version / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError):
        versions.open(bundle.version)


def test_a_version_that_was_deleted_is_not_there(store: ModelStore, bundle: Bundle) -> None:
    versions = VerifiedVersions(store)
    versions.open(bundle.version)
    store.deletions.withdraw(Deletion(version=bundle.version, at="2026-01-01T00:00:00Z", by="test"))
    with pytest.raises(StoreError, match="deleted"):
        versions.open(bundle.version)
