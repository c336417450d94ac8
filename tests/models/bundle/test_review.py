"""The rows that people can review: beside the bundle, never in the store, and only the model's own."""

import json
from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import Bundle, read_bundle
from nearnorm.models.bundle.review import REVIEW, REVIEWABLE, read_review
from nearnorm.models.canonical import digest
from nearnorm.models.errors import BundleError
from nearnorm.models.store.folder import ModelStore
from tests.service.bundles import make_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")


def test_the_rows_are_the_top_of_the_reference_highest_first(bundle: Bundle) -> None:
    reference = bundle.manifest.core.reference
    rows = read_review(bundle.path, bundle.manifest.core)
    assert len(rows) == REVIEWABLE < reference.rows
    assert [row.score for row in rows] == list(reference.scores[::-1][:REVIEWABLE])
    assert [(row.score, row.digest) for row in rows] == [(r.score, r.digest) for r in reference.review]
    assert set(rows[0].record) == {f.name for f in bundle.manifest.core.features.scored}


def test_no_record_goes_into_the_store(bundle: Bundle, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "store")
    kept = store.open(store.publish(bundle.path))
    assert kept.version == bundle.version
    assert not (kept.path / REVIEW).exists()
    assert read_review(kept.path, kept.manifest.core) == []


def test_a_row_of_another_models_reference_is_refused(bundle: Bundle) -> None:
    lines = (bundle.path / REVIEW).read_text().splitlines()
    row = json.loads(lines[3])
    row["record"]["amount"] += 1.0
    lines[3] = json.dumps(row)
    (bundle.path / REVIEW).write_text("\n".join(lines))
    with pytest.raises(BundleError, match="line 4: the record does not belong to this model's reference"):
        read_review(bundle.path, bundle.manifest.core)


@pytest.mark.parametrize("line", ["{", "[]", '{"record": {}}', '{"record": 1, "score": 1, "prototype": 0}'])
def test_a_damaged_line_is_named(bundle: Bundle, line: str) -> None:
    (bundle.path / REVIEW).write_text(line)
    with pytest.raises(BundleError, match="line 1: not a row of a reference"):
        read_review(bundle.path, bundle.manifest.core)


def test_a_core_whose_rows_are_not_the_top_is_refused(bundle: Bundle) -> None:
    manifest = json.loads((bundle.path / "manifest.json").read_bytes())
    manifest["core"]["reference"]["review"].pop(0)
    manifest["version"] = digest(manifest["core"])
    (bundle.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="review is not the top of the reference"):
        read_bundle(bundle.path)
