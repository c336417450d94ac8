import numpy as np
import pytest

from nearnorm.training.method.precision import average_precision


@pytest.mark.parametrize("distinct", [3, 20, 10**9])
def test_average_precision_is_that_of_scikit_learn_ties_included(distinct: int) -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(distinct)
    score = rng.integers(distinct, size=500) / distinct
    truth = (rng.random(500) < 0.05 + 0.3 * score).astype(int)
    assert average_precision(truth, score) == pytest.approx(average_precision_score(truth, score))
