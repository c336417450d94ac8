"""Pauses between attempts: doubled, scattered, bounded, and as long as the receiver asks."""

from nearnorm.service.webhooks.retries import HOUR_MS, Retries


def test_pauses_double_are_scattered_and_bounded() -> None:
    for attempts in range(1, 60):
        doubled = min(1_000 * 2 ** (attempts - 1), HOUR_MS)
        pauses = [Retries().pause(attempts, None) for _ in range(50)]
        assert all(0.5 * doubled <= pause <= 1.5 * doubled for pause in pauses)
        assert len(set(pauses)) > 10


def test_a_receiver_that_asks_for_time_gets_it_and_no_more_than_an_hour() -> None:
    assert Retries().pause(1, 60.0) == 60_000
    assert Retries().pause(1, 1e7) == HOUR_MS
    assert Retries().pause(12, 1.0) > 1_000
