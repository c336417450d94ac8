"""Normal groups in words: what tells one from the others comes first."""

from nearnorm.models.bundle.manifest import CategoryProfile, Group, NumericProfile
from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.models.data.times import TimeFormat
from nearnorm.service.verdict.groups import MOST_FEATURES, describe

SCHEMA = FeatureSchema(
    features=(
        Feature(name="amount", kind=Kind.NUMERIC),
        Feature(name="same", kind=Kind.NUMERIC),
        Feature(name="new device", kind=Kind.BOOLEAN),
        Feature(name="at", kind=Kind.TIME, format=TimeFormat.ISO),
        Feature(name="country", kind=Kind.CATEGORICAL, categories=("DE", "FR")),
    )
)


def group(prototype: int, amount: float, country: dict[str, float], hour: float = 12.0) -> Group:
    return Group(
        prototype=prototype,
        rows=100,
        share=0.25,
        numeric={
            "amount": NumericProfile(low=amount - 10, median=amount, high=amount + 10, missing=0.0),
            "same": NumericProfile(low=0.0, median=1.0, high=2.0, missing=0.0),
            "new device": NumericProfile(low=0.0, median=0.0, high=1.0, missing=0.0),
            "at": NumericProfile(low=hour - 2, median=hour, high=hour + 2, missing=0.0),
        },
        categorical={"country": CategoryProfile(shares=country, missing=0.0)},
    )


def test_what_tells_a_group_from_the_others_comes_first() -> None:
    groups = [group(0, 50.0, {"DE": 1.0}), group(1, 1e6, {"DE": 0.9, "FR": 0.1}, hour=23.0)]
    found = describe(SCHEMA, groups, 1)
    assert found is not None
    assert [one.feature for one in found.typical[:2]] == ["amount", "at"]
    assert found.typical[-1].feature in ("same", "new device")
    assert len(found.typical) <= MOST_FEATURES
    assert found.words.startswith(
        "25% of normal records: amount 999,990 to 1,000,010, mostly 1,000,000; at from 21:00 to 01:00; "
    )
    assert "country DE (90%), FR (10%)" in found.words
    assert "new device mostly false" in found.words


def test_categories_that_others_have_not_are_telling() -> None:
    groups = [group(0, 50.0, {"DE": 1.0}), group(1, 50.0, {"FR": 1.0})]
    found = describe(SCHEMA, groups, 1)
    assert found is not None
    assert found.typical[0].feature == "country"
    assert found.typical[0].expected == {"shares": {"FR": 1.0}, "missing": 0.0}


def test_a_lone_group_and_an_empty_one_are_described_too() -> None:
    alone = describe(SCHEMA, [group(0, 50.0, {"DE": 1.0})], 0)
    assert alone is not None
    assert len(alone.typical) == 5
    nothing = NumericProfile(low=None, median=None, high=None, missing=0.0)
    empty = Group(
        prototype=1,
        rows=0,
        share=0.0,
        numeric={feature.name: nothing for feature in SCHEMA.numeric},
        categorical={"country": CategoryProfile(shares={}, missing=0.0)},
    )
    found = describe(SCHEMA, [group(0, 50.0, {"DE": 1.0}), empty], 1)
    assert found is not None
    assert (found.typical, found.words) == ([], "0% of normal records")
    assert describe(SCHEMA, [], 3) is None
