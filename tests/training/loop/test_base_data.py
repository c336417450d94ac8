"""Base data that is not what the champion was trained on: told, and refused under NEARNORM_TRUSTED_KEYS."""

import shutil
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.manifest import Manifest
from nearnorm.models.data.files.read import read_table
from nearnorm.models.data.schema import FeatureSchema
from nearnorm.models.errors import BundleError, DataError
from nearnorm.models.retraining import TrainingRequest
from nearnorm.training.dataset.known_normal import load_known_normal
from nearnorm.training.dataset.load import load
from nearnorm.training.dataset.recipe import ColumnOverride, Recipe
from nearnorm.training.dataset.source import IN_MEMORY, resolve
from nearnorm.training.loop.base_data import read_base, read_reference
from nearnorm.training.loop.retrain import retrain
from nearnorm.training.loop.snapshot import take

OWN = Recipe.read(None)


@pytest.fixture
def elsewhere(bundle: Bundle, tmp_path: Path) -> Manifest:
    """The manifest of a champion whose source was pointed at rows that somebody else labelled."""
    table = read_table(resolve(bundle.manifest.source))
    label = bundle.manifest.core.data.label_column
    at = table.schema.get_field_index(label)
    changed = table.set_column(at, label, pa.nulls(table.num_rows, pa.int8()))
    pq.write_table(changed, tmp_path / "evil.parquet")
    return bundle.manifest.model_copy(update={"source": str(tmp_path / "evil.parquet")})


def test_the_champions_own_data_is_no_change(bundle: Bundle) -> None:
    assert read_base(bundle.manifest, None, OWN, OWN, trusted=True).changed is None


def test_another_recipe_is_no_change_of_the_data(bundle: Bundle) -> None:
    column = "amount_cents"
    other = OWN.model_copy(update={"columns": {column: ColumnOverride(kind="categorical")}})
    with pytest.raises(DataError, match="was numeric and is categorical now"):  # not that it has changed
        read_base(bundle.manifest, None, other, OWN, trusted=True)


def test_changed_data_is_told_and_refused_under_trusted_keys_unless_the_operator_names_it(
    elsewhere: Manifest,
) -> None:
    told = f"the base data {elsewhere.source} has changed since the champion was trained on it"
    assert read_base(elsewhere, None, OWN, OWN, trusted=False).changed == told
    with pytest.raises(DataError, match=r"has changed .* name the data that you trust by NEARNORM_TRAINING"):
        read_base(elsewhere, None, OWN, OWN, trusted=True)
    assert read_base(elsewhere, elsewhere.source, OWN, OWN, trusted=True).changed == told


def test_a_champion_of_a_frame_in_memory_wants_a_file_of_its_rows(bundle: Bundle) -> None:
    source = resolve(bundle.manifest.source)
    notebook = bundle.manifest.model_copy(update={"source": f"{IN_MEMORY}X"})
    with pytest.raises(DataError, match=r"trained on a frame in memory.*by NEARNORM_TRAINING_DATA"):
        read_base(notebook, None, OWN, OWN, trusted=False)
    assert read_base(notebook, source, OWN, OWN, trusted=False).changed is None


def test_a_retrained_champion_remembers_the_base_data_and_not_the_labels_that_came_later(
    bundle: Bundle,
) -> None:
    facts = bundle.manifest.core.data
    base = load(resolve(bundle.manifest.source), facts.label_column, time_column=facts.time_column)
    record = dict.fromkeys((f.name for f in bundle.manifest.core.features.scored), 1)
    after = take(base, [record], []).data.facts
    assert after.digest != facts.digest
    assert after.base_digest == facts.digest
    core = bundle.manifest.core.model_copy(update={"data": after})
    retrained = bundle.manifest.model_copy(update={"core": core})
    assert read_base(retrained, None, OWN, OWN, trusted=True).changed is None


