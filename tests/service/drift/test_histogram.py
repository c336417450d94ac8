"""The cells of every signal hold the reference as it was, and live rows fall where the like of them did."""

import numpy as np
import pytest

from nearnorm.models.data.schema import MISSING_CODE
from nearnorm.service.drift.histogram import SignalHistogram
from tests.service.reference import Traffic, core_of, scored

ROWS = 1_000


def traffic(seed: int, rows: int = ROWS) -> Traffic:
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(rows, 2))
    numeric[::10, 1] = np.nan
    return Traffic(numeric, rng.choice(6, p=[0.05, 0.0, 0.5, 0.3, 0.1, 0.05], size=(rows, 1)))


def cells(histogram: SignalHistogram, counts: np.ndarray) -> dict[str, np.ndarray]:
    """The counts of each signal."""
    parts = np.split(counts, np.cumsum(histogram.sizes)[:-1])
    return {signal.name: part for signal, part in zip(histogram.signals, parts, strict=True)}


def test_every_signal_holds_all_reference_rows_once() -> None:
    histogram = SignalHistogram(core_of(traffic(0), [4]))
    sums = {name: float(part.sum()) for name, part in cells(histogram, histogram.reference).items()}
    assert sums == pytest.approx(dict.fromkeys(("n0", "n1", "score", "distance", "c0", "prototype"), ROWS))


def test_reference_rows_fall_into_the_cells_that_the_manifest_counted_them_in() -> None:
    reference = traffic(0)
    histogram = SignalHistogram(core_of(reference, [4]))
    assert histogram.count(scored(reference)) == pytest.approx(histogram.reference, abs=1)


def test_scores_are_watched_in_tenths_and_finer_at_the_top() -> None:
    histogram = SignalHistogram(core_of(traffic(0), [4]))
    score = cells(histogram, histogram.reference)["score"]
    assert score.tolist() == pytest.approx([100.0] * 9 + [50.0, 40.0, 10.0, 0.0], abs=1)


def test_the_shares_of_one_row_are_one_and_nothing() -> None:
    histogram = SignalHistogram(core_of(traffic(0), [4]))
    row = traffic(1, rows=1)
    row.codes[0, 0] = MISSING_CODE
    counts = histogram.count(scored(row))
    names = [signal.name for signal in histogram.signals]
    assert histogram.missing(counts, names.index("n1")) == 1.0
    assert histogram.missing(counts, names.index("n0")) == 0.0
    assert histogram.missing(counts, names.index("c0")) == 1.0
    assert sorted(histogram.share(counts, names.index("score")))[-2:] == [0.0, 1.0]


def test_before_any_row_every_share_is_nothing() -> None:
    histogram = SignalHistogram(core_of(traffic(0), [4]))
    assert histogram.share(np.zeros(len(histogram.reference)), 0).sum() == 0.0
