import numpy as np
import pytest
from torch import Tensor, nn

from nearnorm.models.conformal import threshold
from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.training.evaluation.calibrate import BATCH_ROWS, Scored, calibrate, score
from nearnorm.training.evaluation.groups import describe_groups

SCHEMA = FeatureSchema(
    features=(
        Feature(name="x", kind=Kind.NUMERIC),
        Feature(name="empty", kind=Kind.NUMERIC),
        Feature(name="s", kind=Kind.CATEGORICAL, categories=("a", "b")),
    )
)
ROWS = 1_000


def made() -> tuple[np.ndarray, np.ndarray, Scored]:
    """Two groups: category a around 0 and category b around 10, with scores that rise by row."""
    group = np.arange(ROWS) % 2
    numeric = np.stack([10.0 * group, np.full(ROWS, np.nan)], axis=1)
    numeric[:100, 0] = np.nan
    codes = (2 + group)[:, None]
    codes[:50] = 0
    scores = np.linspace(0, 1, ROWS)
    similarity = np.eye(2)[group]
    residual = np.stack([scores, scores, 2 * scores], axis=1)
    return numeric, codes, Scored(scores, similarity, group, scores, scores, residual)


def test_the_reference_tells_what_is_ordinary() -> None:
    numeric, codes, scored = made()
    reference = calibrate(SCHEMA, numeric, codes, scored)
    assert reference.rows == ROWS
    assert list(reference.scores) == sorted(reference.scores)
    assert reference.distance_high == pytest.approx(0.99)
    assert reference.residual_high == pytest.approx({"x": 0.99, "empty": 0.99, "s": 1.98})
    assert reference.prototype_shares == (0.5, 0.5)
    assert reference.categorical["s"].shares == pytest.approx((0.05, 0.0, 0.475, 0.475))


def test_histograms_leave_missing_values_out_and_count_them() -> None:
    numeric, codes, scored = made()
    reference = calibrate(SCHEMA, numeric, codes, scored)
    x, empty = reference.numeric["x"], reference.numeric["empty"]
    assert x.missing == pytest.approx(0.1)
    assert len(x.shares) == len(x.edges) + 1
    assert sum(x.shares) == pytest.approx(1.0)
    assert (empty.edges, empty.shares, empty.missing) == ((), (0.0,), 1.0)


def test_a_budget_alerts_on_that_share_of_new_normal_rows() -> None:
    rng = np.random.default_rng(0)
    alerts = [(rng.normal(size=999) > threshold(rng.normal(size=999), 0.01)).mean() for _ in range(300)]
    assert np.mean(alerts) == pytest.approx(0.01, abs=0.001)


def test_hidden_anomalies_make_the_threshold_quieter_never_louder() -> None:
    rng = np.random.default_rng(0)
    clean = rng.normal(size=1_000)
    contaminated = np.concatenate([clean, 5 + rng.normal(size=100)])
    assert threshold(contaminated, 0.01) >= threshold(clean, 0.01)


def test_groups_describe_the_ordinary_rows_that_are_nearest_to_each_prototype() -> None:
    numeric, codes, scored = made()
    first, second = describe_groups(SCHEMA, numeric, codes, scored)
    assert first.rows + second.rows == 950
    assert (first.numeric["x"].median, second.numeric["x"].median) == (0.0, 10.0)
    assert list(first.categorical["s"].shares) == ["a"]
    assert list(second.categorical["s"].shares) == ["b"]
    assert first.numeric["empty"].median is None
    assert first.numeric["empty"].missing == 1.0


def test_a_prototype_that_no_row_is_near_has_an_empty_group() -> None:
    numeric, codes, scored = made()
    lonely = Scored(
        scored.score,
        np.hstack([scored.similarity, np.zeros((ROWS, 1))]),
        *(scored.prototype, scored.distance, scored.reconstruction_error, scored.residual),
    )
    group = describe_groups(SCHEMA, numeric, codes, lonely)[2]
    assert (group.rows, group.share) == (0, 0.0)
    assert group.categorical["s"].shares == {}


class Echo(nn.Module):
    """Answers each row with its own number."""

    def forward(self, numeric: Tensor, codes: Tensor) -> tuple[Tensor, ...]:
        row = numeric[:, 0]
        return row, numeric, codes[:, 0], row, row, numeric


def test_scores_come_in_the_order_of_the_rows_over_all_batches() -> None:
    rows = BATCH_ROWS + 3
    numeric = np.arange(rows, dtype=float)[:, None]
    scored = score(Echo().eval(), numeric, np.zeros((rows, 1), np.int64))
    assert scored.score.tolist() == list(range(rows))