def test_a_retraining_refuses_what_was_put_in_the_champions_place(bundle: Bundle, tmp_path: Path) -> None:
    request = TrainingRequest(champion=str(bundle.path), version="0" * 64, budget=0.01)
    (tmp_path / "request.json").write_bytes(msgspec.json.encode(request))
    with pytest.raises(BundleError, match="holds another version by now"):
        retrain(tmp_path)


def test_a_retraining_under_trusted_keys_ends_before_it_learns_from_changed_data(
    bundle: Bundle, elsewhere: Manifest, tmp_path: Path
) -> None:
    champion = tmp_path / "champion"
    shutil.copytree(bundle.path, champion)
    (champion / "manifest.json").write_text(elsewhere.model_dump_json())
    request = TrainingRequest(champion=str(champion), version=bundle.version, budget=0.01, trusted=True)
    (tmp_path / "request.json").write_bytes(msgspec.json.encode(request))
    with pytest.raises(DataError, match="has changed since the champion was trained"):
        retrain(tmp_path)
    assert not (tmp_path / "bundle").exists()


@pytest.fixture
def calibrated(bundle: Bundle, tmp_path: Path) -> Manifest:
    """The manifest of a champion that rows known to be normal calibrated."""
    table = read_table(resolve(bundle.manifest.source)).drop_columns([bundle.manifest.core.data.label_column])
    pq.write_table(table.slice(0, 300), tmp_path / "clean.parquet")
    return _calibrated_by(bundle.manifest, str(tmp_path / "clean.parquet"))


def _calibrated_by(manifest: Manifest, source: str) -> Manifest:
    sample = load_known_normal(source, "label", manifest.core.features)
    reference = manifest.core.reference.model_copy(update={"sample": sample.digest})
    core = manifest.core.model_copy(update={"reference": reference})
    return manifest.model_copy(update={"core": core, "reference_source": source})


def test_a_champion_without_a_known_reference_has_none_whatever_stands_outside_its_core(
    bundle: Bundle, calibrated: Manifest
) -> None:
    pointed = bundle.manifest.model_copy(update={"reference_source": calibrated.reference_source})
    assert read_reference(pointed, None, pointed.core.features, trusted=False) == (None, None)
    named, _ = read_reference(pointed, calibrated.reference_source, pointed.core.features, trusted=True)
    assert named is not None, "the operator may bring one"


def test_a_known_reference_is_kept_by_another_schema_too(calibrated: Manifest) -> None:
    schema = calibrated.core.features
    fewer = FeatureSchema(features=tuple(f for f in schema.features if f.name != schema.scored[0].name))
    sample, changed = read_reference(calibrated, None, fewer, trusted=True)
    assert sample is not None
    assert (sample.source, changed) == (calibrated.reference_source, None)


def test_a_changed_reference_is_told_and_refused_under_trusted_keys_unless_the_operator_names_it(
    calibrated: Manifest,
) -> None:
    source, schema = str(calibrated.reference_source), calibrated.core.features
    pq.write_table(pq.read_table(source).slice(1), source)
    told = f"the reference {source} has changed since the champion was calibrated by it"
    assert read_reference(calibrated, None, schema, trusted=False)[1] == told
    with pytest.raises(DataError, match=r"has changed .* rows that you trust by NEARNORM_REFERENCE_DATA"):
        read_reference(calibrated, None, schema, trusted=True)
    assert read_reference(calibrated, source, schema, trusted=True)[1] == told


def test_a_known_reference_that_is_gone_ends_a_retraining_instead_of_another_taking_its_place(
    calibrated: Manifest,
) -> None:
    Path(str(calibrated.reference_source)).unlink()
    with pytest.raises(DataError, match=r"clean\.parquet does not exist"):
        read_reference(calibrated, None, calibrated.core.features, trusted=False)
    nowhere = calibrated.model_copy(update={"reference_source": None})
    with pytest.raises(DataError, match="name them by NEARNORM_REFERENCE_DATA"):
        read_reference(nowhere, None, calibrated.core.features, trusted=False)
