"""A category is one however its letters were typed: ü as one character, or as u and two dots."""

import json
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest

from nearnorm.models.data.schema import UNKNOWN_CODE, Feature, FeatureSchema, Kind
from nearnorm.training.dataset.columns.infer import infer_schema
from tests.contract.test_coercions import Way, as_arrow, as_columns, as_csv, as_frame, as_parquet, as_record

COMPOSED = "Zürich"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize("kind", [Kind.CATEGORICAL, Kind.CODE])
@pytest.mark.parametrize("way", [as_record, as_columns, as_arrow, as_parquet, as_frame, as_csv])
def test_a_category_is_known_in_either_form_on_every_way_in(way: Way, kind: Kind, tmp_path: Path) -> None:
    city = Feature(name="x", kind=kind, categories=("Bern", COMPOSED))
    schema = FeatureSchema(features=(city, Feature(name="other", kind=Kind.NUMERIC)))
    for form in (COMPOSED, DECOMPOSED):
        assert way(schema, json.dumps(form), tmp_path) == COMPOSED


def test_training_learns_one_category_of_both_forms() -> None:
    column = pa.array([COMPOSED, DECOMPOSED, "Bern"] * 100).dictionary_encode()
    found = infer_schema(pa.table({"city": column}), {}).schema.features[0]
    assert found.categories == (COMPOSED, "Bern")


def test_a_model_that_learnt_the_other_form_goes_on_and_long_texts_stay_as_they_are() -> None:
    older = Feature(name="city", kind=Kind.CATEGORICAL, categories=(DECOMPOSED,))
    assert older.code(DECOMPOSED) != UNKNOWN_CODE
    assert older.code(DECOMPOSED * 1_000) == UNKNOWN_CODE
