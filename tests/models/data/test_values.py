from decimal import Decimal

import pytest

from nearnorm.models.data import values


@pytest.mark.parametrize(
    ("given", "number"),
    [
        (3, 3.0),
        (2.5, 2.5),
        (True, 1.0),
        (False, 0.0),
        ("2.5", 2.5),
        (" -1e3 ", -1000.0),
        ("", None),
        ("  ", None),
        (None, None),
        (1_767_225_600_123, 1_767_225_600_123.0),
    ],
)
def test_numbers_are_read_from_numbers_booleans_and_text(given: object, number: float | None) -> None:
    assert values.number(given) == number


@pytest.mark.parametrize(
    "given", ["abc", "1_000", "nan", "inf", float("nan"), float("inf"), 10**400, [1], {}]
)
def test_what_is_no_finite_number_is_refused_with_a_sentence(given: object) -> None:
    with pytest.raises(ValueError, match="number was expected"):
        values.number(given)


@pytest.mark.parametrize(
    ("given", "number"),
    [(True, 1.0), (0, 0.0), (1.0, 1.0), ("TRUE", 1.0), ("0", 0.0), ("", None), (None, None)],
)
def test_booleans_are_read_from_true_false_one_and_zero(given: object, number: float | None) -> None:
    assert values.boolean(given) == number


@pytest.mark.parametrize("given", [2, 0.5, "on", float("nan"), []])
def test_what_is_neither_true_nor_false_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="true or false was expected"):
        values.boolean(given)


@pytest.mark.parametrize(
    ("given", "category"),
    [
        ("tcp", "tcp"),
        ("", ""),
        (None, None),
        (True, "true"),
        (5, "5"),
        (5.0, "5"),
        (2.5, "2.5"),
        (2**60, str(2**60)),
    ],
)
def test_a_category_is_text_and_a_number_its_shortest_spelling(given: object, category: str | None) -> None:
    assert values.category(given) == category


@pytest.mark.parametrize("given", [float("nan"), [1], {"a": 1}, Decimal("1")])
def test_what_cannot_be_a_category_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="was expected"):
        values.category(given)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(ValueError, match="…") as caught:
        values.number("x" * 10_000)
    assert len(str(caught.value)) < 100
