import pytest
from pydantic import ValidationError

from nearnorm.models.canonical import canonical_json, digest
from nearnorm.models.data.schema import Feature, FeatureSchema, Kind

FEATURES = (
    Feature(name="s", kind=Kind.CATEGORICAL, categories=("a", "b")),
    Feature(name="id", kind=Kind.IGNORED, reason="constant"),
    Feature(name="flag", kind=Kind.BOOLEAN),
    Feature(name="x", kind=Kind.NUMERIC),
)


def test_numbers_and_booleans_come_first_among_what_is_scored() -> None:
    schema = FeatureSchema(features=FEATURES)
    assert [f.name for f in schema.scored] == ["flag", "x", "s"]
    assert [f.name for f in schema.ignored] == ["id"]


def test_categories_have_codes_from_two_on() -> None:
    assert FEATURES[0].code_of == {"a": 2, "b": 3}


def test_a_name_cannot_be_used_twice() -> None:
    with pytest.raises(ValidationError, match="features named twice: x"):
        FeatureSchema(features=(FEATURES[3], FEATURES[3]))


def test_the_digest_tells_schemas_apart_and_survives_json() -> None:
    schema = FeatureSchema(features=FEATURES)
    again = FeatureSchema.model_validate_json(schema.model_dump_json())
    assert again.digest == schema.digest
    assert FeatureSchema(features=FEATURES[::-1]).digest != schema.digest


def test_canonical_json_has_one_spelling_for_equal_values() -> None:
    assert canonical_json({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'.encode()
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_nan_has_no_canonical_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})
