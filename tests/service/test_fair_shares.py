"""Max-min fair shares."""

import pytest

from nearnorm.service.fair_shares import fair_shares


@pytest.mark.parametrize(
    ("wanted", "shares"),
    [
        ({}, {}),
        ({"a": 100}, {"a": 100}),
        ({"a": 1000}, {"a": 100}),
        ({"a": 40, "b": 60}, {"a": 40, "b": 60}),
        ({"a": 1000, "b": 20}, {"a": 80, "b": 20}),
        ({"a": 1000, "b": 20, "c": 500}, {"a": 40, "b": 20, "c": 40}),
    ],
)
def test_nobody_is_cut_while_there_is_enough_and_what_one_does_not_need_goes_to_the_rest(
    wanted: dict[str, int], shares: dict[str, int]
) -> None:
    assert fair_shares(wanted, 100) == shares
