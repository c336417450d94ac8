"""Labels in the words that people use for them."""

from decimal import Decimal

import pyarrow as pa
import pytest

from nearnorm.models.bundle.manifest import Reading
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.training.dataset.labels import parse_labels


def parsed(
    *values: object,
    kind: pa.DataType | None = None,
    anomaly_value: str | None = None,
    normal_value: str | None = None,
) -> list[int]:
    column = pa.chunked_array([pa.array(values, kind)])
    reading = Reading(anomaly_value=anomaly_value, normal_value=normal_value)
    return [int(label) for label in parse_labels(column, "label", reading)]


@pytest.mark.parametrize(
    "values",
    [
        (1, 0, None),
        (1.0, 0.0, None),
        (True, False, None),
        (Decimal(1), Decimal(0), None),
        ("1", "0", ""),
        ("1.0", "0.00", "nan"),
        ("true", "FALSE", None),
        ("Yes", "no", " "),
        ("t", "F", "NULL"),
        ("Y", "n", "NA"),
        ("anomaly", "Normal", None),
    ],
)
def test_one_zero_and_nothing_in_many_words(values: tuple[object, ...]) -> None:
    assert parsed(*values) == [1, 0, -1]


def test_another_word_is_named_with_its_row_and_the_options() -> None:
    message = r"label column 'label': row 3 holds 'fraud': .* give --anomaly-value and --normal-value"
    with pytest.raises(DataError, match=message):
        parsed("1", "0", "fraud")
    with pytest.raises(DataError, match="row 2 holds 2: a label is 1"):
        parsed(1, 2, 0)
    with pytest.raises(DataError, match="holds values of type list<item: int64>"):
        parsed([1], [0])


def test_words_of_ones_own_are_named() -> None:
    assert parsed("fraud", "ok", None, anomaly_value="fraud") == [1, 0, -1]
    assert parsed(2, 1, None, anomaly_value="2") == [1, 0, -1]
    assert parsed("dos", "normal", "new", anomaly_value="dos", normal_value="normal") == [1, 0, -1]
    with pytest.raises(ConfigError, match=r"2 words beside 'fraud' \('new', 'ok'\): say by --normal-value"):
        parsed("fraud", "ok", "new", anomaly_value="fraud")
    with pytest.raises(ConfigError, match=r"--anomaly-value Fraud: no row has it .*\(it has 'fraud', 'ok'\)"):
        parsed("fraud", "ok", anomaly_value="Fraud")


def test_a_column_without_a_label_is_wholly_unlabelled() -> None:
    assert parsed(None, None, kind=pa.null()) == [-1, -1]
