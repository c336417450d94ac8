import numpy as np
import pyarrow as pa
import pytest

from nearnorm.models.data.schema import Feature, Kind
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.training.dataset.infer import MOST_CATEGORIES, infer_schema
from nearnorm.training.dataset.recipe import ColumnOverride

ROWS = 400
rng = np.random.default_rng(0)
MEASURED = pa.array(rng.normal(size=ROWS))


def inferred(column: object, override: ColumnOverride | None = None) -> Feature:
    """What inference says of one column beside a plain number."""
    values = column if isinstance(column, (pa.Array, pa.ChunkedArray)) else pa.array(column)
    if pa.types.is_string(values.type):
        values = values.dictionary_encode()
    table = pa.table({"measured": MEASURED, "column": values})
    overrides = {} if override is None else {"column": override}
    return infer_schema(table, overrides).schema.features[1]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (rng.normal(size=ROWS), Kind.NUMERIC),
        (rng.integers(0, 3, ROWS), Kind.NUMERIC),
        (rng.integers(0, 2, ROWS), Kind.NUMERIC),
        ([True, False] * (ROWS // 2), Kind.BOOLEAN),
        (["true", "False"] * (ROWS // 2), Kind.BOOLEAN),
        (["tcp", "udp", None, "tcp"] * (ROWS // 4), Kind.CATEGORICAL),
        (["7", "11"] * (ROWS // 2), Kind.CATEGORICAL),
        ([f"{x:.3f}" for x in rng.normal(size=ROWS)], Kind.NUMERIC),
        ([1.0, None] * (ROWS // 2), Kind.NUMERIC),
    ],
)
def test_kinds_are_inferred_from_values(column: object, kind: Kind) -> None:
    assert inferred(column).kind is kind


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ([5] * ROWS, "constant"),
        (["EUR"] * ROWS, "constant"),
        ([None] * ROWS, "every value is missing"),
        ([f"user-{i}" for i in range(ROWS)], "identifier"),
        (list(range(1000, 1000 + ROWS)), "identifier"),
        (rng.permutation(ROWS), "identifier"),
        (np.cumsum(rng.integers(1, 1_000_000, ROWS)), "identifier"),
        (["2026-01-01", "2026-02-03"] * (ROWS // 2), "a date-time"),
        ([f"2026-01-01T10:00:{i % 60:02}Z" for i in range(ROWS)], "a date-time"),
        (pa.array(range(ROWS), pa.timestamp("s")), "a date-time"),
        (pa.array([[1]] * ROWS), "cannot be scored"),
        (pa.array([b"x"] * ROWS), "cannot be scored"),
    ],
)
def test_columns_that_say_nothing_are_left_out_with_the_reason(column: object, reason: str) -> None:
    feature = inferred(column)
    assert feature.kind is Kind.IGNORED
    assert reason in feature.reason


def test_measurements_are_not_taken_for_identifiers() -> None:
    seconds = rng.choice(7_776_000, ROWS, replace=False) + 1_767_225_600
    cents = rng.integers(0, 10**12, ROWS)
    assert inferred(seconds).kind is Kind.NUMERIC
    assert inferred(cents).kind is Kind.NUMERIC
    assert inferred(np.sort(rng.normal(size=ROWS))).kind is Kind.NUMERIC


def test_in_few_rows_distinct_values_are_not_yet_identifiers() -> None:
    table = pa.table({"a": list(range(20)), "b": pa.array([f"n{i}" for i in range(20)]).dictionary_encode()})
    assert [f.kind for f in infer_schema(table, {}).schema.features] == [Kind.NUMERIC, Kind.CATEGORICAL]


def test_every_column_that_is_left_out_is_named_in_a_warning() -> None:
    table = pa.table({"x": MEASURED, "same": [1] * ROWS, "row": list(range(ROWS))})
    warnings = infer_schema(table, {}).warnings
    assert [warning.split(":")[0] for warning in warnings] == [
        "column 'same' is left out",
        "column 'row' is left out",
    ]


def test_ten_thousand_categories_are_cut_to_the_most_frequent_with_a_warning() -> None:
    frequent = [f"c{i % 150}" for i in range(6_000)]
    rare = [f"r{i // 2}" for i in range(20_000)]
    table = pa.table({"s": pa.array(frequent + rare).dictionary_encode()})
    result = infer_schema(table, {})
    assert len(result.schema.features[0].categories) == MOST_CATEGORIES
    assert all(category.startswith("c") for category in result.schema.features[0].categories)
    assert "column 's' has 10,150 categories" in result.warnings[0]


def test_a_category_seen_once_is_left_to_the_unknown_bucket() -> None:
    assert inferred(["a"] * (ROWS - 1) + ["oops"]).categories == ("a",)


def test_categories_are_ordered_by_frequency_then_name() -> None:
    assert inferred(["b", "a", "c", "c"] * (ROWS // 4)).categories == ("c", "a", "b")


@pytest.mark.parametrize(
    ("column", "row"),
    [
        (["1.5"] * 200 + ["high"] * 200, 201),
        ([str(i % 40) for i in range(399)] + ["n/a"], 400),
        (["?"] + [str(i) for i in range(399)], 1),
    ],
)
def test_a_column_that_changes_its_type_half_way_is_refused_at_its_first_row(
    column: list[str], row: int
) -> None:
    with pytest.raises(DataError, match=f"column 'column' changes its type: row {row} holds"):
        inferred(column)
    assert inferred(column, ColumnOverride(kind="categorical")).kind is Kind.CATEGORICAL


def test_a_column_that_always_mixed_codes_and_numbers_is_a_category() -> None:
    assert inferred(["12", "A3", "7", "B1"] * (ROWS // 4)).kind is Kind.CATEGORICAL


def test_an_override_decides_over_inference() -> None:
    assert inferred(list(range(ROWS)), ColumnOverride(kind="numeric")).kind is Kind.NUMERIC
    assert inferred([1, 2] * (ROWS // 2), ColumnOverride(kind="categorical")).categories == ("1", "2")
    assert (
        inferred([1, 2] * (ROWS // 2), ColumnOverride(kind="ignored")).reason
        == "left out by the configuration"
    )
    assert inferred([1, 2] * (ROWS // 2), ColumnOverride(nullable=False)).nullable is False


def test_an_override_of_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[schema\.amout\]: the data has no column of that name"):
        infer_schema(pa.table({"amount": MEASURED}), {"amout": ColumnOverride(kind="numeric")})


def test_a_date_cannot_be_made_a_number() -> None:
    with pytest.raises(ConfigError, match="give epoch seconds instead"):
        inferred(pa.array(range(ROWS), pa.timestamp("s")), ColumnOverride(kind="numeric"))


def test_data_without_any_column_to_learn_from_is_refused_with_the_reasons() -> None:
    with pytest.raises(DataError, match=r"no column is left to learn from \(a: constant\)"):
        infer_schema(pa.table({"a": [1] * ROWS}), {})
