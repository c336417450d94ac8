"""So many a second, and no more."""

from service.allowance import Allowance


def test_a_second_grants_its_rate_and_no_more() -> None:
    allowance = Allowance(10)
    assert allowance.take(4, now=100.0) == 4
    assert allowance.take(9, now=100.0) == 6
    assert allowance.take(1, now=100.0) == 0
    assert allowance.take(9, now=100.5) == 5


def test_what_was_not_used_is_not_saved_beyond_a_second() -> None:
    allowance = Allowance(10)
    allowance.take(10, now=100.0)
    assert allowance.take(50, now=1000.0) == 10
