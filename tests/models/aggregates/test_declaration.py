"""What may be declared, and how a mistake in it is told."""

from typing import Any

import pytest

from nearnorm.models.aggregates.declaration import Aggregates, declared
from nearnorm.models.errors import ConfigError
from tests.models.aggregates.declarations import payments


def test_columns_are_found_by_what_they_are_for() -> None:
    found = payments("5s")
    assert [key.name for key in found.keys] == ["card", "merchant"]
    assert (found.sums, found.distincts) == (("amount",), ("merchant",))
    assert found.used == {"at", "payment", "card", "merchant", "amount"}
    assert found.keys[0].span == (3600 + 10) * 1_000_000


def test_a_file_without_the_table_declares_nothing() -> None:
    assert declared({"schema": {}}, "schema.toml") is None


def test_what_it_says_is_said_again_word_by_word() -> None:
    found = payments("5s")
    assert declared({"aggregates": found.model_dump(mode="json")}, "x") == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"late": "2d"}, "late = '2d': write 0s to 1d"),
        ({"time": 3}, "aggregates.time"),
        ({"format": "clock"}, "a time of day without its day"),
        ({"features": {}}, "aggregates.features"),
        (
            {"features": {" ": {"key": "card", "window": "1h", "function": "count"}}},
            'aggregates.features." "',
        ),
        ({"when": "at"}, "aggregates.when"),
        (
            {"features": {"amount": {"key": "card", "window": "1h", "function": "sum", "of": "amount"}}},
            "amount: a column",
        ),
        ({"features": {"n": {"key": "card", "window": "1h", "function": "sum"}}}, "`of` names the column"),
        (
            {"features": {"n": {"key": "card", "window": "1h", "function": "count", "of": "x"}}},
            "`of` names the column",
        ),
        (
            {"features": {"n": {"key": "card", "window": "hour", "function": "count"}}},
            "window = 'hour': write 1s to 90d",
        ),
        (
            {"features": {"n": {"key": "card", "window": "1h", "function": "mean"}}},
            "aggregates.features.n.function",
        ),
        (
            {"features": {f"n{i}": {"key": "card", "window": "1h", "function": "count"} for i in range(21)}},
            "aggregates.features",
        ),
    ],
)
def test_a_mistake_names_the_file_and_the_key(change: dict[str, Any], message: str) -> None:
    table = payments().model_dump(mode="json") | change
    with pytest.raises(ConfigError) as problem:
        Aggregates.of_table(table, "schema.toml")
    assert str(problem.value).startswith("schema.toml: aggregates")
    assert message in str(problem.value)
