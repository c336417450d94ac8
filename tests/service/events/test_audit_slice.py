"""The audit slice: every row has the same chance, heavy traffic lowers it, and it is always known."""

import time

import numpy as np
import pytest

from nearnorm.service.events.audit_slice import MOST_PER_SECOND, AuditSlice


def test_the_rate_holds_for_any_size_of_request() -> None:
    slice_ = AuditSlice(0.3)
    sizes = np.random.default_rng(0).integers(1, 4, 3000).tolist()
    drawn = [len(slice_.draw(size)[0]) for size in sizes]
    assert abs(sum(drawn) - 0.3 * sum(sizes)) < 5 * (sum(sizes) * 0.21) ** 0.5


def test_every_place_of_a_request_is_drawn_alike() -> None:
    slice_ = AuditSlice(0.1)
    counts = np.zeros(20)
    for _ in range(5000):
        counts[slice_.draw(20)[0]] += 1
    assert abs(counts - 500).max() < 5 * (5000 * 0.09) ** 0.5


def test_heavy_traffic_is_thinned_and_the_thinning_known(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    slice_ = AuditSlice(0.01)
    drawn, rows, estimate = [], 0, 0.0
    for _ in range(20_000):  # 20 seconds of 100,000 rows
        now[0] += 0.001
        places, probability = slice_.draw(100)
        rows += 100
        estimate += len(places) / probability
        drawn.append(len(places))
    assert sum(drawn[:900]) > 2 * MOST_PER_SECOND  # the chance of a second is settled before it begins
    assert sum(drawn[-10_000:]) == pytest.approx(10 * MOST_PER_SECOND, rel=0.15)
    assert estimate == pytest.approx(rows, rel=0.1)
    for _ in range(30):  # light traffic again
        now[0] += 0.1
        _, probability = slice_.draw(10)
    assert probability == 0.01


def test_a_rate_of_1_keeps_every_row_and_a_rate_of_0_none(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for rate, expected in ((1.0, 1000), (0.0, 0)):
        slice_ = AuditSlice(rate)
        for _ in range(50):
            now[0] += 0.1
            assert len(slice_.draw(1000)[0]) == expected
