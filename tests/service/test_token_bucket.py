"""So many a second, and no more."""

from nearnorm.service.token_bucket import TokenBucket


def test_a_second_grants_its_rate_and_no_more() -> None:
    bucket = TokenBucket(10, 0.0)
    assert bucket.take(4, now=100.0) == 4
    assert bucket.take(9, now=100.0) == 6
    assert bucket.take(1, now=100.0) == 0
    assert bucket.take(9, now=100.5) == 5


def test_what_was_not_used_is_not_saved_beyond_a_second() -> None:
    bucket = TokenBucket(10, 0.0)
    bucket.take(10, now=100.0)
    assert bucket.take(50, now=1000.0) == 10
